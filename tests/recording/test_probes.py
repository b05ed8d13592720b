"""Inputs that several layers read are held while one of them may still come, and in bounded number."""

import pytest
import torch
from helpers import relative
from recorded import LINEAR, moment, rows_of
from torch import Tensor, nn

import engram_core as ec
from engram_core.recording.listener import Listener


class ManyReaders(nn.Module):
    """More distinct inputs in one pass than the recorder keeps in mind, each read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Linear(6, 6) for _ in range(40))
        self.second = nn.ModuleList(nn.Linear(6, 6) for _ in range(40))

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.first, self.second, strict=True):
            x = torch.tanh(first(x)) + torch.tanh(second(x))
        return x


def test_a_deep_model_with_many_distinct_inputs_is_right() -> None:
    model = ManyReaders()
    recording = ec.record(model, LINEAR, batch_size=9)
    assert len(recording.sources) == 40
    read: list[Tensor] = []
    for first in model.first:
        first.register_forward_pre_hook(lambda _m, args: read.append(args[0].detach()))
    model(LINEAR["a"])
    for i in range(40):
        assert relative(moment(recording, f"first.{i}", "a"), rows_of(read[i])) < 1e-5
        assert relative(moment(recording, f"second.{i}", "a"), rows_of(read[i])) < 1e-5


@pytest.mark.parametrize("room", [0, 1 << 20])
def test_few_inputs_are_held_where_they_are_large(monkeypatch, room: int) -> None:
    """What is held while looking for another reader comes on top of all that is kept."""
    monkeypatch.setattr("engram_core.recording.listener._RECENT_BYTES", room)
    most, find = [0], Listener._open

    def count(listener: Listener, *rest) -> object:
        opened = find(listener, *rest)
        most[0] = max(most[0], sum(s is opened or bool(s.buffered) for s in listener.streams))
        return opened

    monkeypatch.setattr(Listener, "_open", count)
    recording = ec.record(ManyReaders(), LINEAR, batch_size=9)
    assert len(recording.sources) == 40  # both readers of each were found
    assert most[0] == (4 if room == 0 else 16)
