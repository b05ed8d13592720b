"""Tables of layers that are read from the statistics alone agree with the engrams themselves."""

import numpy as np
import pandas as pd
import pytest
import torch

import engram_core as ec
from engram_core.errors import UnknownNameError
from engram_core.progress import Recent, drain
from engram_core.solving import tables
from engram_core.solving.tables import layer_table_steps, size_table_steps


def test_the_table_is_the_atlas_own_energy_and_certificate(atlas):
    table = ec.layer_table(atlas)
    pd.testing.assert_frame_equal(
        table[["layer", "concept", "norm", "relative", "rank"]], atlas.energy(), check_exact=False
    )
    np.testing.assert_allclose(table["error"], atlas.certificates()["error"], atol=1e-9)
    assert table["error"].between(-1e-9, 1 + 1e-9).all()
    for row in table.itertuples():
        norm = float(torch.linalg.vector_norm(atlas[row.concept].matrix(row.layer)))
        assert row.norm == pytest.approx(norm, rel=1e-5)
        assert row.relative == pytest.approx(norm / atlas.weight_norm(row.layer), rel=1e-5)


def test_a_selection_is_the_rows_of_the_whole(atlas):
    names, layer = list(atlas)[3:5], atlas.layers[1]
    whole = ec.layer_table(atlas)
    some = ec.layer_table(atlas, layers=[layer], concepts=names)
    there = whole[(whole["layer"] == layer) & whole["concept"].isin(names)].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, there)
    with pytest.raises(UnknownNameError):
        ec.layer_table(atlas, concepts=["eleven"])


def test_progress_ends_at_its_total_and_nothing_large_stays(atlas, subject):
    fresh = ec.extract(subject.model, ec.record(subject.model, subject.concepts))
    before = {key: set(vars(trace)) for key, trace in fresh._traces.items()}
    seen = []
    ec.layer_table(fresh, progress=lambda done, total, text: seen.append((done, total)))
    assert seen[-1] == (len(fresh.layers), len(fresh.layers))
    kept = {key: {k for k in vars(trace) if k not in ("moment",)} for key, trace in fresh._traces.items()}
    assert all("projector" not in names for names in kept.values()) and set(kept) == set(before)


def test_exclusivities_are_those_of_the_traces_and_sum_to_the_rank(atlas):
    found = ec.exclusivity_table(atlas)
    assert found["mu"].between(0, 1).all()
    for layer in atlas.layers:
        # Σ_c Σ_c Σ† is the projector onto what the cut keeps: its trace is the rank.
        total = found.loc[found["layer"] == layer, "mu"].sum()
        assert total == pytest.approx(float(atlas.spectrum(layer).rank.sum()), rel=1e-3)
    for key, mine in found.groupby(["layer", "concept"]):
        theirs = atlas.trace(*key).exclusivity.clamp(0, 1)[0].numpy()
        few = min(len(mine), len(theirs))
        np.testing.assert_allclose(mine["mu"].to_numpy()[:few], theirs[:few], atol=1e-4)


@pytest.mark.parametrize("steps", [layer_table_steps, size_table_steps])
def test_a_table_that_was_left_goes_on_where_it_was(steps, atlas, monkeypatch):
    """A memory holds one part per layer; what it holds is not read again, and another sharpness is."""
    memory, read = Recent(), []
    sizes = tables._sizes

    def counted(atlas, layer, names):
        read.append(layer)
        return sizes(atlas, layer, names)

    counted.__name__ = sizes.__name__
    monkeypatch.setattr(tables, "_sizes", counted)
    left = steps(atlas, memory=memory)
    while not read:
        next(left)
    left.close()
    first = list(read)
    whole = drain(steps(atlas, memory=memory))
    assert first and sorted(read) == sorted(atlas.layers)
    pd.testing.assert_frame_equal(drain(steps(atlas, memory=memory)), whole)
    assert len(read) == len(atlas.layers)
    drain(steps(atlas.sharpen(2.0), memory=memory))
    assert len(read) == 2 * len(atlas.layers)
