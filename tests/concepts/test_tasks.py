"""How the outputs of a model are read as the answers of its concepts."""

import copy

import pytest
import torch
from helpers import Case, subject_of

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.tasks import Scores, Subject, logits_of
from engram_core.errors import DataError, UnknownNameError


def test_a_concept_that_is_no_class_is_refused(digits: Case) -> None:
    subject = subject_of(digits)
    with pytest.raises(UnknownNameError, match="Unknown class '9'"):
        Subject(subject.model, subject.concepts, Classification(tuple("012345678x")))


def test_what_a_task_takes_for_an_answer_is_the_class_of_the_highest_output(digits: Case) -> None:
    subject = subject_of(digits)
    few = ec.ConceptSet(ec.Concept(n, c.record[:1], c.probe[:1]) for n, c in subject.concepts.items())
    with torch.no_grad():
        expected = [subject.model(c.record).argmax().item() for c in few.values()]
    assert subject.task.answers(subject.model, few) == tuple(subject.task.classes[i] for i in expected)
    chances = subject.task.probabilities(subject.model, few["3"].record)
    assert chances.sum().item() == pytest.approx(1.0) and chances.shape == (1, 10)


def test_inputs_of_several_forms_are_answered_one_by_one(digits: Case) -> None:
    subject = subject_of(digits)
    first, second = subject.concepts["3"].record[:1], subject.concepts["8"].record[:1]
    plain = subject.task.answers(
        subject.model, ec.ConceptSet([ec.Concept("a", first), ec.Concept("b", second)])
    )
    mixed = ec.ConceptSet([ec.Concept("a", first), ec.Concept("b", [second])])
    assert subject.task.answers(subject.model, mixed) == plain


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


@pytest.mark.parametrize(
    ("output", "said"),
    [("text", "str"), (None, "NoneType"), ({"loss": 1}, "dict"), (torch.zeros(4), r"\(4,\)"), ((), "tuple")],
)
def test_an_output_without_class_scores_is_named(output, said: str) -> None:
    with pytest.raises(DataError, match=f"shape .inputs, classes.; the model returned {said}"):
        logits_of(output)


def test_class_scores_are_found_in_whatever_holds_them() -> None:
    logits = torch.randn(2, 3)
    holder = type("Output", (), {"logits": logits})()
    assert logits_of(logits) is logits and logits_of(holder) is logits
