"""Options are checked before long work begins, and shams stand beside what was measured."""

import math

import pytest
from helpers import every_criterion

import engram_core as ec
from engram_core.concepts.tasks import Subject
from engram_core.editing.edit import Edit
from engram_core.errors import CoverageError, DataError, UnknownNameError
from engram_core.measuring.options import draw_others
from engram_core.measuring.shams import gaussian_view, subset_atlas
from engram_core.measuring.significance import significance


@pytest.mark.parametrize(
    ("measure", "what"), [(ec.necessity, "erase"), (ec.sufficiency, "keep")], ids=["necessity", "sufficiency"]
)
def test_control_columns_are_the_shams_scores_worked_by_hand(
    subject: Subject, atlas: ec.Atlas, measure, what: str
) -> None:
    table = measure(subject, atlas, concepts=["4"], controls=3, seed=10, strength=0.3, layers=["0", "2"])
    edit = Edit.of(atlas, **{what: {"4": 0.3}}, layers=["0", "2"])
    subsets = subset_atlas(atlas, subject.concepts, size=50, seeds=[10, 11, 12])
    views = {
        "gaussian": [gaussian_view(atlas, edit, s) for s in (10, 11, 12)],
        "subset": [subsets.apply(**{what: {n: 0.3}}, layers=["0", "2"]) for n in subsets],
    }
    sign = -1 if what == "erase" else 1
    for kind, made in views.items():
        scores = [subject.task.measure(view, subject.concepts).score for view in made]
        for row in table.to_dict("records"):
            found = [sign * s[row["probe"]] for s in scores]
            mean, deviation, z, p = significance(sign * row["score"], found)
            expected = [sign * mean, deviation, z, p]
            assert [row[f"{kind}{t}"] for t in ("", "_sd", "_z", "_p")] == pytest.approx(expected)


@every_criterion
@pytest.mark.parametrize("controls", [1, -1])
def test_a_number_of_controls_without_a_spread_is_refused_at_once(
    subject: Subject, atlas: ec.Atlas, measure, controls: int
) -> None:
    with pytest.raises(DataError, match=f"controls must be 0, or at least 2 for a spread; found {controls}"):
        measure(subject, atlas, controls=controls)


@every_criterion
@pytest.mark.parametrize("strength", [math.nan, math.inf, None, "strong"])
def test_a_strength_that_is_no_number_is_refused(
    subject: Subject, atlas: ec.Atlas, measure, strength
) -> None:
    with pytest.raises(DataError, match="must be a finite number; found"):
        measure(subject, atlas, strength=strength, controls=0)


@every_criterion
def test_an_unknown_layer_suggests_the_nearest(subject: Subject, atlas: ec.Atlas, measure) -> None:
    with pytest.raises(UnknownNameError, match="Unknown layer '44'. Did you mean '4'"):
        measure(subject, atlas, layers=["44"], controls=0)
    with pytest.raises(CoverageError, match="No covered layer matches"):
        measure(subject, atlas, layers="conv.*", controls=0)


def test_unknown_or_no_concepts_are_refused(subject: Subject, atlas: ec.Atlas) -> None:
    with pytest.raises(UnknownNameError, match="Unknown concept '77'. Did you mean '7'"):
        ec.necessity(subject, atlas, concepts=["77"], controls=0)
    with pytest.raises(DataError, match="concepts names none to measure"):
        ec.sufficiency(subject, atlas, concepts=[], controls=0)


def test_the_others_of_a_seed_are_the_ones_that_the_documented_figures_were_measured_on() -> None:
    names = list("0123456789")
    assert draw_others(names, ["2"], 3, seed=5) == list("057")
    assert draw_others(names, ["2", "4"], 3, seed=(0, 7)) == list("016")
    assert (
        draw_others(names, ["2"], 9, seed=5) == draw_others(names, ["2"], None, seed=1) == list("013456789")
    )
