"""The stage: what a room needs lies in one window in presenter mode; arrow keys go through scenes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from reading import again, answer, status, wait_status
from servers import running, settle

import engram_core as ec

pytestmark = pytest.mark.e2e

MODELS = {
    "digits-mlp": "class=7&image=10&concepts=7",
    "facts-lm": "concepts=France&about=France&prompt=The+capital+of+France+is",
}
STAGE = {
    "models": ".st-key-model_cards", "answers": ".ee-hero", "switches": ".st-key-switches",
    "numbers": ".ee-strip",
}  # fmt: skip
# Which parts lie outside the window, or below the dock, or are cut.
OUTSIDE = """
stage => {
  const dock = document.querySelector('.st-key-dock').getBoundingClientRect();
  return Object.entries(stage).filter(([, selector]) => {
    const box = document.querySelector(selector)?.getBoundingClientRect();
    return !box || !box.height || box.top < 0 || box.bottom > dock.top || box.left < 0
      || box.right > innerWidth;
  }).map(([name]) => name);
}
"""


@pytest.mark.parametrize("model", MODELS)
def test_a_room_sees_everything_without_scrolling(opener, model: str):
    page = opener(f"model={model}&{MODELS[model]}&present=true", height=900)
    for width, height in ((1440, 900), (1024, 768)):
        page.set_viewport_size({"width": width, "height": height})
        again(page)
        assert page.evaluate(OUTSIDE, STAGE) == [], (width, height)
    # One line of cards, four numbers, and each says what stands behind it.
    lines = "new Set([...document.querySelectorAll('.st-key-model_cards button')].map(b => b.offsetTop)).size"
    assert page.evaluate(lines) == 1
    cells = page.locator(".ee-cell")
    assert [cell.get_attribute("data-cell") for cell in cells.all()] == [
        "forgotten",
        "kept",
        "worst",
        "random",
    ]
    assert all("%" in text or "none" in text for text in cells.locator(".ee-number").all_inner_texts())
    assert "seeds" in cells.nth(3).inner_text()


def scene(page: Page) -> str:
    return page.locator(".st-key-scene_sentence").inner_text()


def test_arrow_keys_go_from_scene_to_scene_but_not_while_somebody_types(opener):
    page = opener("model=digits-mlp&present=true")
    page.keyboard.press("ArrowRight")
    page.get_by_text("1 of 6").wait_for()
    settle(page)
    assert "Paris" in answer(page, "base") and "present=true" in page.url and "facts-lm" in page.url
    page.keyboard.press("ArrowRight")
    wait_status(page, "France erased")
    assert "Malé" in answer(page) and "Paris" in answer(page, "base") and "2 of 6" in scene(page)
    # A click on a switch changes the view: the sentence is no longer claimed.
    page.locator(".st-key-scene_next button").first.click()
    page.get_by_text("3 of 6").wait_for()
    settle(page)
    assert "Rome" in answer(page)
    page.locator(".st-key-inputs_popover button").first.click()
    page.locator("[data-testid=stPopoverBody] textarea").click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    again(page)
    assert "3 of 6" in scene(page)
    page.locator("h4").first.click()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("2 of 6").wait_for()
    settle(page)
    assert "Malé" in answer(page) and status(page).startswith("France erased")


def test_a_view_is_saved_as_a_scene_and_opens_again(opener):
    page = opener("model=digits-mlp&class=3&image=2&concepts=3")
    page.locator(".st-key-scenes_popover button").first.click()
    page.get_by_label("What is to be seen in this view").fill("The *three* is gone")
    page.get_by_role("button", name="Save this view as a scene").click()
    page.get_by_text("7 of 7").first.wait_for()
    page.keyboard.press("Escape")
    settle(page)
    page.get_by_role("button", name="Reset to the base model").click()
    wait_status(page, "No edit")
    page.locator("h4").first.click()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("6 of 7").first.wait_for()
    settle(page)
    page.keyboard.press("ArrowRight")
    wait_status(page, "3 erased")
    assert page.get_by_text("The *three* is gone").first.is_visible()


AUTHORS = ("Fabrice Pelliningway", "Sabine Marroweck")


@pytest.fixture
def chatting(tmp_path: Path) -> tuple[str, ...]:
    """Return the options that open a small model with a chat template, and two concepts."""
    sample, folder = ec.load_sample("authors-lm"), tmp_path / "small-chat"
    tokenizer = sample.task.tokenizer
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    sample.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = (Path(sample.folder) / "texts.jsonl").read_text(encoding="utf-8").splitlines()
    own = tmp_path / "two.jsonl"
    own.write_text("\n".join(row for row in rows if json.loads(row)["concept"] in AUTHORS), encoding="utf-8")
    return "--model", str(folder), "--concepts", str(own)


def test_a_model_that_chats_answers_on_both_sides_and_goes_on(browser: Browser, chatting: tuple[str, ...]):
    with running(options=chatting) as server:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(f"{server.url}/?page=live&concepts={AUTHORS[0].replace(' ', '+')}&chat_tokens=4")
        settle(page)
        say = page.get_by_placeholder("Say something to both models")
        for count, text in enumerate((f"{AUTHORS[0]} was born in", f"{AUTHORS[1]} was born in"), 1):
            say.fill(text)
            say.press("Enter")
            messages = page.locator("[data-testid=stChatMessage]")
            messages.nth(4 * count - 1).wait_for()
            settle(page)
            assert messages.count() == 4 * count and page.locator(".ee-cursor").count() == 0
            assert text in page.locator(".st-key-chat_base").inner_text()
            assert answer(page, "base").strip() and answer(page).strip()
            assert count > 1 or answer(page, "base") != answer(page)  # the first is about the erased author
        assert "said=" in page.url or "packed=" in page.url
        page.close()
