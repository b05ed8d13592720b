"""Erase and compose memories of a small fine-tune: the settings, the draws, and every figure by hand."""

from __future__ import annotations

import json

import pytest
from fine_tuned import NEW, small_fine_tune

import engram_core as ec
from engram_core.fine_tuning.fine_tune import Figures
from engram_core.fine_tuning.trial import Trial, try_fine_tune


@pytest.fixture(scope="module")
def trial() -> Trial:
    return try_fine_tune(small_fine_tune(), counts=[1, 3, 8])


def test_the_fine_tune_learned_and_the_base_did_not(trial) -> None:
    assert trial.before.chosen < 0.3 and trial.before.old == 1.0
    assert trial.after.chosen > 0.95 and trial.after.old == 1.0


def test_memories_go_and_come_and_what_was_known_stays(trial) -> None:
    one, three, every = trial.rows["erase"]
    assert one.figures.chosen <= 0.25 and one.figures.other_new >= 0.9 and one.figures.old >= 0.99
    assert three.figures.chosen <= 0.25 and three.figures.other_new >= 0.9 and three.figures.old >= 0.99
    assert every.figures.chosen <= 0.2 and every.figures.other_new is None
    for row in trial.rows["compose"]:
        assert row.figures.chosen >= 0.8 and row.figures.old >= 0.99
        assert row.figures.other_new is None or row.figures.other_new <= 0.4


def test_no_concept_that_a_setting_was_found_on_confirms_it(trial) -> None:
    for rows in trial.rows.values():
        for row in rows:
            confirmed = {name for draw in row.confirmed_on for name in draw}
            assert all(len(draw) == row.count for draw in row.confirmed_on)
            if row.all_of_them:
                assert confirmed == set(NEW)
            else:
                assert row.found.trials > 0 and len(confirmed) <= 4  # the search had the other half


def test_every_figure_is_that_of_the_edit_it_names(trial) -> None:
    fine_tune = small_fine_tune()
    atlases = fine_tune.atlases()
    subject, known = fine_tune.subject, fine_tune.known
    for form, direction in (("erase", "erase"), ("compose", "compose"), ("erase_from_weights", "erase")):
        row = trial.rows[form][1]
        of = row.found.setting.of
        assert of == ("weights" if form == "erase_from_weights" else "fine-tune")
        by_hand = []
        for draw in row.confirmed_on:
            sharp = atlases[of].sharpen(row.found.setting.sharpness)
            view = sharp.apply(erase=draw) if direction == "erase" else sharp.apply(keep=draw, null="base")
            scores = subject.task.measure(view, subject.concepts).score
            old = known.task.measure(view, known.concepts).score
            rest = [value for name, value in scores.items() if name not in draw]
            by_hand.append(
                (
                    sum(scores[n] for n in draw) / len(draw),
                    sum(rest) / len(rest),
                    sum(old.values()) / len(old),
                )
            )
        means = [sum(column) / len(column) for column in zip(*by_hand, strict=True)]
        assert [row.figures.chosen, row.figures.other_new, row.figures.old] == pytest.approx(means)


def test_it_is_json(trial) -> None:
    told = json.loads(json.dumps(trial.to_dict()))
    assert set(told) == {"base", "fine_tuned", "erase", "compose", "erase_from_weights"}
    assert [row["count"] for row in told["erase"]] == [1, 3, 8]
    assert set(told["compose"][0]) >= {"count", "chosen", "other_new", "old", "paraphrases", "setting"}
    assert told["erase"][2]["other_new"] is None and told["erase"][2]["found_on_others"] is False


def test_a_count_that_it_has_not_is_refused() -> None:
    with pytest.raises(ec.DataError, match="has 8 concepts; found a count of 9"):
        try_fine_tune(small_fine_tune(), counts=[9])


def test_means_leave_out_what_nobody_measured() -> None:
    found = Figures.mean([Figures(0.0, None, 1.0, None), Figures(1.0, None, 0.5, 0.25)])
    assert found == Figures(0.5, None, 0.75, 0.25)
