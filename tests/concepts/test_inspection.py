"""What concepts hold is counted before anything is recorded, and what cannot be counted is told by name."""

from __future__ import annotations

import torch
from torch import nn

import engram_core as ec
from engram_core.concepts.concepts import BACKGROUND
from engram_core.concepts.inspection import few_inputs, inspect_concepts

MODEL = nn.Linear(4, 3)


def test_inputs_are_counted_by_concept_recorded_and_held_out() -> None:
    concepts = ec.ConceptSet(
        [ec.Concept("a", torch.randn(5, 4), torch.randn(2, 4)), ec.Concept("b", [torch.randn(3, 4)] * 2)],
        background=torch.randn(7, 4),
    )
    found = inspect_concepts(MODEL, concepts)
    assert found.inputs == found.rows == {"a": 5, "b": 6, BACKGROUND: 7}
    assert found.held_out == {"a": 2, "b": 0, BACKGROUND: 0} and not found.problems


def test_every_problem_is_told_at_once_and_each_names_its_concept() -> None:
    concepts = ec.ConceptSet(
        [
            ec.Concept("once", iter([torch.randn(3, 4)])),
            ec.Concept("none", torch.zeros(0, 4)),
            ec.Concept("words", ["a", "b"]),
            ec.Concept("fine", torch.randn(3, 4)),
        ]
    )
    found = inspect_concepts(MODEL, concepts)
    assert found.inputs["fine"] == 3 and found.inputs["none"] == found.inputs["words"] == 0
    said = "\n".join(found.problems)
    assert "Concept 'once': its inputs can be read only once" in said
    for name in ("none", "words"):
        assert f"'{name}'" in said
    assert "'fine'" not in said


def test_a_few_inputs_are_of_the_concepts_and_no_more_than_asked_for() -> None:
    concepts = ec.ConceptSet([ec.Concept(name, torch.randn(50, 4)) for name in "abc"])
    drawn, count = few_inputs(MODEL, concepts, 6)
    assert count == 6 and set(drawn) == set("abc")
    assert ec.record(MODEL, drawn).counts == {"a": 2, "b": 2, "c": 2}
