"""The live page in a real browser: nothing leaves the machine, the console is silent, switches work."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest
from measure_live import toggle_times
from reading import answer, concept, status, wait_status
from servers import settle

pytestmark = pytest.mark.e2e


def test_switch_off_read_the_answer_and_reset(opener):
    page = opener("?class=7&image=3")
    assert answer(page, "base") == "7" and "Choose a concept" in answer(page)
    concept(page, "7").click()
    wait_status(page, "7 erased")
    assert answer(page, "base") == "7" and answer(page) in "0123456789" and answer(page) != "7"
    assert "concepts=7" in page.url
    settle(page)
    page.get_by_role("button", name="Reset to the base model").click()
    wait_status(page, "No edit")
    assert "concepts" not in page.url


def test_the_address_restores_the_view(opener):
    page = opener("?class=3&image=4&concepts=3&concepts=8&strength=1.5&mode=Keep+only&null=in+place")
    assert status(page) == "3, 8 isolated, others subtracted, strength 1.5"
    assert "held-out image 4 of" in page.locator(".ee-image").inner_text()
    again = opener(page.url[page.url.index("?") :])
    assert status(again) == status(page) and answer(again) == answer(page)


def test_a_thumbnail_is_chosen_by_mouse_and_by_keyboard(opener):
    page = opener("?class=5")
    thumbnails = page.locator(".st-key-thumbnails").get_by_role("radio")
    assert thumbnails.count() == 20
    thumbnails.nth(4).click()
    page.wait_for_function("document.querySelector('.ee-image').textContent.includes('image 5 of')")
    assert "image=5" in page.url
    settle(page)
    thumbnails.nth(4).press("ArrowRight")
    thumbnails.nth(5).press("Space")
    page.wait_for_function("document.querySelector('.ee-image').textContent.includes('image 6 of')")


def test_a_bad_address_gets_a_sentence(opener):
    page = opener("?concepts=<script>alert(1)</script>&strength=1e9&concepts=2")
    note = page.get_by_test_id("stAlert").inner_text()
    assert "strength" in note and "concepts" in note
    assert status(page) == "2 erased, strength 1"


@pytest.mark.parametrize(
    ("scheme", "width", "query"),
    [
        ("dark", 1440, "?model=fashion-cnn&class=Coat&concepts=Coat"),
        ("light", 420, "?model=fashion-cnn&class=Ankle+boot&concepts=Ankle+boot"),
    ],
)
def test_it_fits_and_follows_the_theme(opener, tmp_path: Path, scheme: str, width: int, query: str):
    page = opener(query, scheme=scheme, width=width)
    page.screenshot(path=tmp_path / f"live-{scheme}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing inside the panel is wider than the place it has.
    cut = page.evaluate(
        "[...document.querySelectorAll('.ee-hero :not(.ee-arrow), .ee-stat *')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map(e => e.className)"
    )
    assert cut == []
    colour = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 150) == (scheme == "dark")


def test_a_switch_shows_at_once(opener):
    """A generous bound, since the machine may be busy; `measure_live.py` prints the real numbers."""
    for query, names in (("", "123"), ("?model=fashion-cnn", ("Coat", "Bag", "Shirt"))):
        times = toggle_times(opener(query), names, listed=False)
        answered, drawn = (statistics.median(row[place] for row in times) for place in range(2))
        print(f"toggle: answer {answered:.0f} ms, figure {drawn:.0f} ms")
        assert answered < 1500
