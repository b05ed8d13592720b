"""The tour claims nothing that its figures do not show: its answers and sentences, against the scores."""

from __future__ import annotations

import re

import numpy as np
import pytest

import engram_core as ec
from app.choice.choice import clean
from app.compute.visitor import edit_of
from app.figures.words.tour import Measured, say_control, say_erased, say_kept_alone, say_neighbours
from app.session.visitors import base_of
from app.views.tour.lessons import LESSONS
from engram_core.editing.live_edit import apply_edit


def numbers(text: str) -> list[float]:
    read = text.replace("\\", "").replace("−", "-")
    return [float(found) for found in re.findall(r"[-+]?\d+(?:\.\d+)?(?=%| points)", read)]


def measured(number: int, *, shams: int = 0) -> tuple[Measured, object, ec.Atlas]:
    """Measure the screen of a step by the core alone."""
    values = LESSONS[number - 1].after
    base = base_of(values["model"])
    choice = clean(base.explorer.get("start", {}) | dict(values), base.facts)
    atlas = base.variant(choice.power, choice.clip)
    view = apply_edit(atlas, edit_of(atlas, choice), base.sample.model)
    sample = base.sample
    before, after = base.scores, sample.task.measure(view, sample.concepts).score
    edit = ec.live_edit(view).edit
    runs = [
        sample.task.measure(ec.gaussian_view(atlas, edit, seed), sample.concepts).score
        for seed in range(shams)
    ]
    return Measured(base.facts.classes, before, after, choice.concepts, runs), view, atlas


@pytest.mark.parametrize("number", [3, 6, 8])
def test_what_is_lost_is_said_in_numbers(number):
    found, *_ = measured(number)
    assert LESSONS[number - 1].finding is say_erased
    (chosen,) = found.chosen
    others = [name for name in found.classes if name != chosen]
    said = numbers(say_erased(found))
    sides = (found.base, found.edited)
    wanted = [*(s[chosen] for s in sides), *(np.mean([s[n] for n in others]) for s in sides)]
    np.testing.assert_allclose(said, 100 * np.array(wanted), atol=0.051)
    if number == 8:  # “They stay, nearly all”
        assert wanted[1] < 0.2 and wanted[3] > 0.95
    if number == 6:  # “Hard to say without looking”: neither half of them nor nearly none
        assert LESSONS[5].answer == 2


def test_the_memory_is_in_every_layer_and_the_seven_is_called_something_else():
    found, view, atlas = measured(3)
    base = base_of("digits-mlp")
    assert LESSONS[0].options[LESSONS[0].answer] == "A part of it in every layer"
    assert all(atlas["7"].weight(layer).norm() > 0 for layer in atlas.layers)
    image = base.sample.concepts["7"].probe[9:10]
    assert base.sample.task.probabilities(base.sample.model, image)[0].argmax() == 7
    assert base.sample.task.probabilities(view, image)[0].argmax() != 7


def test_the_control_harms_most_digits_and_not_all_alike():
    found, *_ = measured(4, shams=5)
    said = say_control(found).replace("\\", "")
    control = {name: np.mean([run[name] for run in found.runs]) for name in found.classes}
    others = [name for name in found.classes if name != "7"]
    low, high = min(others, key=control.get), max(others, key=control.get)
    wanted = [found.base["7"], control["7"], np.mean([found.base[n] for n in others]),
              np.mean([control[n] for n in others]), control[low], control[high],
              np.mean([found.edited[n] for n in others])]  # fmt: skip
    np.testing.assert_allclose(numbers(said), 100 * np.array(wanted), atol=0.051)
    assert f"({low})" in said and f"({high})" in said
    lesson = LESSONS[3]
    assert lesson.options[lesson.answer] == "It harms most digits, some more than others"
    harmed = [name for name in found.classes if control[name] < found.base[name] - 0.05]
    assert len(harmed) > 5 and control[high] - control[low] > 0.05


def test_the_neighbours_that_are_named_are_those_that_lose():
    found, *_ = measured(7)
    said = say_neighbours(found).replace("\\", "")
    change = {name: found.edited[name] - found.base[name] for name in found.others}
    worst = min(change, key=change.get)
    lesson = LESSONS[6]
    assert lesson.options[lesson.answer] == f"{worst}s"
    losing, _, gaining = said.partition(" lose")
    for name, value in change.items():
        named = re.search(rf"\b{re.escape(name)} \(([^)]*) points", said)
        if abs(value) < 0.01:
            assert not named
        elif named:
            assert name in (losing if value < 0 else gaining)
            assert numbers(named[0])[0] == pytest.approx(100 * value, abs=0.051)


def test_what_is_kept_alone_is_said_in_numbers():
    found, *_ = measured(5)
    others = [name for name in found.classes if name != "7"]
    wanted = [found.base["7"], found.edited["7"], np.mean([found.base[n] for n in others]),
              np.mean([found.edited[n] for n in others])]  # fmt: skip
    np.testing.assert_allclose(numbers(say_kept_alone(found)), 100 * np.array(wanted), atol=0.051)
