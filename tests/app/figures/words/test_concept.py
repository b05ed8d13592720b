"""Sentences of the concept page and of the list of losses, read back and held against their numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from app.figures.words.concept import (
    Against,
    say_against,
    say_curve,
    say_damage,
    say_flips,
    say_layers,
    say_nearest,
)
from app.figures.words.damage import say_hidden, say_top, worst_pairs
from app.figures.words.maps import say_neighbours

SEEDS = range(12)
NAMES = [f"concept {letter}" for letter in "ABCDEFGH"]


def signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


@pytest.mark.parametrize("seed", SEEDS)
def test_damage_names_whoever_loses_most_and_counts_the_others(seed):
    noise = np.random.default_rng(seed)
    delta = dict(
        zip(NAMES, noise.normal(0, 0.02, len(NAMES)) * (noise.random(len(NAMES)) < 0.6), strict=True)
    )
    shams = noise.normal(-0.3, 0.1, 3)
    said = say_damage("X", (0.97, 0.021), delta, shams)
    assert "97.0% to 2.1%" in said
    assert f"change by {signed(100 * np.mean(list(delta.values())))} points on average" in said
    worst = min(delta, key=lambda name: delta[name])
    lost = [name for name in NAMES if delta[name] <= -0.005]
    assert (f"“{worst}” suffers most, {signed(100 * delta[worst])} points" in said) == bool(lost)
    assert f"{len(lost)} of 8 lose half a point or more" in said
    assert f"{sum(abs(value) < 0.005 for value in delta.values())} change by less" in said
    assert f"change the others by {signed(100 * shams.mean())} points" in said
    assert say_damage("X", (1.0, 0.0), {}).endswith("There is no other concept.")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_nearest_is_the_first_and_the_median_is_that_of_all(seed):
    cosines = np.sort(np.random.default_rng(seed).uniform(-0.3, 0.9, 8))[::-1]
    said = say_nearest("X", NAMES, cosines).replace("−", "-")
    assert f"“{NAMES[0]}”, cosine {cosines[0]:.2f};" in said
    assert f"median of 8 others is {np.median(cosines):.2f}." in said
    assert say_nearest("X", (), ()) == "“X” is the only concept here."


def test_a_criterion_stands_above_the_controls_that_count_for_it():
    loud = Against("Specificity", 0.8, 0.1, [1.3], [0.2], {})
    assert loud.stands is True  # random numbers answer loudly: they are no bar for size
    assert Against("Specificity", 0.8, 0.9, [0.1], [0.2], {}).stands is False
    assert Against("Necessity", 0.8, np.nan, [0.9, 0.1], [0.2], {}).stands is False
    assert Against("Necessity", 0.8, np.nan, [], [], {}).stands is None
    weak = Against("Sufficiency", 0.01, np.nan, [-0.1, 0.0], [np.nan], {})
    said = say_against([loud, weak, Against("Necessity", 0.3, np.nan, [0.4], [0.1], {})], 5)
    assert said == (
        "Specificity 0.80 (others' inputs 0.10), above its controls; Sufficiency 0.01, above its controls, "
        "but next to nothing; Necessity 0.30, not above its controls. p = 0.167 (minimum with 5 seeds)."
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_layers_are_told_apart_where_the_gap_is_widest(seed):
    noise = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"layer": [f"fc{i}" for i in range(6)], "own": noise.random(6), "others": noise.random(6)}
    )
    gap = (table["own"] - table["others"]).to_numpy()
    best, least = table.iloc[gap.argmax()], table.iloc[gap.argmin()]
    said = say_layers("X", table)
    assert f"best in {best['layer']}: {best['own']:.2f} on its own inputs, {best['others']:.2f} on" in said
    assert f"least in {least['layer']} ({least['own']:.2f} and {least['others']:.2f})" in said
    assert "least" not in say_layers("X", table[:1])


def test_flips_are_counted_and_gains_are_said_only_if_there_are_any():
    assert say_flips("a", "a", 3, 0, 36, "held-out image") == (
        "“a” erased: 3 of its own 36 held-out images are lost."
    )
    assert say_flips("b", "a", 1, 2, 6, "question") == (
        "“a” erased: 1 of “b”’s 6 questions are lost, and 2 gained."
    )


def test_the_curve_says_where_half_is_lost_and_what_it_costs_there():
    table = pd.DataFrame(
        {"strength": [0, 0.5, 1, 2.0], "forget": [0.9, 0.6, 0.3, 0.0], "retain": [0.95, 0.94, 0.9, 0.5]}
    )
    said = say_curve("X", table, 2.0)
    assert "lost half its score at strength 1: 90.0% → 30.0%, while the others go from 95.0% to 90.0%" in said
    assert "At the present 2: 0.0%, the others 50.0%" in said
    assert "keeps more than half its score up to strength 0.5" in say_curve("X", table[:2], None)
    assert "nothing to forget" in say_curve("X", table.assign(forget=0.0), 1.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_list_of_losses_holds_the_greatest_and_leaves_out_one_s_own(seed):
    noise = np.random.default_rng(seed)
    rows = [
        (concept, probe, 1.0, float(noise.uniform(0.5, 1.05))) for concept in NAMES[:4] for probe in NAMES
    ]
    table = pd.DataFrame(rows, columns=["concept", "probe", "base", "score"])
    table["delta"] = table["score"] - table["base"]
    pairs = worst_pairs(table, 5)
    others = table[table["concept"] != table["probe"]]
    assert len(pairs) == 5 and pairs["delta"].tolist() == sorted(others["delta"])[:5]
    said = say_top(table, pairs)
    assert said.startswith(f"“{pairs['probe'][0]}” suffers most: {signed(100 * pairs['delta'][0])} points")
    assert f"{int((others['delta'] <= -0.005).sum())} of {len(others)} pairs" in said
    assert "No concept loses half a point" in say_top(table.assign(delta=0.0), pairs)


def test_what_is_hidden_is_said_and_neighbours_are_named():
    assert (
        say_hidden(0, 5) == ""
        and say_hidden(4, 6).startswith(" 4 rows")
        and "6 are shown" in say_hidden(4, 6)
    )
    assert "nearest to that of a: b, c." in say_neighbours(("a",), ("b", "c"))
    assert "nearest to each erased one: c." in say_neighbours(("a", "b"), ("c",))
    assert say_neighbours((), ("c",)) == say_neighbours(("a",), ()) == ""
