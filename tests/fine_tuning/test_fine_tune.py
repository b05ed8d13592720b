"""A fine-tune's views and figures."""

from __future__ import annotations

import pytest
import torch
from fine_tuned import NEW, OLD, small_fine_tune

import engram_core as ec
from engram_core.fine_tuning.fine_tune import FineTune, Setting


def test_one_recording_serves_both_kinds_of_engram() -> None:
    fine_tune = small_fine_tune()
    atlases = fine_tune.atlases()
    assert atlases["fine-tune"].pretrained is not None and atlases["weights"].pretrained is None
    view = fine_tune.edited(atlases["fine-tune"], ec.Sharpness(1.0, True, 8.0), "compose", NEW)
    x = fine_tune.known.concepts[OLD[0]].probe
    assert not torch.equal(view(x), fine_tune.base(x)) and not torch.equal(
        view(x), fine_tune.subject.model(x)
    )


def test_another_direction_is_refused() -> None:
    fine_tune = small_fine_tune()
    atlas = fine_tune.atlases()["fine-tune"]
    with pytest.raises(ec.DataError, match="erased or composed; found 'amplify'"):
        fine_tune.edited(atlas, ec.Sharpness(), "amplify", NEW[:1])


def test_what_the_base_knew_is_drawn_with_a_seed_and_may_be_unknown() -> None:
    fine_tune = small_fine_tune()
    assert fine_tune.known_score(fine_tune.base, 2) == fine_tune.known_score(fine_tune.base, 2) == 1.0
    alone = FineTune(fine_tune.subject, fine_tune.base)
    assert alone.known_score(fine_tune.base) is None
    figures = alone.figures(fine_tune.base, NEW[:2])
    assert figures.old is None and figures.paraphrases is None and figures.other_new == 0.0


def test_a_setting_is_told_in_the_words_of_the_interface() -> None:
    told = Setting(ec.Sharpness(2.0, True, 16.0)).to_dict()
    assert told == {"of": "fine-tune", "power": 2.0, "cap": True, "gain": 16.0}
