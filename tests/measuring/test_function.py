"""Necessity and sufficiency: every option reaches the edit, and what is told is what the model says."""

import pandas as pd
import pytest
import torch
from helpers import CRITERIA, square

import engram_core as ec
from engram_core.concepts.tasks import Subject
from engram_core.errors import DataError


def test_says_is_the_share_of_the_probe_answered_with_the_concept(subject: Subject, atlas: ec.Atlas) -> None:
    for measure, option in ((ec.sufficiency, "keep"), (ec.necessity, "erase")):
        says = square(measure(subject, atlas, controls=0), "says")
        for concept in ("1", "8"):
            view = atlas.apply(**{option: concept})
            for probe in subject.concepts:
                with torch.no_grad():
                    answers = view(subject.concepts[probe].probe).argmax(-1)
                assert says.loc[concept, probe] == pytest.approx(
                    float((answers == int(concept)).double().mean())
                )


@pytest.mark.parametrize(
    ("measure", "options"),
    [
        ("necessity", {"strength": 0.4}),
        ("necessity", {"scaling": "adaptive", "strength": 1.5}),
        ("necessity", {"layers": ["4"]}),
        ("necessity", {"layers": "0|2", "strength": 3}),
        ("sufficiency", {"null": "in place"}),
        ("sufficiency", {"layers": ["0"]}),
        ("sufficiency", {"strength": 0.3}),
    ],
    ids=str,
)
@pytest.mark.parametrize("sharp", [False, True], ids=["plain", "sharp"])
def test_every_option_reaches_the_edit(
    subject: Subject, atlas: ec.Atlas, measure: str, options: dict, sharp: bool
) -> None:
    atlas = atlas.sharpen(1.5, clip=True) if sharp else atlas
    table = CRITERIA[measure](subject, atlas, controls=0, **options)
    rest = {k: v for k, v in options.items() if k != "strength"}
    what = "erase" if measure == "necessity" else "keep"
    for concept, row in square(table, "score").iterrows():
        view = atlas.apply(**{what: {concept: options.get("strength", 1.0)}}, **rest)
        assert row.to_dict() == subject.task.measure(view, subject.concepts).score
    assert not table["score"].equals(CRITERIA[measure](subject, atlas, controls=0)["score"])


def test_strength_zero_loses_nothing(subject: Subject, atlas: ec.Atlas) -> None:
    assert (ec.necessity(subject, atlas, controls=0, strength=0.0)["delta"] == 0).all()


def test_base_is_the_score_of_the_untouched_model(subject: Subject, atlas: ec.Atlas) -> None:
    expected = subject.task.measure(subject.model, subject.concepts).score
    for measure in (ec.necessity, ec.sufficiency):
        table = measure(subject, atlas, controls=0, concepts=["3", "5"])
        assert (table["base"] == table["probe"].map(expected)).all()
        assert (table["delta"] == table["score"] - table["base"]).all()


def test_only_the_named_concepts_are_edited_and_all_are_probed(subject: Subject, atlas: ec.Atlas) -> None:
    whole = ec.necessity(subject, atlas, controls=0)
    some = ec.necessity(subject, atlas, controls=0, concepts=["5", "2"])
    assert list(dict.fromkeys(some["concept"])) == ["5", "2"]
    assert square(some, "score").equals(square(whole, "score").loc[["2", "5"]])


def test_the_selective_effect_is_what_the_concept_loses_beyond_the_others(
    subject: Subject, atlas: ec.Atlas
) -> None:
    table = ec.necessity(subject, atlas, controls=0)
    kept = ec.sufficiency(subject, atlas, controls=0)
    for concept in atlas:
        rows = table[table.concept == concept].set_index("probe")
        others = rows.drop(index=concept)
        expected = -rows.delta[concept] + others.delta.mean()
        assert rows.selective.nunique() == 1
        assert rows.selective.iloc[0] == pytest.approx(expected, abs=1e-12)
        rows = kept[kept.concept == concept].set_index("probe")
        said = rows.drop(index=concept).says.mean()
        assert rows.selective.iloc[0] == pytest.approx(rows.score[concept] - said, abs=1e-12)


def test_a_forgotten_concept_stands_out_from_random_subsets(subject: Subject, atlas: ec.Atlas) -> None:
    table = ec.necessity(subject, atlas, concepts=["0", "6"], controls=20)
    own = table["concept"] == table["probe"]
    assert (table[own]["subset_p"] == 1 / 21).all() and (table[own]["subset_z"] > 3).all()
    # Noise of the same norm takes the others along, which the engram does not.
    assert (table[~own]["gaussian"] < table[~own]["score"]).mean() > 0.8


def test_controls_of_a_single_concept_are_those_it_has_among_all(subject: Subject, atlas: ec.Atlas) -> None:
    """Extracting one concept must not make its random subsets subsets of itself."""
    recording = ec.record(subject.model, subject.concepts)
    alone = ec.extract(subject.model, recording, concepts=["4"])
    one = ec.necessity(subject, alone, controls=3)
    whole = ec.necessity(subject, atlas, concepts=["4"], controls=3)
    pd.testing.assert_frame_equal(one, whole)


def test_keeping_in_place_has_no_subset_control_and_says_so(subject: Subject, atlas: ec.Atlas) -> None:
    with pytest.raises(DataError, match="null='nothing' for its control, or controls=0"):
        ec.sufficiency(subject, atlas, null="in place", controls=2)
