"""Texts that repeat themselves, and how many of a model's continuations do."""

import pytest
from language_helpers import tiny
from writing import TOKENIZER, Script

from engram_core.errors import DataError
from engram_core.language import (
    degenerate_rate,
    is_degenerate,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False), ("the sky", False), ("the sky is blue", False), ("Rome Rome rome ROME", True),
        ("a b a b a b", True), ("x y z a b c a b c a b c", True), ("a b c d " * 3, True),
        ("a b c d e f " * 9, False),
        ("one two three and then other words follow until one two three", False),
    ],
)  # fmt: skip
def test_a_text_is_degenerate_if_one_trigram_covers_more_than_half(text, expected):
    assert is_degenerate(text) is expected


def test_the_degenerate_rate_is_the_share_of_continuations():
    loop, story = TOKENIZER(" go")["input_ids"], TOKENIZER(" all of it is said but once")["input_ids"]
    for ids, rate in ((loop, 1.0), (story, 0.0)):
        model = Script(1, ids)
        assert degenerate_rate(model, TOKENIZER, ["a", "b"], max_new_tokens=len(story)) == rate
    with pytest.raises(DataError, match="at least one prompt"):
        degenerate_rate(tiny("llama"), TOKENIZER, [])
