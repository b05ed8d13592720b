"""How the outputs of a classifier are read as the answers of its concepts."""

from types import SimpleNamespace

import pytest
import torch
from helpers import Case, subject_of
from torch import Tensor, nn

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.tasks import Subject
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


class Returns(nn.Module):
    """Returns what it was made to, whatever it reads."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> object:
        return self.output


@pytest.mark.parametrize(
    ("output", "said"),
    [("text", "str"), (None, "NoneType"), ({"loss": 1}, "dict"), (torch.zeros(4), r"\(4,\)"), ((), "tuple")],
)
def test_an_output_without_class_scores_is_named(output, said: str) -> None:
    with pytest.raises(DataError, match=f"shape .inputs, classes.; the model returned {said}"):
        Classification(("a", "b")).logits(Returns(output), torch.zeros(2, 4))


def test_class_scores_are_found_bare_and_in_what_holds_them() -> None:
    scores = torch.randn(2, 3)
    for output in (scores, SimpleNamespace(logits=scores)):
        assert torch.equal(Classification(("a", "b", "c")).logits(Returns(output), torch.zeros(2, 4)), scores)
