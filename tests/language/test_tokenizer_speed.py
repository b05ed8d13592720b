"""A tokenizer from elsewhere is tried on hard texts, and one that takes too long is refused."""

import pytest
from language_helpers import Slow, byte_tokenizer

from engram_core.errors import DataError
from engram_core.language import tokenizer_speed
from engram_core.language.tokenizer_speed import try_tokenizer


class Counting:
    """A fast tokenizer that remembers what it was asked."""

    is_fast = True

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, text: str, **_options: object) -> dict[str, list[int]]:
        self.asked.append(text)
        return {"input_ids": [1] * len(text)}


def test_hard_texts_are_as_long_as_a_page_and_end_otherwise_too() -> None:
    tokenizer = Counting()
    try_tokenizer(tokenizer)
    assert {len(text) for text in tokenizer.asked} == {3999, 4000} and "a" * 3999 + "!" in tokenizer.asked
    assert len(tokenizer.asked) == len(set(tokenizer.asked)) == 32


def test_an_ordinary_one_passes_and_one_written_in_python_is_not_tried() -> None:
    try_tokenizer(byte_tokenizer())
    slow = Slow(byte_tokenizer())
    slow.__class__ = type("Never", (Slow,), {"__call__": None})
    try_tokenizer(slow)


def test_one_that_takes_long_is_refused_with_the_text(monkeypatch) -> None:
    clock = iter(range(0, 1000, 7))
    monkeypatch.setattr(tokenizer_speed.time, "perf_counter", lambda: next(clock))
    with pytest.raises(DataError, match=r"takes 7 s for 3,999 characters \('aaaaaaaaaa' …\)"):
        try_tokenizer(Counting())
