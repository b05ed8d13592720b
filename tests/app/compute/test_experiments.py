"""The experiments of the tour: a step shows nothing that a later one asks, and its numbers are the core's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import engram_core as ec
from app.compute.experiments import EXPERIMENTS, SEEDS
from app.session.visitors import base_of
from app.views.tour.lessons import LESSONS
from engram_core.progress import drain

KEYS = ["model", "edit", "measure", "of"]
DIGITS = [str(digit) for digit in range(10)]


def tables(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what is given and what is asked."""
    experiment = EXPERIMENTS[name]
    base = base_of(experiment.model) if experiment.model else None
    return experiment.given(base), drain(experiment.asked(base))


def rows(table: pd.DataFrame) -> set[tuple[str, ...]]:
    return set(table[KEYS].itertuples(index=False, name=None))


def values(table: pd.DataFrame, edit: str, measure: str = "score") -> dict[str, float]:
    found = table[(table["edit"] == edit) & (table["measure"] == measure)]
    return dict(zip(found["of"], found["value"], strict=True))


def test_nothing_that_a_step_asks_was_shown_before_its_answer():
    shown: set[tuple[str, ...]] = set()
    for lesson in LESSONS:
        given, asked = tables(lesson.experiment)
        assert len(asked) and not asked[KEYS].duplicated().any() and np.isfinite(asked["value"]).all()
        shown |= rows(given)
        assert not rows(asked) & shown, lesson.title
        shown |= rows(asked)


@pytest.fixture(scope="module")
def digits() -> tuple[ec.Sample, ec.Atlas]:
    """Give the network and its engrams, made by the core alone."""
    sample = ec.load_sample("digits-mlp")
    return sample, ec.extract(sample.model, ec.record(sample.model, sample.concepts))


def test_one_picture_is_answered_as_layer_and_engram_answer_it(digits):
    sample, atlas = digits
    given, asked = tables("reactivation")
    picture = sample.concepts["7"].probe[9:10]
    logits = sample.task.logits(sample.model, picture)[0].numpy()
    layer = values(given, "W x", "output")
    np.testing.assert_allclose([layer[name] for name in DIGITS], logits, atol=1e-4)
    # What the last layer gives without the engram there is what is left of it.
    left = sample.task.logits(atlas.apply(sample.model, erase={"7": 1.0}, layers=["fc3"]), picture)[0].numpy()
    engram = values(asked, "E x", "output")
    np.testing.assert_allclose([layer[n] - engram[n] for n in DIGITS], left, atol=1e-4)


def test_loudness_is_that_of_the_criterion(digits):
    _, asked = tables("specificity")
    table = ec.responses(*digits, concepts=["7"], controls=0)
    for layer, part in table.groupby("layer"):
        found = values(asked, f"E in {layer}", "loudness")
        np.testing.assert_allclose([found[n] for n in part.probe], part.ratio, atol=1e-6)


def test_scores_are_those_of_the_edits_that_are_named(digits):
    sample, atlas = digits
    erased = sample.task.measure(atlas.apply(sample.model, erase={"7": 1.0}), sample.concepts)
    given, asked = tables("necessity")
    assert values(given, "base") == sample.task.measure(sample.model, sample.concepts).score
    assert values(asked, "7 erased") == erased.score
    assert values(asked, "7 erased", "answers to 7") == erased.says["7"]
    alone = sample.task.measure(atlas.apply(sample.model, keep=["7"]), sample.concepts)
    _, asked = tables("sufficiency")
    assert values(asked, "7 alone", "share called 7") == {name: alone.says[name]["7"] for name in DIGITS}
    _, asked = tables("strength")
    half = sample.task.measure(atlas.apply(sample.model, erase={"7": 0.5}), sample.concepts).score
    found = values(asked, "0.5 times 7 erased")
    others = np.mean([half[name] for name in DIGITS if name != "7"])
    assert found["7"] == half["7"] and found["the others"] == pytest.approx(others)


def test_noise_is_that_of_random_changes_of_the_same_size(digits):
    sample, atlas = digits
    edit = ec.live_edit(atlas.apply(sample.model, erase={"7": 1.0})).edit
    runs = [
        sample.task.measure(ec.gaussian_view(atlas, edit, s), sample.concepts).score for s in range(SEEDS)
    ]
    _, asked = tables("control")
    for name, of in (("mean", np.mean), ("least", np.min), ("most", np.max)):
        found = values(asked, f"random change of the size of 7: {name}")
        np.testing.assert_allclose([found[n] for n in DIGITS], [of([run[n] for run in runs]) for n in DIGITS])


def test_the_reader_is_fitted_on_recorded_pictures_and_asked_about_others(digits):
    sample, atlas = digits
    view = atlas.apply(sample.model, erase={"7": 1.0})
    fit, held = (ec.draw_inputs(sample, recorded=recorded) for recorded in (True, False))
    seven = [np.array(inputs.concept) == "7" for inputs in (fit, held)]
    states = [ec.hidden_states(view, atlas, inputs, "fc3").matrix for inputs in (fit, held)]
    said = LogisticRegression(max_iter=2000).fit(states[0], seven[0]).predict(states[1])
    _, asked = tables("limits")
    found = values(asked, "7 erased", "found by a reader")
    assert found["7"] == pytest.approx(said[seven[1]].mean())
    assert found["the others"] == pytest.approx(said[~seven[1]].mean())
