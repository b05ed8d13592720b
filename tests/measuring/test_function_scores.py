"""Tables of what edits and shams do to the scores: details of a task, and shams on some of the others."""

import math

import numpy as np
import pytest

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.tasks import Scores, Subject
from engram_core.errors import DataError
from engram_core.measuring.function_scores import FunctionScores


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


def test_every_concept_is_held_against_its_own_shams() -> None:
    """Figures made up: what a table of tests holds follows from them by hand."""
    probes = ("a", "b", "c")
    base = Scores(dict.fromkeys(probes, 1.0), {})
    gone = {name: Scores({p: 0.0 if p == name else 0.9 for p in probes}, {}) for name in ("a", "b")}
    noise = [Scores(dict.fromkeys(probes, 1.0) | {"a": value}, {}) for value in (0.8, 0.9, 1.0)]
    found = FunctionScores(
        "loss", probes, base, gone, {"gaussian": {"a": noise, "b": noise[:1]}, "subset": {}}
    ).tests()
    assert list(found["concept"]) == ["a", "b"] and "selective_subset" not in found
    assert found["selective"].to_list() == pytest.approx([0.9, 0.9])  # 1.0 lost, the others 0.1
    first = found.iloc[0]
    assert first["selective_gaussian"] == pytest.approx(0.1)  # mean of 0.2, 0.1 and 0
    assert first["selective_gaussian_z"] == pytest.approx(8.0) and first["selective_gaussian_p"] == 1 / 4
    assert found.iloc[1][["selective_gaussian", "selective_gaussian_z"]].isna().all()  # one is no comparison
