"""Which memories a fine-tune wrote: against dense matrices, and new ones apart from old ones."""

from __future__ import annotations

import pytest
import torch
from fine_tuned import NEW, OLD, small_fine_tune

import engram_core as ec
from engram_core.fine_tuning.writing import written_shares


def test_the_share_is_the_norm_of_the_new_part_over_that_of_the_whole() -> None:
    fine_tune = small_fine_tune()
    model = fine_tune.subject.model
    concepts = ec.ConceptSet([*fine_tune.subject.concepts.values(), *fine_tune.known.concepts.values()])
    recording = ec.record(model, concepts)
    atlas, whole = ec.extract(model, recording, base=fine_tune.base), ec.extract(model, recording)
    table = written_shares(atlas)
    assert list(table.columns) == ["layer", "concept", "written", "whole", "share"]
    for row in table.itertuples():
        written = float(torch.linalg.vector_norm(atlas[row.concept].matrix(row.layer)))
        entire = float(torch.linalg.vector_norm(whole[row.concept].matrix(row.layer)))
        assert (row.written, row.whole) == pytest.approx((written, entire), rel=1e-4)
        assert row.share == pytest.approx(written / entire, rel=1e-4)
    share = table.groupby("concept")["share"].mean()
    assert share[NEW].min() > share[OLD].max()  # what is new was written


def test_engrams_of_whole_weights_cannot_say_it() -> None:
    fine_tune = small_fine_tune()
    model = fine_tune.subject.model
    atlas = ec.extract(model, ec.record(model, fine_tune.subject.concepts))
    with pytest.raises(ec.DataError, match=r"Extract with base=…"):
        written_shares(atlas)
