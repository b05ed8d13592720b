"""How selective an edit was, and averages over concepts."""

import math

import pytest

import engram_core as ec
from engram_core.concepts.tasks import Scores
from engram_core.measuring.scores import selective_effect


def test_the_selective_effect_of_a_task_that_cannot_say_holds_scores_against_scores() -> None:
    base, after = {"a": 1.0, "b": 0.9, "c": 0.8}, {"a": 0.2, "b": 0.8, "c": 0.8}
    told = Scores(after, {name: {"a": 0.5} for name in after})
    assert selective_effect(told, base, "a", "loss") == pytest.approx(0.8 - 0.05)
    assert selective_effect(told, base, "a", "gain") == pytest.approx(0.2 - 0.5)
    assert selective_effect(Scores(after, {}), base, "a", "gain") == pytest.approx(0.2 - 0.8)
    assert math.isnan(selective_effect(told, base, "d", "loss"))
    assert math.isnan(selective_effect(Scores({"a": 1.0}, {}), base, "a", "gain"))


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
