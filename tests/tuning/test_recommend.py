"""The frontier holds what nothing beats, and a recommendation is the best that keeps the rule."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engram_core as ec
from engram_core.errors import DataError
from engram_core.tuning.recommend import NoSettingError, recommend
from engram_core.tuning.sweep import frontier

_share = st.integers(0, 6).map(lambda n: n / 6)


def made(pairs: list[tuple[float, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(pairs, columns=["lost", "damage"])
    frame["forget"], frame["retain"] = 1 - frame["lost"], 1 - frame["damage"]
    frame["base_forget"] = frame["base_retain"] = 1.0
    frame["group"], frame["scaling"], frame["power"], frame["clip"] = "all", "plain", 1.0, False
    frame["strength"] = np.arange(1.0, len(frame) + 1)
    frame.attrs = {"concepts": ["a"], "targets": [["a"]], "groups": {"all": ["l"]}, "unit": "accuracy"}
    return frame


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_share, _share), min_size=1, max_size=12))
def test_the_frontier_holds_what_no_setting_beats(pairs: list[tuple[float, float]]) -> None:
    frame = made(pairs)
    best = frontier(frame)

    def beaten(row: pd.Series, by: pd.Series) -> bool:
        no_worse = by["lost"] >= row["lost"] and by["damage"] <= row["damage"]
        return no_worse and (by["lost"] > row["lost"] or by["damage"] < row["damage"])

    for index, row in frame.iterrows():
        dominated = any(beaten(row, other) for _, other in frame.iterrows())
        same = ((best["lost"] == row["lost"]) & (best["damage"] == row["damage"])).any()
        assert same != dominated and (index not in best.index or not dominated)
    assert best["damage"].is_monotonic_increasing and best["lost"].is_monotonic_increasing


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_share, _share), min_size=1, max_size=12), _share)
def test_the_recommendation_is_the_best_that_keeps_the_bound(pairs, bound: float) -> None:
    frame = made(pairs)
    for rule, kept, goal in (
        ({"forget_at_most": bound}, frame[frame["forget"] <= bound + 1e-9], "damage"),
        ({"lost_at_least": bound}, frame[frame["lost"] >= bound - 1e-9], "damage"),
        ({"damage_at_most": bound}, frame[frame["damage"] <= bound + 1e-9], "forget"),
    ):
        if kept.empty:
            with pytest.raises(DataError, match="None of the .* The nearest: strength"):
                recommend(frame, **rule)
            continue
        found = recommend(frame, **rule)
        assert found.figures[goal] == kept[goal].min()
        assert frame["strength"].isin([found.setting["strength"]]).any()


def test_two_bounds_and_a_limit_hold_together_and_the_nearest_is_named() -> None:
    frame = made([(0.9, 0.3), (0.8, 0.1), (0.5, 0.0)])
    frame["forget_unseen"] = [0.1, 0.3, 0.6]
    assert recommend(frame, forget_at_most=0.3, damage_at_most=0.2).setting["strength"] == 2
    assert recommend(frame, forget_at_most=0.3, limits={"forget_unseen": 0.2}).setting["strength"] == 1
    with pytest.raises(DataError, match=r"The nearest: strength 2, .* forget 0.200, damage 0.100"):
        recommend(frame, forget_at_most=0.15, damage_at_most=0.1)
    with pytest.raises(DataError, match="Say what is wanted"):
        recommend(frame)
    with pytest.raises(DataError, match="no measure 'nll'"):
        recommend(frame, damage_at_most=1, measure="nll")
    with pytest.raises(DataError, match="no column 'unseen'"):
        recommend(frame, damage_at_most=1, limits={"unseen": 1})


def test_a_recommendation_says_what_it_did(table: pd.DataFrame) -> None:
    found = recommend(table, forget_at_most=0.3)
    assert found.found_on == ("2", "5", "7") and found.layers == tuple(table.attrs["groups"]["all"])
    assert f"{found.figures['forget']:.3f}" in found.sentence and "confirmed on others" in found.sentence
    assert f"strength {found.setting['strength']:g}," in found.sentence
    assert found.sharpness in (ec.Sharpness(), ec.Sharpness(1.5, True))


def test_a_rule_that_nothing_keeps_names_the_nearest_as_data_too() -> None:
    frame = made([(0.9, 0.3), (0.8, 0.1), (0.5, 0.0)])
    with pytest.raises(NoSettingError) as failed:
        recommend(frame, lost_at_least=0.95)
    assert failed.value.nearest is not None and failed.value.nearest["strength"] == 1
    frame["lost"] = np.nan
    with pytest.raises(NoSettingError, match="nothing was measured") as failed:
        recommend(frame, lost_at_least=0.95)
    assert failed.value.nearest is None
