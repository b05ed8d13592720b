import re

import pytest
from hostile import HOSTILE, shown
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.figures.words.as_text import filled, plain, untagged

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
WIDTHLESS = "\u2060"


def read(markdown: str) -> str:
    """Return the text that Markdown shows; fails if there is anything but one paragraph of text in it."""
    if not markdown:
        return ""
    start, inline, end = READER.parse(markdown)
    assert (start.type, end.type) == ("paragraph_open", "paragraph_close")
    assert {child.type for child in inline.children} <= {"text", "text_special"}, markdown
    return "".join(child.content for child in inline.children)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_one_paragraph_of_its_own_letters(name):
    assert read(plain(name)).replace(WIDTHLESS, "").strip("\u00a0 ") == shown(name)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_is_text(text):
    said = plain(text)
    assert "\n" not in said and "\r" not in said
    if said.strip("\u00a0 "):
        read(said)


@pytest.mark.parametrize(
    "name",
    [
        "http://example.com",
        "www.example.com",
        "WWW.example.com",
        "me@example.com",
        "a->b",
        "x >= y",
        ":streamlit:",
    ],
)
def test_what_is_looked_for_after_unescaping_is_broken_up(name):
    """Streamlit's page looks for these in the finished text, where an escape is no longer seen."""
    text = read(plain(name))
    found = r"https?://|www\.|\w@\w|->|<-|--|[<>=~!]=|:[a-z]+:"
    assert re.search(found, name, re.I) and not re.search(found, text, re.I)


@pytest.mark.parametrize("name", ["T-shirt", "Ankle boot", "São Tomé", "7", "don't", "日本", "C++"])
def test_ordinary_names_get_no_sign_that_is_not_theirs(name):
    assert read(plain(name)) == name


def test_a_template_keeps_its_own_markdown_and_no_other():
    assert filled("**{}** of {n}", "*a*", n=3) == r"**\*a\*** of 3"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_figure_reads_no_tag(name):
    assert "<" not in untagged(name)
