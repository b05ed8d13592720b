"""What goes wrong on a real day: a reload in the middle of the work, and a server that stops and returns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from reading import answer, concept, status, wait_status
from servers import running, settle

from engram_core.opening.samples import sample_folder

pytestmark = pytest.mark.e2e

EDIT = "model=digits-mlp&class=7&image=3&concepts=7&strength=1.5"


def test_a_reload_in_the_middle_of_the_work_loses_nothing(context):
    # Not watched: opened at its path, as by a reload, Streamlit first looks for its server below that path,
    # and the browser notes that as an error.
    page = context().new_page()
    with running() as server:
        page.goto(f"{server.url}/?page=live&model=fashion-cnn&class=Coat&image=2&concepts=Coat&strength=1.5")
        for _ in range(2):  # while the model is loaded, and while it is scored
            page.wait_for_selector(".stProgress")
            page.wait_for_timeout(200)
            page.reload()
        settle(page)
        assert status(page) == "Coat erased, strength 1.5"
        assert "True class Coat" in page.locator(".ee-image").inner_text() and "image=2" in page.url
        assert page.get_by_test_id("stException").count() == 0 and page.locator(".stPlotlyChart").count() == 2


def test_the_server_stops_and_comes_back(context):
    # Not watched: the browser itself notes every attempt to reach the server in its console.
    page = context().new_page()
    with running() as server:
        page.goto(f"{server.url}/?page=live&{EDIT}")
        settle(page)
        said = answer(page)
        assert status(page) == "7 erased, strength 1.5" and said != "7"
        server.stop()
        page.wait_for_selector("[data-test-connection-state]:not([data-test-connection-state=CONNECTED])")
        # What was there can still be read, and the address still names it.
        assert status(page) == "7 erased, strength 1.5" and "strength=1.5" in page.url
        # The page loads itself again: the new server knows nothing of what the old one had drawn.
        with page.expect_navigation(timeout=60_000):
            server.start()
        settle(page)
        wait_status(page, "7 erased, strength 1.5")
        assert answer(page) == said and answer(page, "base") == "7"
        assert "held-out image 3 of" in page.locator(".ee-image").inner_text()
        concept(page, "7").click()
        wait_status(page, "No edit")
        page.reload()
        settle(page)
        assert status(page) == "No edit"


AUTHOR = "Sabine Marroweck"


def own_texts(folder: Path) -> Path:
    """Write the sentences of some authors, as a file of one's own."""
    names = ("Fabrice Pelliningway", AUTHOR)
    lines = (sample_folder("authors-lm") / "texts.jsonl").read_text(encoding="utf-8").splitlines()
    path = folder / "own.jsonl"
    path.write_text(
        "\n".join(line for line in lines if json.loads(line)["concept"] in names), encoding="utf-8"
    )
    return path


def check(page: Page, model: str, path: Path) -> None:
    """Give a model and concepts and have them checked."""
    for label, text in (("Folder or hub name", model), ("or a path on the server", str(path))):
        page.get_by_label(label).fill(text)
        page.get_by_label(label).press("Enter")
    button = page.get_by_role("button", name="Check it")
    expect(button).to_be_enabled()
    button.click()


def test_a_reload_while_an_own_model_is_checked_finds_the_check_going_on(context, tmp_path):
    page, path = context().new_page(), own_texts(tmp_path)
    with running() as server:
        page.goto(f"{server.url}/?page=model&{EDIT}")
        settle(page)
        check(page, "authors-lm", path)
        page.get_by_text("Reading and checking authors-lm").wait_for()
        assert page.get_by_text("Check-up of").count() == 0
        page.reload()
        page.get_by_text("Check-up of authors-lm").wait_for(timeout=60_000)
        settle(page)
        assert page.get_by_label("Folder or hub name").input_value() == "authors-lm"
        assert page.get_by_label("or a path on the server").input_value() == str(path)
        # What else was chosen is there too, and no path of the machine is in the address.
        assert "concepts=7" in page.url and "own.jsonl" not in page.url
        # Another visitor with the same address finds nothing of it.
        other = context().new_page()
        other.goto(page.url)
        settle(other)
        assert other.get_by_text("Check-up of").count() == 0
        assert other.get_by_label("Folder or hub name").input_value() == ""


def test_a_link_to_an_own_model_outlives_the_server(context, tmp_path):
    page, path = context().new_page(), own_texts(tmp_path)
    with running() as server:
        page.goto(f"{server.url}/?page=model")
        settle(page)
        check(page, "authors-lm", path)
        page.get_by_role("button", name="Open it on all pages").click(timeout=60_000)
        page.wait_for_selector(".st-key-concepts", timeout=60_000)
        concept(page, AUTHOR).click()
        wait_status(page, f"{AUTHOR} erased")
        link = page.url.partition("?")[2]
        assert "model=authors-lm-" in link and "concepts=" in link
        said = answer(page)
        with page.expect_navigation(timeout=60_000):
            server.stop()
            server.start()
        settle(page)
        assert page.get_by_text("There is no model").count() == 1 and page.url.partition("?")[2] == link
        page.get_by_role("link", name="My model").click()
        page.get_by_text("Its check-up is no longer here").wait_for()
        settle(page)
        assert page.url.partition("?")[2] == link
        # What was typed outlived the server in this tab.
        page.get_by_role("button", name="Check it").click()
        page.get_by_role("button", name="Open it on all pages").click(timeout=60_000)
        page.wait_for_selector("[data-status]", timeout=60_000)
        wait_status(page, f"{AUTHOR} erased")
        assert page.url.partition("?")[2] == link and answer(page) == said
