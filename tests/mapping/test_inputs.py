"""Which inputs a map draws, which concepts it shows, and what the model answers to them."""

from __future__ import annotations

import numpy as np
import pytest

import engram_core as ec
from engram_core.errors import UnknownNameError
from engram_core.mapping.inputs import answers, some_concepts


def test_a_draw_is_seeded_bounded_and_grows(sample):
    few, more = (ec.draw_inputs(sample, per_concept=n, seed=3) for n in (4, 9))
    pairs = set(zip(few.concept, few.number, strict=True))
    assert pairs < set(zip(more.concept, more.number, strict=True)) and len(few) == 40
    assert few.table().equals(ec.draw_inputs(sample, per_concept=4, seed=3).table())
    assert not few.table().equals(ec.draw_inputs(sample, per_concept=4, seed=4).table())
    assert len(ec.draw_inputs(sample, most=50)) == 50
    assert few.available["7"] == len(sample.concepts["7"].probe)
    # Another choice of concepts leaves each concept's own draw alone.
    alone = ec.draw_inputs(sample, ["7"], per_concept=4, seed=3)
    assert set(zip(alone.concept, alone.number, strict=True)) <= pairs


def test_many_concepts_become_the_chosen_and_a_seeded_few():
    names = [f"c{i}" for i in range(100)]
    some = some_concepts(names, ["c99", "c3"], most=10)
    assert len(some) == 10 and {"c99", "c3"} <= set(some) and list(some) == sorted(some, key=names.index)
    assert some == some_concepts(names, ["c99", "c3"], most=10) and some_concepts(names[:5]) == tuple(
        names[:5]
    )
    with pytest.raises(UnknownNameError):
        some_concepts(names, ["c100"])


def test_answers_are_the_models(sample, atlas, inputs):
    said = np.array(answers(sample, inputs))
    share = (said == np.array(inputs.concept)).mean()
    assert share > 0.9
    without = np.array(answers(sample, inputs, atlas.apply(erase="7")))
    sevens = np.array(inputs.concept) == "7"
    assert (without[sevens] == "7").mean() < 0.5 <= (without[~sevens] == said[~sevens]).mean()
