"""The damage an edit does to a model's writing, beside what each measure says by itself."""

import pytest
from language_helpers import little_texts, tiny
from writing import TOKENIZER, atlas_of

import engram_core as ec
from engram_core.language import (
    damage,
    perplexity,
    recall,
)


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
