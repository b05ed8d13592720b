"""A task is anything that can measure; what it does not say is left empty."""

import copy

import pytest
from helpers import Case, subject_of

from engram_core.concepts.tasks import Scores, Subject


def test_a_task_of_another_s_making_scores_and_answers_nothing(digits: Case) -> None:
    """An object that can only measure is enough; what it does not say is left empty, never made up."""

    class Own:
        unit = "share of my own"
        more = 7

        def measure(self, model, concepts, probes=None):
            return Scores(dict.fromkeys(concepts if probes is None else probes, 0.5), {})

    subject = subject_of(digits)
    task = Subject(subject.model, subject.concepts, Own()).task  # type: ignore[arg-type]
    assert task.measure(subject.model, subject.concepts, ["3"]).score == {"3": 0.5}
    assert task.unit == "share of my own" and task.more == 7  # type: ignore[attr-defined]
    assert task.depends_on(subject.concepts) is None
    assert set(task.answers(subject.model, subject.concepts)) == {""}
    assert copy.copy(task).unit == task.unit
    with pytest.raises(AttributeError, match="no_such"):
        task.no_such  # type: ignore[attr-defined]  # noqa: B018
