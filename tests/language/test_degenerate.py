"""Texts that repeat themselves, and the damage an edit does to a model's writing."""

import pytest
from language_helpers import little_texts, tiny
from writing import TOKENIZER, Script, atlas_of

import engram_core as ec
from engram_core.errors import DataError
from engram_core.language import (
    damage,
    degenerate_rate,
    is_degenerate,
    perplexity,
    recall,
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


def test_damage_is_what_each_measure_gives_by_itself():
    model, texts = tiny("llama"), little_texts()
    view = atlas_of(model).apply(erase={"sky": 1.0})
    table = damage(model, view, TOKENIZER, texts, max_new_tokens=6).set_index("measure")
    for name, concept in (("erased", "sky"), ("others", "grass")):
        for column, side in (("before", model), ("after", view)):
            asked = recall(side, TOKENIZER, texts, concepts=[concept])
            assert table[column][f"nll, {name}"] == pytest.approx(asked["nll"].mean())
            assert table[column][f"recall, {name}"] == asked["exact"].mean()
    assert table["after"]["perplexity, background"] == perplexity(view, TOKENIZER, texts.background)
    assert table["count"]["degenerate rate"] == 1
    assert table["change"].to_list() == (table["after"] - table["before"]).to_list()
    assert abs(table["change"]["nll, erased"]) > 1e-3
    ec.live_edit(view).off()
    off = damage(model, view, TOKENIZER, texts, erased=["sky"], max_new_tokens=6)
    assert (off["change"] == 0).all()
