"""Effects of one setting: on the others, beside a sham of its size, with every detail of the task."""

import numpy as np
import pandas as pd
import pytest

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.tasks import Subject
from engram_core.tuning.effects import EffectMeter
from engram_core.tuning.sweep import sweep


def test_a_subset_of_the_others_is_one_and_the_same_at_every_setting(subject, atlas, monkeypatch) -> None:
    asked: list[tuple[str, ...]] = []
    measure = Classification.measure

    def watched(self, model, concepts, probes=None):
        asked.append(tuple(probes))
        return measure(self, model, concepts, asked[-1])

    monkeypatch.setattr(Classification, "measure", watched)
    options = {"concepts": ["2", "5"], "strengths": (0.5, 1.0), "groups": ["all"], "others": 3}
    found = sweep(subject, atlas, seed=1, **options)
    edits = asked[1:]
    assert len(edits) == 4 and len(set(edits)) == 2  # two concepts at two strengths
    for probes in set(edits):
        assert len(probes) == 4 and len(set(probes)) == 4  # the erased one and three others
    assert found["base_retain"].nunique() == 1
    pd.testing.assert_frame_equal(found, sweep(subject, atlas, seed=1, **options))
    again = len(asked)
    sweep(subject, atlas, seed=2, **options)
    assert set(asked[again + 1 :]) != set(edits)


def test_the_sham_is_a_gaussian_change_as_large_as_the_edit(subject: Subject, atlas: ec.Atlas) -> None:
    setting = {"group": "all", "scaling": "plain", "power": 1.5, "clip": True, "strength": 1.0}
    found = ec.sham(subject, atlas, setting, concepts=["2", "5"], seeds=range(2), others=4, seed=3)
    assert list(found["seed"]) == [0, 1]
    sharp = atlas.sharpen(1.5, clip=True)
    base = subject.task.measure(subject.model, subject.concepts).score
    others = EffectMeter(subject, atlas, [("2",), ("5",)], others=4, seed=3).others
    for row in found.to_dict("records"):
        lost, damage = [], []
        for (name,), rest in others.items():
            view = ec.gaussian_view(sharp, ec.Edit.of(sharp, erase=name), row["seed"])
            after = subject.task.measure(view, subject.concepts).score
            lost.append(base[name] - after[name])
            damage.append(np.mean([base[n] - after[n] for n in rest]))
        assert row["lost"] == pytest.approx(np.mean(lost))
        assert row["damage"] == pytest.approx(np.mean(damage))
