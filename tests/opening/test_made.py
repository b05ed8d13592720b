"""Any module with any inputs becomes a sample: named, held out, and scored; or it is said what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import engram_core as ec
from engram_core.errors import DataError
from engram_core.opening.made import sample_of


def rows(count: int = 40, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(size=(count, width)), np.arange(count) % 2


def test_data_with_labels_are_divided_by_class_and_every_input_is_used_once() -> None:
    data, labels = rows()
    model = nn.Linear(3, 2)
    sample = sample_of(model, data, labels, names=["even", "odd"], held_out=0.25)
    assert sample.model is model
    assert list(sample.concepts) == ["even", "odd"] == list(sample.task.classes)
    parts = [part for each in sample.concepts.values() for part in (each.record, each.probe)]
    assert [len(part) for part in parts] == [15, 5, 15, 5]
    found = torch.cat(parts).sort(0).values
    assert torch.equal(found, torch.from_numpy(data.astype(np.float32)).sort(0).values)


def test_a_table_names_its_features_and_labels_may_be_names() -> None:
    data, labels = rows()
    table = pd.DataFrame(data, columns=["age", "height", "income"])
    words = pd.Series(np.array(["no", "yes"])[labels])
    sample = sample_of(nn.Linear(3, 2), table, words, names=["no", "yes"])
    assert sample.features is not None and sample.features.names == ("age", "height", "income")
    assert list(sample.concepts) == ["no", "yes"]


def test_numbers_of_outputs_are_names_where_nobody_gives_any() -> None:
    sample = sample_of(nn.Linear(3, 4), *rows())
    assert sample.task.classes == ("0", "1", "2", "3") and list(sample.concepts) == ["0", "1"]


def test_a_mapping_is_enough_where_every_output_is_a_concept() -> None:
    concepts = {"a": torch.rand(8, 3), "b": np.random.rand(8, 3).astype(np.float32)}
    sample = sample_of(nn.Linear(3, 2), concepts)
    assert sample.task.classes == ("a", "b")
    assert [len(sample.concepts[name].probe) for name in "ab"] == [2, 2]
    assert sample.name == "Linear" and sample.features.names == ("feature 1", "feature 2", "feature 3")


def test_what_is_held_out_already_stays_so() -> None:
    mine = ec.Concept("a", torch.zeros(2, 3), torch.ones(5, 3))
    sample = sample_of(nn.Linear(3, 1), ec.ConceptSet([mine]))
    assert torch.equal(sample.concepts["a"].record, mine.record)
    assert torch.equal(sample.concepts["a"].probe, mine.probe)


class TwoInputs(nn.Module):
    """Reads a mapping of two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return self.layer(first + second)


def test_mappings_of_tensors_and_lists_of_batches_are_sets_of_single_inputs() -> None:
    given = {"first": torch.rand(8, 3), "second": torch.rand(8, 3)}
    sample = sample_of(TwoInputs(), {"a": given, "b": dict(given)})
    assert sample.features is None and sample.image_shape is None
    assert sample.concepts["a"].probe["first"].shape == (2, 3)
    batches = [torch.rand(4, 3), torch.rand(4, 3)]
    assert len(sample_of(nn.Linear(3, 1), {"a": batches}).concepts["a"].record) == 6


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_shown_as_such(channels: int) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * 16, 2))
    pictures = {"a": torch.rand(8, channels, 4, 4) * 2 - 1, "b": torch.rand(8, channels, 4, 4)}
    sample = sample_of(model, pictures)
    assert sample.image_shape == (4, 4) and sample.features is None
    assert -1 <= sample.value_range[0] < -0.5 and 0.5 < sample.value_range[1] <= 1


def test_texts_in_memory_are_asked_as_those_of_a_file() -> None:
    known = ec.load_sample("facts-lm")
    names = list(known.concepts)[:3]
    texts = known.concepts.subset(names).texts
    sample = sample_of(known.model, texts, tokenizer=known.task.tokenizer, name="facts")
    assert sample.task.reads_text and list(sample.concepts) == names
    assert (
        sample.task.measure(known.model, sample.concepts).score
        == known.task.measure(known.model, known.concepts, names).score
    )


def test_a_subject_is_taken_as_it_is() -> None:
    known = ec.load_sample("digits-mlp")
    assert sample_of(known).name == "digits-mlp (in memory)" and sample_of(known).image_shape == (8, 8)
    plain = ec.Subject(known.model, known.concepts, known.task)
    assert sample_of(plain, name="mine").title == "mine"


class Counts:
    """A task of one's own: no classes."""

    unit = "share of positive sums"

    def measure(self, model, concepts, probes=None):
        names = list(probes or concepts)
        score = {name: float((model(concepts[name].probe).sum(-1) > 0).float().mean()) for name in names}
        return ec.Scores(score, {name: {name: score[name]} for name in names})


def test_a_task_of_one_s_own_needs_no_classes() -> None:
    sample = sample_of(nn.Linear(3, 1), {"a": torch.rand(8, 3), "b": torch.rand(8, 3)}, task=Counts())
    assert sample.task.unit == "share of positive sums"
    assert set(sample.task.measure(sample.model, sample.concepts).score) == {"a", "b"}


DATA, LABELS = rows()


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (("a model", {}), {}, r"must be a torch module .* found str"),
        ((nn.Linear(3, 2), None), {}, "Give concepts"),
        ((nn.Linear(3, 2), DATA, LABELS[:5]), {}, "40 inputs and 5 labels"),
        ((nn.Linear(3, 2), DATA, ["x"] * 40), {}, r"names=\[…\] in the order of the outputs. Found: 'x'"),
        ((nn.Linear(3, 2), DATA, ["x"] * 40), {"names": ["a", "b"]}, "not in names: 'x'; names are 'a', 'b'"),
        ((nn.Linear(3, 2), DATA, LABELS + 5), {}, "Labels run from 5 to 6, and outputs from 0 to 1"),
        ((nn.Linear(3, 2), DATA, LABELS / 2), {}, "whole number of an output"),
        ((nn.Linear(3, 2), DATA, LABELS), {"features": ["a"]}, "3 numbers, and features names 1"),
        ((nn.Linear(3, 2), DATA, LABELS), {"held_out": 2}, "share between 0 and 1; found 2"),
        ((nn.Linear(3, 2), [["x"]], [0]), {}, "must be numbers, one input in each row"),
        ((nn.Linear(3, 2), {"a": torch.rand(8, 3)}), {}, "2 outputs and there are 1 concepts: give names"),
        ((nn.Linear(3, 2), {"a": torch.rand(8, 3)}), {"names": ["a"]}, "2 outputs; names has 1"),
        ((nn.Linear(3, 2), {"a": torch.rand(1, 3), "b": torch.rand(8, 3)}), {}, "'a' has 1 input: at least"),
        ((nn.Linear(3, 2), {"a": "text", "b": "text"}), {}, "one tensor, one tuple or mapping .* found str"),
        ((nn.Linear(3, 2), DATA[:2], LABELS[:2]), {}, "'0' has 1 inputs, too few"),
        ((nn.Flatten(0), {"a": torch.rand(8, 3)}), {}, "Expected class scores .* give task"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(given, options, said: str) -> None:
    with pytest.raises(DataError, match=said):
        sample_of(*given, **options)
