"""Keeping a concept in one layer leaves the others as they are."""

import numpy as np
import pytest

from engram_core.errors import DataError, UnknownNameError
from engram_core.measuring.kept_alone import ALL_LAYERS, sufficiency_by_layer
from engram_core.models.groups import layer_groups


@pytest.mark.parametrize("null", ["nothing", "in place"])
def test_keeping_in_one_layer_leaves_the_others_untouched(subject, atlas, null: str) -> None:
    found = sufficiency_by_layer(subject, atlas, concepts=["3", "6"], nulls=[null])
    assert list(found["layer"]) == [ALL_LAYERS, *atlas.layers]
    base = subject.task.measure(subject.model, subject.concepts).score
    for row in found.to_dict("records"):
        layers = atlas.layers if row["layer"] == ALL_LAYERS else [row["layer"]]
        own, rest = [], []
        for name in ("3", "6"):
            view = atlas.apply(keep=[name], null=null, layers=layers)
            after = subject.task.measure(view, subject.concepts).score
            own.append(after[name])
            rest.append(np.mean([after[n] for n in after if n != name]))
        assert row["kept"] == pytest.approx(np.mean(own)) and row["others"] == pytest.approx(np.mean(rest))
        assert row["selective"] == pytest.approx(row["kept"] - row["others"])
        assert row["base"] == pytest.approx((base["3"] + base["6"]) / 2) and row["sets"] == 2


def test_sets_of_several_are_drawn_once_for_every_layer(subject, atlas) -> None:
    found = sufficiency_by_layer(subject, atlas, sizes=(1, 4), draws=3, groups=["blocks"], others=2)
    counts = found.groupby("size")["sets"].unique()
    assert list(counts[1]) == [10] and list(counts[4]) == [3]
    assert len(found) == 2 * 2 * (1 + len(layer_groups(atlas.layers, kinds=["blocks"])))
    assert found.groupby("size")["base"].nunique().eq(1).all()
    with pytest.raises(DataError, match="Cannot keep 11 of 10"):
        sufficiency_by_layer(subject, atlas, sizes=(11,))
    with pytest.raises(DataError, match="others must be 1 or more"):
        sufficiency_by_layer(subject, atlas, others=0)
    with pytest.raises(UnknownNameError, match="Unknown concept '22'"):
        sufficiency_by_layer(subject, atlas, concepts=["22"])
    with pytest.raises(DataError, match="All concepts are kept"):
        sufficiency_by_layer(subject, atlas, sizes=(10,))
