"""Padding is no row: a batch's own attention mask says what counts, on whichever side it pads."""

from __future__ import annotations

import pytest
import torch
from helpers import relative
from language_helpers import byte_tokenizer, little_texts, tiny
from torch import nn

import engram_core as ec
from engram_core.errors import DataError
from engram_core.language import LanguageConcepts

TEXTS = {"sky": ["The sky is blue", "Sky"], "grass": ["Grass", "A lawn is green"], "sea": ["Salt!"]}
TOKENS = {name: sum(map(len, texts)) for name, texts in TEXTS.items()}


def ids_of(text: str) -> torch.Tensor:
    return torch.tensor(byte_tokenizer()(text)["input_ids"])


def padded(texts: list[str], side: str, **kind) -> dict[str, torch.Tensor]:
    longest = max(map(len, texts)) + 2
    shape = (len(texts), longest)
    batch = {
        "input_ids": torch.zeros(shape, dtype=torch.long),
        "attention_mask": torch.zeros(shape, **{"dtype": torch.long, **kind}),
    }
    for row, text in enumerate(texts):
        place = slice(0, len(text)) if side == "right" else slice(longest - len(text), longest)
        batch["input_ids"][row, place] = ids_of(text)
        batch["attention_mask"][row, place] = 1
    return batch


def unpadded() -> dict[str, list[dict[str, torch.Tensor]]]:
    return {name: [{"input_ids": ids_of(text)[None]} for text in texts] for name, texts in TEXTS.items()}


def assert_same_engrams(found: ec.Atlas, expected: ec.Atlas) -> None:
    assert found.layers == expected.layers
    for layer in expected.layers:
        for name in expected:
            assert relative(found[name].matrix(layer), expected[name].matrix(layer)) < 1e-3, (layer, name)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("mix", [False, True])
@pytest.mark.parametrize("kind", [torch.long, torch.bool, torch.float32])
def test_padded_batches_give_the_engrams_of_single_texts(side: str, mix: bool, kind: torch.dtype) -> None:
    model = tiny("llama")  # its positions are relative, so that left padding moves nothing
    batches = {name: padded(texts, side, dtype=kind) for name, texts in TEXTS.items()}
    recording = ec.record(model, batches, mix=mix)
    for layer in recording.source_of:
        assert {name: recording.rows(layer, name) for name in TEXTS} == TOKENS
    expected = ec.extract(model, ec.record(model, unpadded()))
    assert_same_engrams(ec.extract(model, recording), expected)
    # The test would notice padding: counted, it makes other engrams.
    counted = ec.record(model, batches, masks=dict.fromkeys(TEXTS))
    assert counted.rows(expected.layers[0], "sky") == 2 * (len("The sky is blue") + 2)
    wrong = ec.extract(model, counted)["sky"].matrix(expected.layers[0])
    assert relative(wrong, expected["sky"].matrix(expected.layers[0])) > 1e-2


@pytest.mark.parametrize("family", ["gpt2", "mixtral"])
def test_a_list_of_batches_and_the_background_too(family: str) -> None:
    model = tiny(family)
    parts = ec.ConceptSet(
        [ec.Concept(name, [padded([text], "right") for text in texts]) for name, texts in TEXTS.items()],
        background=padded(["Rain.", "Rain fell."], "right"),
    )
    recording = ec.record(model, parts, batch_size=1)
    layer = next(name for name in recording.source_of if "expert" not in name)
    assert {name: recording.rows(layer, name) for name in TEXTS} == TOKENS
    assert recording.rows(layer, ec.BACKGROUND) == len("Rain.") + len("Rain fell.")
    plain = ec.ConceptSet(
        [ec.Concept(name, batches) for name, batches in unpadded().items()],
        background=[{"input_ids": ids_of(text)[None]} for text in ("Rain.", "Rain fell.")],
    )
    assert_same_engrams(ec.extract(model, recording), ec.extract(model, ec.record(model, plain)))


def test_a_mask_that_is_given_is_the_mask() -> None:
    model, batch = tiny("llama"), padded(TEXTS["sky"], "right")
    mine = torch.zeros_like(batch["attention_mask"])
    mine[:, 1] = 1
    recording = ec.record(model, {"sky": batch, "sea": padded(TEXTS["sea"], "left")}, masks={"sky": mine})
    layer = next(iter(recording.source_of))
    assert (recording.rows(layer, "sky"), recording.rows(layer, "sea")) == (2, TOKENS["sea"])


def test_a_mask_for_other_positions_is_not_taken_for_one() -> None:
    class Pair(nn.Module):
        """Reads pictures, and an argument of that name with another meaning."""

        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(3, 2)

        def forward(self, x, attention_mask=None):
            return self.map(x)

    x = torch.rand(4, 5, 3)
    for mask in (torch.zeros(4, 6), torch.zeros(4, 1, 5, 5), torch.full((4, 5), -1e9)):
        recording = ec.record(Pair(), {"a": {"x": x, "attention_mask": mask}, "b": x})
        assert recording.rows("map", "a") == 20
    half = torch.ones(4, 5)
    half[:, :2] = 0
    assert ec.record(Pair(), {"a": {"x": x, "attention_mask": half}, "b": x}).rows("map", "a") == 12


def test_a_layer_with_other_positions_says_how_to_count_everything() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x, attention_mask=None):
            return self.last(self.first(x)[:, ::2])

    batch = {"x": torch.rand(4, 5, 3), "attention_mask": torch.tensor([[1, 1, 1, 1, 0]] * 4)}
    with pytest.raises(DataError, match=r"masks=\{name: None\}"):
        ec.record(Pooled(), {"a": batch})
    assert ec.record(Pooled(), {"a": batch}, masks={"a": None}).rows("last", "a") == 12


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_side_on_which_a_tokenizer_pads_changes_nothing(family: str) -> None:
    model, recordings = tiny(family), []
    for side in ("right", "left"):
        tokenizer = byte_tokenizer(ends=True)
        tokenizer.padding_side, tokenizer.pad_token = side, "</s>"
        recordings.append(ec.record(model, LanguageConcepts(tokenizer, little_texts())))
    right, left = (ec.extract(model, r) for r in recordings)
    assert recordings[0].rows(right.layers[0], "sky") == recordings[1].rows(right.layers[0], "sky")
    assert_same_engrams(left, right)
