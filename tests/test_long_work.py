"""Long work in steps: it comes to what the drained function returns, is stopped, and goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import Case, subject_of

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.tasks import Subject
from engram_core.mapping.strengths import points_steps, trace_strengths_steps
from engram_core.mapping.trace_meter import TraceMeter
from engram_core.measuring.by_layer import layer_effects_steps
from engram_core.measuring.criteria import criteria_steps
from engram_core.measuring.function import function_steps, necessity_edits, sufficiency_edits
from engram_core.measuring.kept_alone import sufficiency_by_layer_steps
from engram_core.measuring.layer_responses import responses_steps
from engram_core.measuring.scores import Scorer
from engram_core.progress import Memory, Recent, Step, drain
from engram_core.recording.record import record_steps
from engram_core.solving.similarity import engram_cosines_steps
from engram_core.solving.tables import exclusivity_table_steps, layer_table_steps
from engram_core.tuning.confirm import confirm_steps, sham_steps
from engram_core.tuning.sweep import Sweep

Work = Generator[Step[Any], None, Any]
SETTING = {"group": "all", "scaling": "plain", "power": 1.0, "clip": False, "strength": 1.0}
NAMES = ["2", "5"]


@pytest.fixture(scope="module")
def subject(digits: Case) -> Subject:
    return subject_of(digits, 12, recorded=20)


@pytest.fixture(scope="module")
def atlas(subject: Subject) -> ec.Atlas:
    return ec.extract(subject.model, ec.record(subject.model, subject.concepts))


def one_by_one(names: list[str]) -> list[list[str]]:
    return [[name] for name in names]


def loss(s: Subject, a: ec.Atlas, memory: Memory) -> Work:
    edits = necessity_edits(a, NAMES)
    return function_steps(s, a, edits, "loss", controls=2, seeds_at_once=1, parts=one_by_one, memory=memory)


def gain(s: Subject, a: ec.Atlas, memory: Memory) -> Work:
    return function_steps(s, a, sufficiency_edits(a, NAMES), "gain", controls=2, memory=memory)


# name: (the work in steps, what drains it, how a result becomes a table)
CASES: dict[str, tuple[Callable[..., Work], Callable[..., Any], Callable[[Any], pd.DataFrame]]] = {
    "necessity": (
        loss,
        lambda s, a: ec.necessity(s, a, concepts=NAMES, controls=2),
        lambda r: r if isinstance(r, pd.DataFrame) else r.table(),
    ),
    "sufficiency": (
        gain,
        lambda s, a: ec.sufficiency(s, a, concepts=NAMES, controls=2),
        lambda r: r if isinstance(r, pd.DataFrame) else r.table(),
    ),
    "responses": (
        lambda s, a, m: responses_steps(s, a, concepts=NAMES, controls=2, layers_at_once=1, memory=m),
        lambda s, a: ec.responses(s, a, concepts=NAMES, controls=2),
        pd.DataFrame,
    ),
    "criteria": (
        lambda s, a, m: criteria_steps(s, a, concepts=NAMES, controls=2, memory=m),
        lambda s, a: ec.criteria(s, a, concepts=NAMES, controls=2),
        lambda r: pd.concat([r.specificity, r.reactivation, r.sufficiency, r.necessity]),
    ),
    "layer effects": (
        lambda s, a, m: layer_effects_steps(s, a, erase=NAMES, controls=2, parts=one_by_one, memory=m),
        lambda s, a: ec.layer_effects(s, a, erase=NAMES, controls=2),
        pd.DataFrame,
    ),
    "kept alone": (
        lambda s, a, m: sufficiency_by_layer_steps(
            s, a, concepts=NAMES, others=3, parts=one_by_one, memory=m
        ),
        lambda s, a: ec.sufficiency_by_layer(s, a, concepts=NAMES, others=3),
        pd.DataFrame,
    ),
    "layer table": (
        lambda s, a, m: layer_table_steps(a, concepts=NAMES, memory=m),
        lambda s, a: ec.layer_table(a, concepts=NAMES),
        pd.DataFrame,
    ),
    "exclusivities": (
        lambda s, a, m: exclusivity_table_steps(a, concepts=NAMES, memory=m),
        lambda s, a: ec.exclusivity_table(a, concepts=NAMES),
        pd.DataFrame,
    ),
    "sweep": (
        lambda s, a, m: Sweep(s, a, concepts=NAMES, strengths=(1, 2), parts=one_by_one, memory=m).steps(),
        lambda s, a: ec.sweep(s, a, concepts=NAMES, strengths=(1, 2)),
        pd.DataFrame,
    ),
    "confirmation": (
        lambda s, a, m: confirm_steps(s, a, SETTING, concepts=NAMES, layers=a.layers, memory=m),
        lambda s, a: ec.confirm(s, a, SETTING, concepts=NAMES, layers=a.layers),
        pd.DataFrame,
    ),
    "sham": (
        lambda s, a, m: sham_steps(s, a, SETTING, concepts=NAMES, layers=a.layers, seeds=(0, 1), memory=m),
        lambda s, a: ec.sham(s, a, SETTING, concepts=NAMES, layers=a.layers, seeds=(0, 1)),
        pd.DataFrame,
    ),
    "cosines": (
        lambda s, a, m: engram_cosines_steps(a),
        lambda s, a: ec.engram_cosines(a),
        lambda r: pd.DataFrame(r.cosines),
    ),
}
REMEMBER = [name for name in CASES if name != "cosines"]


@pytest.mark.parametrize("name", CASES)
def test_the_steps_come_to_what_the_drained_function_returns(name, subject, atlas) -> None:
    steps, whole, table = CASES[name]
    found = table(drain(steps(subject, atlas, Recent())))
    pd.testing.assert_frame_equal(found, table(whole(subject, atlas)), atol=1e-12)


@pytest.mark.parametrize("name", REMEMBER)
def test_work_that_was_stopped_in_the_middle_goes_on_and_repeats_nothing(
    name, subject, atlas, monkeypatch
) -> None:
    steps, whole, table = CASES[name]
    scored: list[tuple[int, tuple[str, ...]]] = []
    measure = Classification.measure

    def watched(self, model, concepts, probes=None):  # noqa: ANN001, ANN202
        scored.append((len(scored), tuple(probes)))
        return measure(self, model, concepts, probes)

    monkeypatch.setattr(Classification, "measure", watched)
    count = len(list(steps(subject, atlas, Recent())))
    without, memory = len(scored), Recent()
    left = steps(subject, atlas, memory)
    for _ in range(2 * count // 3):
        next(left)
    left.close()
    scored.clear()
    rest = steps(subject, atlas, memory)
    found = table(drain(rest))
    if without:
        assert len(scored) < without, "what was measured before is not measured again"
    scored.clear()
    again = list(steps(subject, atlas, memory))
    assert len(again) < count and not scored
    pd.testing.assert_frame_equal(found, table(whole(subject, atlas)), atol=1e-12)


@pytest.mark.parametrize("name", ["layer effects", "kept alone", "layer table", "sweep", "confirmation"])
def test_partial_results_are_the_beginning_of_the_whole(name, subject, atlas) -> None:
    steps, whole, _ = CASES[name]
    final, seen = whole(subject, atlas), 0
    for step in steps(subject, atlas, Recent()):
        partial = step.partial
        if isinstance(partial, dict):
            partial = pd.concat(partial.values(), ignore_index=True) if partial else None
        if partial is not None and len(partial):
            pd.testing.assert_frame_equal(partial, final.iloc[: len(partial)], atol=1e-12)
            seen = len(partial)
    assert seen == len(final)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("criteria", "responses")])
def test_progress_only_rises_and_stays_within_its_total(name, subject, atlas) -> None:
    done = 0.0
    for step in CASES[name][0](subject, atlas, Recent()):
        assert done <= step.done <= step.total and step.what
        done = step.done
    assert done == step.total


def test_the_phases_of_the_criteria_each_have_their_own_progress(subject, atlas) -> None:
    shares = [step.share for step in CASES["criteria"][0](subject, atlas, Recent())]
    assert min(shares) == 0 and max(shares) == 1 and len(shares) > 50


def test_scores_grow_concept_by_concept_and_a_control_is_only_there_when_it_is_whole(subject, atlas) -> None:
    final = ec.necessity(subject, atlas, concepts=NAMES, controls=2)
    sizes = set()
    for step in loss(subject, atlas, Recent()):
        if step.partial.edited:
            table = step.partial.table()
            rows = final[: len(table)]
            pd.testing.assert_frame_equal(table, rows[list(table.columns)], atol=1e-12)
            sizes.add(table.shape)
    assert len({rows for rows, _ in sizes}) == 2 and len({columns for _, columns in sizes}) >= 2


def test_a_view_is_made_in_a_step_that_says_it_is_long(subject, atlas) -> None:
    scorer = Scorer(subject, atlas, parts=one_by_one)
    steps = list(scorer.edit(ec.Edit.of(atlas, erase="3"), NAMES))
    assert [step.long for step in steps] == [True, False, False]
    assert [sorted(step.partial.score) for step in steps] == [[], [], ["2"]]
    assert list(scorer.edit(ec.Edit.of(atlas, erase="3"), NAMES)) == []


def test_a_recording_in_steps_is_that_recording_and_shares_nothing_between_two(subject) -> None:
    whole = ec.record(subject.model, subject.concepts, batch_size=7)
    steps = record_steps(subject.model, subject.concepts, batch_size=7)
    first = next(steps)
    assert first.done == 0 and first.long
    assert torch.is_grad_enabled()
    rest = drain(steps)
    for mine, theirs in zip(rest.sources, whole.sources, strict=True):
        for name in whole.concepts:
            assert torch.equal(mine.statistics_of(name).rows(), theirs.statistics_of(name).rows())


def test_the_inputs_of_a_map_come_in_steps(subject, atlas) -> None:
    inputs = ec.draw_inputs(subject, per_concept=3)
    meter = TraceMeter(atlas)
    whole = ec.trace_strengths(subject.model, atlas, inputs)
    for step in (steps := list(trace_strengths_steps(subject.model, meter, inputs, at_once=8))):
        assert len(step.partial.values) == step.done == len(step.partial.inputs)
        np.testing.assert_allclose(step.partial.values, whole.values[: int(step.done)], rtol=1e-3)
    assert [step.done for step in steps] == [0, 8, 16, 24, 30]
    points = drain(points_steps(subject, subject.model, inputs, meter, at_once=8))
    np.testing.assert_allclose(points.features, whole.matrix, rtol=1e-3)
    np.testing.assert_allclose(points.specificity, whole.specificity, rtol=1e-3, atol=1e-5)
    assert points.answers == subject.task.answers(subject.model, inputs.singles())
    layer = atlas.layers[-1]
    states = drain(points_steps(subject, subject.model, inputs, (atlas, layer), at_once=8))
    np.testing.assert_allclose(
        states.features, ec.hidden_states(subject.model, atlas, inputs, layer).matrix, rtol=1e-5, atol=1e-6
    )
    assert np.isnan(states.specificity).all() and states.answers == points.answers
