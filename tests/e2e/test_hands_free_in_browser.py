"""Without a mouse: a digit drawn with keys; and what is made to be copied can be copied."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page
from reading import answer, status
from servers import settle

pytestmark = pytest.mark.e2e


def _drawn(page: Page) -> str:
    found = re.search(r"drawn=([0-9a-g]{64})", page.url)
    return found.group(1) if found else ""


def test_a_digit_is_drawn_with_keys_alone(opener):
    page = opener("model=digits-mlp&concepts=1")
    page.locator(".st-key-source").get_by_text("Draw a digit").click()
    canvas = page.locator("canvas[width='8']")
    canvas.wait_for()
    settle(page)
    assert "arrow keys" in page.locator(".stMain").inner_text()
    canvas.focus()
    page.keyboard.press("ArrowUp")  # keys, not the mouse, make the frame visible
    cursor = page.locator(".cursor")
    first = cursor.bounding_box()
    assert first is not None
    page.keyboard.press("ArrowLeft")
    moved = cursor.bounding_box()
    assert moved is not None and moved["x"] == pytest.approx(first["x"] - 22, abs=1)
    page.keyboard.press("ArrowRight")
    for _ in range(9):  # to the upper edge, and no further
        page.keyboard.press("ArrowUp")
    for _ in range(8):  # a stroke two pixels wide, from top to bottom
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowDown")
    page.wait_for_function("document.querySelector('.ee-image')?.textContent.includes('your drawing')")
    settle(page)
    assert _drawn(page) == "000gg000" * 8
    assert answer(page, "base") == "1" and status(page) == "1 erased, strength 1"
    assert (
        page.evaluate(
            "document.activeElement?.shadowRoot?.activeElement?.tagName ?? document.activeElement.tagName"
        )
        == "CANVAS"
    )
    page.keyboard.press("Space")  # the last one again: what is on goes off
    page.wait_for_function("document.querySelector('.ee-image')?.textContent.includes('your drawing')")
    page.wait_for_function("new URLSearchParams(location.search).get('drawn')?.endsWith('0000g000')")
    settle(page)
    assert _drawn(page) == "000gg000" * 7 + "0000g000"


def test_the_back_button_brings_back_the_drawing_before(opener):
    one, two = "000gg000" * 8, "00gggg00" * 2 + "00g00g00" * 4 + "00gggg00" * 2
    page = opener(f"model=digits-mlp&drawn={one}")
    image = page.locator(".ee-image img")
    before = image.get_attribute("src")
    canvas = page.locator("canvas[width='8']")
    canvas.focus()
    page.keyboard.press("Space")
    page.wait_for_function(f"new URLSearchParams(location.search).get('drawn') !== '{one}'")
    settle(page)
    assert image.get_attribute("src") != before and two not in page.url
    page.go_back()
    page.wait_for_function(f"new URLSearchParams(location.search).get('drawn') === '{one}'")
    settle(page)
    assert image.get_attribute("src") == before


def test_the_link_is_copied_by_its_sign(opener):
    page = opener("model=digits-mlp&concepts=7&class=7&image=3")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".st-key-share button").first.click()
    body = page.get_by_test_id("stPopoverBody")
    link = body.locator("code").first.inner_text()
    body.locator("[data-testid=stCode]").first.hover()
    body.get_by_role("button", name="Copy to clipboard").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == link and "concepts=7" in copied
    assert status(opener(copied)) == "7 erased, strength 1"
