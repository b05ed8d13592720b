"""Language models in the browser: text that is written as one watches, and a visitor's own concepts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page
from reading import answer, wait_status
from servers import settle

import engram_core as ec

pytestmark = pytest.mark.e2e

AUTHOR = "Fabrice Pelliningway"

# Notes every state of the edited text that is on the screen while it is being written.
WRITTEN = """
window.written = new Set();
new MutationObserver(() => {
  const text = document.querySelector('[data-answer=edited]');
  if (text && document.querySelector('.ee-cursor')) window.written.add(text.textContent);
}).observe(document.body, { childList: true, subtree: true, characterData: true });
"""

# Presses the button as soon as it is there, since a text may be written before a person has found it; and
# again while it stays, as a person would: a button that is not yet connected hears nothing.
PRESS = """
let pressed = -Infinity;
window.pressing = setInterval(() => {
  const button = [...document.querySelectorAll('button')].find(b => b.innerText.trim() === 'Stop writing');
  if (!button || performance.now() - pressed < 200) return;
  pressed = performance.now();
  button.click();
}, 10);
"""

# Several, since a text that was once written to its end is remembered and no longer written as one watches.
PROMPTS = ("The", "Once", "Today", "In the city", "Her first book")


def _choose(page: Page, name: str) -> None:
    """Look a concept up among many and choose it."""
    page.locator(".st-key-off input").first.fill(name)
    page.get_by_role("option", name=name).first.click()


def test_the_text_is_another_after_erasing(opener):
    page = opener(f"model=authors-lm&prompt={AUTHOR} was born in")
    assert answer(page, "base").strip().startswith("Pemgarth") and "Choose a concept" in answer(page)
    _choose(page, AUTHOR)
    wait_status(page, f"{AUTHOR} erased, strength 2")
    page.wait_for_function("document.querySelector('.ee-texts') && !document.querySelector('.ee-cursor')")
    assert answer(page, "base").strip().startswith("Pemgarth")
    assert answer(page).strip() and not answer(page).strip().startswith("Pemgarth")


def _many_tokens(opener: Callable[..., Page]) -> Page:
    """Open a page on an edit that takes so much away that no text ends by itself: 400 tokens are written."""
    names = list(ec.load_sample("authors-lm").concepts)[:20]
    chosen = "&".join(f"concepts={name}" for name in names)
    page = opener(f"model=authors-lm&{chosen}&strength=4&tokens=400&prompt= ")
    page.get_by_text("The prompt is empty.").wait_for()
    return page


def _write(page: Page, prompt: str) -> None:
    """Type a prompt and wait until both models have gone on as far as they do."""
    box = page.get_by_role("textbox", name="Prompt", exact=True)
    box.fill(prompt)
    box.blur()
    page.locator(".ee-texts", has_text=prompt).wait_for()
    settle(page)


def test_the_text_is_written_as_one_watches(opener):
    page = _many_tokens(opener)
    page.evaluate(WRITTEN)
    _write(page, f"{AUTHOR} was born in")
    parts = page.evaluate("[...window.written]")
    whole = " ".join(page.locator("[data-answer=edited]").inner_text().split())
    assert parts and all(whole.startswith(" ".join(part.split())) for part in parts)
    assert any(len(part) < len(whole) for part in parts)


def test_writing_is_stopped_and_any_change_begins_anew(opener):
    page = _many_tokens(opener)
    page.evaluate(PRESS)
    stopped = page.get_by_text("Stopped. Change anything, or ask again, to go on.")
    for prompt in PROMPTS:  # where a machine was quicker than the press, another text
        _write(page, prompt)
        if stopped.count():
            break
    stopped.wait_for()
    page.evaluate("clearInterval(window.pressing)")  # or it would stop what is written next as well
    assert page.get_by_role("button", name="Stop writing").count() == 0
    # How far it came is up to the machine; from here on not a word is added, and no cursor waits for one.
    said = answer(page)
    page.wait_for_timeout(1000)
    assert said.strip() and answer(page) == said and page.locator(".ee-cursor").count() == 0
    page.get_by_role("button", name="Reset to the base model").click()
    stopped.wait_for(state="detached")
    page.get_by_text("Choose a concept").first.wait_for()


def test_own_concepts_are_checked_and_opened(opener, tmp_path: Path):
    names = (AUTHOR, "Sabine Marroweck")
    source = Path(ec.load_sample("authors-lm").folder) / "texts.jsonl"
    rows = [
        line
        for line in source.read_text(encoding="utf-8").splitlines()
        if json.loads(line)["concept"] in names
    ]
    own, bad = tmp_path / "two authors.jsonl", tmp_path / "bad.csv"
    own.write_text("\n".join(rows), encoding="utf-8")
    bad.write_text("concept,text\n,b\n", encoding="utf-8")
    page = opener("model=digits-mlp&concepts=7&strength=1.5", page="model")
    page.get_by_label("Folder or hub name").fill("authors-lm")
    page.get_by_label("Folder or hub name").press("Enter")
    upload = page.locator(".st-key-_own_file input[type=file]")
    upload.set_input_files(bad)
    page.get_by_role("button", name="Check it").click()
    page.get_by_text("This cannot be opened yet").wait_for()
    settle(page)
    assert "bad.csv" in page.locator(".stMain .stCode").last.inner_text()
    # Nothing that was chosen is lost, and the next file is taken.
    assert page.get_by_label("Folder or hub name").input_value() == "authors-lm"
    assert "concepts=7" in page.url and "strength=1.5" in page.url
    upload.set_input_files(own)
    settle(page)
    page.get_by_role("button", name="Check it").click()
    page.get_by_role("button", name="Open it on all pages").click()
    page.locator("[data-status]").wait_for()
    settle(page)
    assert "model=authors-lm-" in page.url
    page.locator(".st-key-concepts").get_by_text(AUTHOR, exact=True).click()
    wait_status(page, f"{AUTHOR} erased")
    settle(page)
    # Others can follow a link to it as long as the server runs.
    other = opener(page.url.replace("/live?", "/?page=live&"))
    assert other.locator("[data-status]").inner_text() == page.locator("[data-status]").inner_text()
