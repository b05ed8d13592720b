"""Options of an address have the words of the screen, and the address keeps its own."""

from __future__ import annotations

import pytest

from app.choice.choice import MODES, NULLS
from app.choice.search import FILTERS, SOURCES
from app.figures.words.layers import LOOKS
from app.figures.words.options import SHOWN, option_word
from app.views.live.inside import SECTIONS

IN_ADDRESSES = {*MODES, *NULLS, *SOURCES, *LOOKS, *SECTIONS, *FILTERS}


@pytest.mark.parametrize("options", [MODES, NULLS, SOURCES, LOOKS, SECTIONS, FILTERS])
def test_no_two_options_of_one_choice_are_called_alike(options) -> None:
    assert len({option_word(option) for option in options}) == len(options)


def test_every_word_is_for_an_option_that_an_address_may_hold() -> None:
    assert SHOWN.keys() <= IN_ADDRESSES
    assert all(word != option for option, word in SHOWN.items())


@pytest.mark.parametrize(
    ("option", "word"),
    [("Switch off", "Erase"), ("in place", "subtract the others"), ("2 clipped", "2, capped at 1×"),
     ("2", "2"), ("Size", "Size")],
)  # fmt: skip
def test_an_option_is_called_by_its_word_or_as_it_stands(option: str, word: str) -> None:
    assert option_word(option) == word
