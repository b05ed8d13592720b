"""The next token before and after an edit, and which tokens and layers carry the change."""

import math

import pytest
import torch
from language_helpers import tiny
from writing import TOKENIZER, atlas_of

import engram_core as ec
from engram_core.errors import DataError
from engram_core.language import (
    next_tokens,
    perplexity,
    token_changes,
)


def test_the_next_token_table_holds_both_top_lists_with_ranks_over_the_vocabulary():
    model = tiny("llama")
    view = atlas_of(model).apply(erase={"sky": 1.5})
    table = next_tokens(model, view, TOKENIZER, "The sky is", k=4)
    ids = torch.tensor([TOKENIZER("The sky is")["input_ids"]])
    with torch.no_grad():
        sides = [side(input_ids=ids).logits[0, -1].double().softmax(-1) for side in (model, ec.bake(view))]
    union = {int(i) for side in sides for i in side.topk(4).indices}
    assert set(table["id"]) == union and len(table) == len(union) > 4
    for row in table.itertuples():
        for side, value, rank in (
            (sides[0], row.before, row.rank_before),
            (sides[1], row.after, row.rank_after),
        ):
            assert value == pytest.approx(float(side[row.id]), rel=1e-3)
            assert rank == 1 + int((side > side[row.id]).sum())
    assert table["rank_before"].is_monotonic_increasing
    assert (table["change"] - (table["after"] - table["before"])).abs().max() < 1e-12
    with pytest.raises(DataError, match="k must be"):
        next_tokens(model, view, TOKENIZER, "a", k=0)


def test_changes_of_a_text_add_up_to_its_change_of_loss():
    model, text = tiny("gpt2"), "The sky is blue"
    view = atlas_of(model).apply(erase={"sky": 1.0})
    table = token_changes(model, view, TOKENIZER, text)
    assert "".join(table["token"]) == text and math.isnan(table["change"][0])
    losses = [math.log(perplexity(side, TOKENIZER, [text])) for side in (model, view)]
    assert -table["change"].mean() == pytest.approx(losses[1] - losses[0], abs=1e-4)


@pytest.mark.parametrize("scaling", ["plain", "adaptive"])
def test_a_part_of_the_edit_is_that_part_as_it_is_in_the_whole(scaling):
    model, text = tiny("llama"), "The sky is blue"
    atlas = atlas_of(model)
    view = atlas.apply(erase={"sky": 1.0}, scaling=scaling)
    factors = ec.live_edit(view).report().factors
    table = token_changes(
        model, view, TOKENIZER, text, by={"every": atlas.layers, "one": [atlas.layers[0]], "none": []}
    )
    parts = {name: frame["change"].to_numpy()[1:] for name, frame in table.groupby("part")}
    assert parts["every"] == pytest.approx(parts["whole edit"], abs=1e-9)
    assert abs(parts["none"]).max() == 0
    alone = atlas.apply(erase={"sky": factors[atlas.layers[0]]}, layers=[atlas.layers[0]])
    assert parts["one"] == pytest.approx(
        token_changes(model, alone, TOKENIZER, text)["change"].to_numpy()[1:], abs=1e-5
    )
    assert abs(parts["one"]).max() > 1e-3


def test_parts_by_layer_report_progress_and_stop():
    model = tiny("llama")
    atlas = atlas_of(model)
    view, seen = atlas.apply(erase="sky"), []
    table = token_changes(
        model,
        view,
        TOKENIZER,
        "abc",
        by="layer",
        progress=lambda *a: seen.append(a),
        stop=lambda: len(seen) == 3,
    )
    assert list(dict.fromkeys(table["part"])) == ["whole edit", *atlas.layers[:3]]
    assert [(done, total) for done, total, _ in seen] == [(i, len(atlas.layers)) for i in (1, 2, 3)]
    ec.live_edit(view).off()
    off = token_changes(model, view, TOKENIZER, "abc", by="blocks")
    assert (off["change"].dropna() == 0).all() and off["part"].nunique() == 3
