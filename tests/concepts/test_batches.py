"""Inputs become batches: every form of them says the same, joined with those of others or not."""

import pytest
import torch
from helpers import relative
from recorded import LINEAR, moment, rows_of
from torch import Tensor, nn

import engram_core as ec


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor, shift: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        return self.fc(x * scale + (0 if shift is None else shift))


@pytest.mark.parametrize("mix", [False, True])
def test_every_form_of_input_says_the_same(mix: bool) -> None:
    x, shift = LINEAR["b"], torch.randn(50, 6)
    forms = {
        "tensor": x + shift,
        "array": (x + shift).numpy(),
        "tuple": (x, shift),
        "mapping": {"x": x, "shift": shift, "scale": 1.0},
        "batches": list((x + shift).split(13)),
        "one-shot": (
            {"x": part, "shift": move} for part, move in zip(x.split(9), shift.split(9), strict=True)
        ),
        "tuples": [(part, move) for part, move in zip(x.split(9), shift.split(9), strict=True)],
    }
    recording = ec.record(TwoInputs(), forms, batch_size=20, mix=mix)
    for name in forms:
        assert recording.counts[name] == 50
        assert relative(moment(recording, "fc", name), rows_of(x + shift)) < 1e-6, name
