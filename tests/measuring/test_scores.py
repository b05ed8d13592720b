"""Averages over concepts, and shams that are scored on some of the others only."""

import math

import numpy as np
import pytest

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.tasks import Scores, Subject
from engram_core.errors import DataError
from engram_core.measuring.scores import selective_effect


def test_the_selective_effect_of_a_task_that_cannot_say_holds_scores_against_scores() -> None:
    base, after = {"a": 1.0, "b": 0.9, "c": 0.8}, {"a": 0.2, "b": 0.8, "c": 0.8}
    told = Scores(after, {name: {"a": 0.5} for name in after})
    assert selective_effect(told, base, "a", "loss") == pytest.approx(0.8 - 0.05)
    assert selective_effect(told, base, "a", "gain") == pytest.approx(0.2 - 0.5)
    assert selective_effect(Scores(after, {}), base, "a", "gain") == pytest.approx(0.2 - 0.8)
    assert math.isnan(selective_effect(told, base, "d", "loss"))
    assert math.isnan(selective_effect(Scores({"a": 1.0}, {}), base, "a", "gain"))


@pytest.mark.parametrize("measure", [ec.necessity, ec.sufficiency])
def test_shams_on_some_others_are_the_shams_on_all_where_they_were_scored(subject, atlas, measure) -> None:
    options = {"concepts": ["2", "7"], "controls": 3}
    whole = measure(subject, atlas, **options)
    some = measure(subject, atlas, sham_others=3, **options)
    untouched = ["score", "base", "delta", "says", "selective", "subset", "subset_p"]
    np.testing.assert_array_equal(some[untouched].to_numpy(), whole[untouched].to_numpy())
    scored = some["gaussian"].notna()
    assert scored.groupby(some["concept"]).sum().eq(4).all()
    assert scored[some["concept"] == some["probe"]].all()
    np.testing.assert_array_equal(some["gaussian"][scored], whole["gaussian"][scored])
    assert some["selective_gaussian"].notna().all()
    with pytest.raises(DataError, match="sham_others must be 1 or more"):
        measure(subject, atlas, sham_others=0, **options)


def test_the_summary_averages_the_tables(subject, atlas) -> None:
    found = ec.criteria(subject, atlas, concepts=["2", "7", "9"], controls=2)
    lost, kept = found.necessity, found.sufficiency
    summary = found.summary()
    own, other = lost[lost["concept"] == lost["probe"]], lost[lost["concept"] != lost["probe"]]
    assert summary["erased"] == pytest.approx(own["score"].mean())
    assert summary["erased_worst"] == own["score"].max()
    assert summary["others"] == pytest.approx(other["score"].mean())
    assert summary["others_worst_loss"] == pytest.approx((other["base"] - other["score"]).max())
    assert summary["others_worst_mean"] == pytest.approx(
        min(rows["score"].mean() for _, rows in other.groupby("concept"))
    )
    assert summary["kept"] == pytest.approx(kept[kept["concept"] == kept["probe"]]["score"].mean())
    assert summary["selective_subset_p"] == own["selective_subset_p"].max()
    assert found.to_dict()["summary"] == summary and "unseen" not in summary
    for name in ("specificity", "reactivation"):
        table, printed = getattr(found, name), found.to_dict(full=False)[name]
        assert list(printed) == ["means"] and set(found.to_dict()[name]) > {"means", "layers", "control"}
        for layer, rows in table.groupby("layer"):
            mine = rows["concept"] == rows["probe"]
            assert printed["means"][layer]["own"] == pytest.approx(rows["value"][mine].mean())
            assert printed["means"][layer]["others_subset"] == pytest.approx(rows["subset"][~mine].mean())


def test_details_of_a_task_reach_the_table_the_summary_and_the_json(subject, atlas) -> None:
    class Told(Classification):
        def measure(self, model, concepts, probes=None):
            plain = super().measure(model, concepts, probes)
            known = {name: value / 2 for name, value in plain.score.items() if name != "9"}
            return Scores(plain.score, plain.says, {"unseen": known})

    told = Subject(subject.model, subject.concepts, Told(subject.task.classes))
    found = ec.criteria(told, atlas, concepts=["2", "9"], controls=0)
    lost = found.necessity.set_index(["concept", "probe"])
    assert lost.loc[("2", "7"), "unseen"] == lost.loc[("2", "7"), "score"] / 2
    assert math.isnan(lost.loc[("2", "9"), "unseen"])
    assert found.summary()["unseen"] == lost.loc[("2", "2"), "score"] / 2  # 9 has no such question
    printed = found.to_dict()["necessity"]["details"]["unseen"]
    assert printed["matrix"]["2"]["9"] is None
    assert printed["base"]["7"] == lost.loc[("2", "7"), "base"] / 2
