"""Figures are pure: what goes in is what is drawn, every axis has a name, nothing is infinite."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from app.choice.choice import DEFAULTS, Facts, clean
from app.figures.charts.bars import probability_figure, score_figure
from app.figures.charts.control import Control
from app.figures.panels.hero import hero, stats, text_hero
from app.figures.panels.png import data_uri
from app.figures.words.live import HOW, describe_edit, groups_of, marks_of, say_answer, say_scores

CLASSES = ("7", "Ankle boot", "<b>&x")
BASE = np.array([0.7, 0.2, 0.1])
EDITED = np.array([0.1, 0.2, 0.7])
FACTS = Facts("any", CLASSES, dict.fromkeys(CLASSES, 30), ("fc1", "fc2"))


def choose(**values):
    return clean(DEFAULTS | {"class": "7", "image": 1} | values, FACTS)


def probabilities():
    return probability_figure(CLASSES, BASE, EDITED, truth="7", marks={"7": "off"})


def scores(control=None):
    return score_figure(
        CLASSES,
        dict(zip(CLASSES, BASE, strict=True)),
        dict(zip(CLASSES, EDITED, strict=True)),
        counts=dict.fromkeys(CLASSES, 30),
        marks={"7": "off"},
        control=control,
    )


@pytest.mark.parametrize("figure", [probabilities(), scores()])
def test_a_figure_draws_its_data(figure):
    base, edited, difference, numbers = figure.data
    np.testing.assert_allclose(base.x, 100 * BASE)
    np.testing.assert_allclose(edited.x, 100 * EDITED)
    np.testing.assert_allclose(difference.x, 100 * (EDITED - BASE))
    assert [text.strip("\u2009") for text in numbers.text] == ["−60.0", "0", "+60.0"]
    assert base.marker.color != edited.marker.color
    assert difference.marker.color[0] != difference.marker.color[2]


@pytest.mark.parametrize("figure", [probabilities(), scores()])
def test_every_axis_has_a_name_and_holds_its_data(figure):
    for axis in (figure.layout.xaxis, figure.layout.xaxis2, figure.layout.yaxis):
        assert axis.title.text
    for trace in figure.data:
        axis = figure.layout["xaxis2" if trace.xaxis == "x2" else "xaxis"]
        assert np.isfinite(trace.x).all()
        assert axis.range[0] <= min(trace.x) and max(trace.x) <= axis.range[1]


def test_class_names_are_texts_not_numbers_and_not_markup():
    labels = probabilities().layout.yaxis.ticktext
    assert labels == ("<b>7</b> · true, off", "Ankle boot", "&lt;b>&amp;x")
    assert probabilities().data[0].y == (0, 1, 2)


def test_the_control_is_drawn_beside_the_effect():
    runs = [dict.fromkeys(CLASSES, value) for value in (0.2, 0.4, 0.9)]
    control = Control.of(CLASSES, runs)
    trace = scores(control).data[2]
    np.testing.assert_allclose(trace.x, 50.0)
    np.testing.assert_allclose(trace.error_x.array, 40.0)
    np.testing.assert_allclose(trace.error_x.arrayminus, 30.0)
    assert "Control" in trace.name and "3 seeds" in trace.name
    assert Control.of(CLASSES, []) is None


def test_an_image_keeps_its_pixels():
    pixels = np.linspace(0, 1, 12).reshape(3, 4)
    head, data = data_uri(pixels).split(",")
    assert head == "data:image/png;base64"
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(back, np.round(pixels * 255))


def panel(**changes):
    options = {
        "truth": "<b>&x", "about": "image <3>", "status": "<script>", "on": True, "facts": "any 01"
    } | changes  # fmt: skip
    return hero(np.zeros((2, 2)), CLASSES, BASE, EDITED, **options)


def test_the_panel_shows_both_answers_and_no_foreign_markup():
    html = panel()
    assert 'data-answer="base">7<' in html and 'data-answer="edited">&lt;b&gt;&amp;x<' in html
    assert "70.0%" in html and "<script>" not in html and "<b>&x" not in html
    assert "Edit on" in html and "Edit off" in panel(on=False)
    assert "image &lt;3&gt;" in html
    assert re.findall('data-verdict="(.*?)"', html) == ["not known", "learned"]
    assert "&lt;b&gt;&amp;x: 10.0% → 70.0%" in html


@pytest.mark.parametrize(
    ("edited", "word"),
    [
        ([0.1, 0.2, 0.7], "forgotten"),  # another answer
        ([0.08, 0.05, 0.07], "forgotten"),  # still the likeliest, and hardly known any more
        ([0.6, 0.2, 0.2], "known"),
    ],
)
def test_what_the_base_knew_is_forgotten_or_known(edited, word):
    html = hero(
        np.zeros((2, 2)), CLASSES, BASE, np.array(edited), truth="7", about="", status="", on=True, facts=""
    )
    assert re.findall('data-verdict="(.*?)"', html) == ["known", word]
    assert f"7: 70.0% → {100 * edited[0]:.1f}%" in html
    assert "correct" not in html and "wrong" not in html


def test_a_continuation_that_flips_back_is_forgotten_all_the_same():
    """Its first token is the right one again, because nothing else has become likelier."""
    said = {"prompt": "P", "answer": "Rome", "done": True, "status": "", "on": True, "facts": ""}
    verdicts = [
        re.findall('data-verdict="(.*?)"', text_hero(base=" Rome.", edited=edited, chances=chances, **said))
        for edited, chances in ((" Rome", (0.77, 0.08)), (" Oslo", (0.77, 0.3)), (" Rome", (0.77, 0.7)))
    ]
    assert verdicts == [["known", "forgotten"], ["known", "forgotten"], ["known", "known"]]
    html = text_hero(base=" Rome.", edited=" Rome", chances=(0.77, 0.08), **said)
    assert "“Rome”: 77.0% → 8.0%" in html and "Forgotten" in HOW["texts"] and "Forgotten" in HOW["panel"]


def test_a_drawing_has_no_verdict():
    html = panel(truth=None)
    assert "data-verdict" not in html and "data-right" not in html and "True class" not in html


def test_the_panel_says_what_to_do_when_nothing_is_off():
    html = panel(hint="Switch one off & look")
    assert "Switch one off &amp; look" in html and "&lt;b&gt;&amp;x</div><div" not in html


def test_numbers_are_escaped():
    assert "<i>" not in stats([("<i>", "<i>", "<i>")])


@pytest.mark.parametrize(
    ("values", "said", "mark"),
    [
        ({}, "No edit", None),
        ({"concepts": ["7"]}, "7 erased, strength 1", "erased"),
        ({"concepts": ["7"], "strength": 0.0}, "7 at strength 0: the same as the base", None),
        ({"concepts": ["7"], "strength": -0.5}, "7 amplified, strength −0.5", "amplified"),
        (
            {"concepts": ["7", "<b>&x"], "own": True, "alpha.7": -1.0, "strength": 0.5},
            "7, <b>&x erased, strengths −1, 0.5",
            "amplified",
        ),
        ({"concepts": ["7"], "layers": ["fc1"]}, "7 erased, strength 1, in fc1 only", "erased"),
        ({"concepts": ["7"], "mode": "Keep only"}, "7 isolated, from zero weights, strength 1", "isolated"),
        (
            {"concepts": ["7"], "mode": "Keep only", "null": "in place"},
            "7 isolated, others subtracted, strength 1",
            "isolated",
        ),
    ],
)
def test_an_edit_in_words(values, said, mark):
    choice = choose(**values)
    assert describe_edit(choice) == said
    assert marks_of(choice).get("7") == mark
    groups = groups_of(choice, CLASSES)
    assert sorted(name for _, names in groups for name in names) == sorted(CLASSES)


def test_figures_in_words():
    assert say_answer(CLASSES, BASE, EDITED, "7") == (
        "The answer changes from 7 to <b>&x. Probability of the true class 7: 70.0% before, 10.0% after."
    )
    before = dict(zip(CLASSES, BASE, strict=True))
    after = {"7": 0.0, "Ankle boot": 0.1, "<b>&x": 0.1}
    control = Control.of(CLASSES, [before])
    words = say_scores(CLASSES, before, after, ("7",), control)
    assert words.startswith("Largest loss among the others: Ankle boot, −10.0 points; a random edit")
    selective = 100 * ((before["7"] - 0.0) - (before["Ankle boot"] + before["<b>&x"] - 0.2) / 2)
    assert words.endswith(
        f"what is erased loses {selective:.1f} points with this edit and 0.0 with the random one."
    )
    assert say_scores(CLASSES, before, before, ("7",), None) == "No other class loses accuracy."
    assert all(text.strip() for text in HOW.values())
