"""What layers read is heard once per distinct tensor, at every call, in whatever form it is passed."""

import pytest
import torch
from helpers import relative
from recorded import LINEAR, Block, moment, one_sided, rows_of
from torch import Tensor, nn

import engram_core as ec


def test_readers_of_one_tensor_share_one_source() -> None:
    recording = ec.record(Block(), LINEAR, batch_size=10)
    assert recording.source_of == {"q": 0, "k": 0, "v": 0}
    assert len(recording.sources) == 1


def test_a_tensor_changed_in_place_between_two_readers_is_recorded_for_each() -> None:
    recording = ec.record(Block("in place"), LINEAR, batch_size=10)
    assert recording.source_of["q"] == recording.source_of["k"] != recording.source_of["v"]
    for name, x in LINEAR.items():
        assert relative(moment(recording, "k", name), rows_of(x)) < 1e-6
        assert relative(moment(recording, "v", name), rows_of(2 * x)) < 1e-6


@pytest.mark.parametrize("batches", [(10, 13, 7), (13, 10, 7), (10, 7, 13)], ids=str)
def test_layers_that_share_in_some_batches_only_are_each_right(batches: tuple[int, ...]) -> None:
    parts = {name: list(x[:30].split(batches)) for name, x in LINEAR.items()}
    recording = ec.record(Block("in place in some batches"), parts)
    for name in LINEAR:
        assert relative(moment(recording, "q", name), rows_of(torch.cat(parts[name]))) < 1e-6
        read = torch.cat([x * (2 if len(x) == 13 else 1) for x in parts[name]])
        assert relative(moment(recording, "v", name), rows_of(read)) < 1e-6


def test_an_equal_copy_may_be_stored_twice_but_is_right() -> None:
    recording = ec.record(Block("a copy"), LINEAR)
    assert relative(moment(recording, "v", "b"), rows_of(LINEAR["b"])) < 1e-6


class Twice(nn.Module):
    """Calls one layer twice; a second reader joins in the first call, or the second, or both."""

    def __init__(self, joins: str) -> None:
        super().__init__()
        self.fc, self.other = nn.Linear(6, 6), nn.Linear(6, 6)
        self.joins = joins

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc(x)
        if self.joins in ("first", "both"):
            h = h + self.other(x)
        y = torch.relu(h)
        out = self.fc(y)
        return out + self.other(y) if self.joins in ("second", "both") else out


@pytest.mark.parametrize("joins", ["never", "first", "second", "both"])
@pytest.mark.parametrize("batch_size", [11, 256])
def test_a_layer_called_twice_in_one_pass_counts_both_calls(joins: str, batch_size: int) -> None:
    model = Twice(joins)
    recording = ec.record(model, LINEAR, batch_size=batch_size)
    for name, x in LINEAR.items():
        with torch.no_grad():
            h = model.fc(x) + (model.other(x) if joins in ("first", "both") else 0)
        y = torch.relu(h)
        assert recording.rows("fc", name) == 2 * len(x)
        assert relative(moment(recording, "fc", name), rows_of(torch.cat([x, y]))) < 1e-5
        read = {"never": [], "first": [x], "second": [y], "both": [x, y]}[joins]
        if read:
            assert relative(moment(recording, "other", name), rows_of(torch.cat(read))) < 1e-5


class Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(input=x)


def test_a_layer_called_with_keywords_is_recorded() -> None:
    assert relative(moment(ec.record(Keyword(), LINEAR), "fc", "a"), rows_of(LINEAR["a"])) < 1e-6


def test_a_conditional_layer_has_the_rows_that_reached_it() -> None:
    model, concepts = one_sided()
    recording = ec.record(model, concepts, batch_size=8)
    assert recording.rows("high", "high") == len(concepts["high"])
    assert recording.rows("high", "low") == recording.rows("low", "high") == 0
    atlas = ec.extract(model, recording)
    assert atlas["low"].norm("high") == 0.0
    assert atlas.locate(recording)["high"].norm("high") == pytest.approx(atlas["high"].norm("high"), rel=1e-4)
    never = next(info for info in recording.layers if info.name == "never")
    assert not never.covered and "never called" in never.reason and "never" not in recording.source_of
