"""Masks say which inputs of a concept count, or which of their positions."""

import pytest
import torch
from helpers import relative
from recorded import LINEAR, moment, rows_of
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import DataError, UnknownNameError


def test_a_mask_over_inputs_chooses_inputs() -> None:
    keep = torch.arange(50) % 3 == 0
    recording = ec.record(nn.Linear(6, 3), LINEAR, masks={"b": keep}, batch_size=8)
    assert relative(moment(recording, "Linear", "b"), rows_of(LINEAR["b"][keep])) < 1e-6
    assert relative(moment(recording, "Linear", "a"), rows_of(LINEAR["a"])) < 1e-6


@pytest.mark.parametrize("mix", [False, True])
def test_a_mask_over_positions_chooses_positions(digits_attention, mix: bool) -> None:
    model, concepts = digits_attention.model, {n: x[:9] for n, x in digits_attention.concepts.items()}
    masks = {name: torch.rand(9, 8) < 0.5 for name in concepts}
    everything = ec.record(model, {n: x[i : i + 1] for n, x in concepts.items() for i in [0]})
    recording = ec.record(model, concepts, masks=masks, mix=mix, batch_size=16)
    assert set(recording.source_of) == set(everything.source_of)
    for name in concepts:
        rows = concepts[name].reshape(9, 8, 8)[masks[name]]
        assert relative(moment(recording, "embed", name), rows_of(rows)) < 1e-6
        for layer in ("encoder.layers.0.self_attn.q_proj", "encoder.layers.1.linear2"):
            assert recording.rows(layer, name) == int(masks[name].sum())
        assert recording.rows("head", name) == int(masks[name].any(1).sum())  # pooled before this layer


def test_masks_given_batch_by_batch_fit_batches_given_one_by_one() -> None:
    parts = list(LINEAR["b"].split(9))
    masks = [torch.rand(len(part)) < 0.5 for part in parts]
    recording = ec.record(nn.Linear(6, 3), {"b": iter(parts)}, masks={"b": iter(masks)})
    assert relative(moment(recording, "Linear", "b"), rows_of(LINEAR["b"][torch.cat(masks)])) < 1e-6


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(49), "shape"), (torch.ones(51), "longer|shape"), (torch.zeros(50), "leaves nothing"),
        (torch.ones(50, 2, 2), "shape"),
    ],
)  # fmt: skip
def test_a_mask_that_does_not_fit_is_refused(mask: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ec.record(nn.Linear(6, 3), LINEAR, masks={"b": mask})


def test_a_mask_one_position_too_long_is_refused_and_not_taken_for_whole_inputs() -> None:
    with pytest.raises(DataError, match="cannot be matched"):
        ec.record(nn.Linear(6, 3), {"a": torch.randn(5, 4, 6)}, masks={"a": torch.ones(5, 5)})


def test_a_mask_for_an_unknown_concept_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean"):
        ec.record(nn.Linear(6, 3), {"seven": LINEAR["a"]}, masks={"sevn": torch.ones(30)})
