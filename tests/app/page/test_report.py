"""The report's explanations are Markdown, read by a library, and stay text where they quote names."""

from __future__ import annotations

from app.figures.words.as_text import plain
from app.page.report import Item, figure_page


def how(markdown: str) -> str:
    page = figure_page(Item("live", "t", markdown, "w", "s", {}, "code"))
    return page.partition('<div class="how">')[2].partition("</div>")[0]


def test_explanations_keep_their_form():
    shown = how("**How to read this.** Each cell is `‖E‖ / ‖W‖`.\n\n* one\n* two")
    assert "<strong>How to read this.</strong>" in shown and "<code>‖E‖ / ‖W‖</code>" in shown
    assert shown.count("<li>") == 2


def test_names_stay_text_and_nothing_is_fetched():
    for name in ("<img src=x onerror=alert(1)>", "![x](http://evil.example/y.png)", "**bold** _it_ `code`"):
        shown = how(f"The concept {plain(name)} is erased. ![x](http://evil.example/y.png) <b>raw</b>")
        assert "<img" not in shown and "<b>" not in shown and "<strong>" not in shown and 'src="' not in shown
