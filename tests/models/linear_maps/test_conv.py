"""Convolutions of every kind: rows, matrix, and the edited view against a copy edited by hand."""

import math

import pytest
import torch
from convolutions import BACKWARD, check, inputs_of, layer_of, positions_by_hand
from helpers import homogeneous, relative
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import DataError
from engram_core.models.layers import find_linear_maps as find_slots
from engram_core.models.layers import list_layers

FORWARD = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}

CONVOLUTIONS = [
    (1, {}),
    (1, dict(bias=False, stride=2)),
    (1, dict(padding="same", kernel_size=4, dilation=2)),
    (1, dict(padding=2, padding_mode="circular", groups=2)),
    (1, dict(padding=2, padding_mode="reflect", dilation=2)),
    (1, dict(padding="same", padding_mode="replicate", kernel_size=2)),
    (1, dict(padding="valid", groups=4, out_channels=8, bias=False)),
    (2, dict(padding=(1, 2), stride=(2, 1), kernel_size=(3, 2))),
    (2, dict(padding="same", kernel_size=(2, 3), groups=2)),
    (3, {}),
    (3, dict(stride=(1, 2, 1), padding=(0, 1, 2), bias=False)),
    (3, dict(padding="same", kernel_size=(2, 3, 4), dilation=(1, 2, 1))),
    (3, dict(padding=1, padding_mode="circular", groups=2)),
    (3, dict(padding=(1, 0, 2), padding_mode="replicate")),
    (3, dict(padding=1, padding_mode="reflect", groups=4, out_channels=8)),
]


def patches_by_derivative(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """What multiplies the weight in every place: the derivative of the output by it, per group."""
    weight = layer.weight.detach()
    rest = {"bias": layer.bias.detach()} if layer.bias is not None else {}
    found = []
    for group in range(layer.groups):
        channel = group * (layer.out_channels // layer.groups)

        def answer(w: Tensor, channel: int = channel) -> Tensor:
            return torch.func.functional_call(layer, {"weight": w, **rest}, (x,))[:, channel].reshape(-1)

        slope = torch.autograd.functional.jacobian(answer, weight)  # (rows, out, in / groups, …)
        found.append(slope[:, channel].flatten(1))
    return found


@pytest.mark.parametrize(("axes", "options"), CONVOLUTIONS, ids=str)
def test_a_convolution_reads_what_multiplies_its_weight(axes: int, options: dict) -> None:
    layer = layer_of(FORWARD, axes, options).double()
    x = inputs_of(axes, 2, 0, torch.float64)
    (linear_map,) = find_slots(layer)
    for found, expected in zip(linear_map.rows(x), patches_by_derivative(layer, x), strict=True):
        torch.testing.assert_close(found, expected)
    assert linear_map.positions(x) == (2, math.prod(layer(x).shape[2:]))
    torch.testing.assert_close(linear_map.rows(x[0]), linear_map.rows(x[:1]))


@pytest.mark.parametrize("few", [False, True], ids=["many rows", "few rows"])
@pytest.mark.parametrize(("axes", "options"), CONVOLUTIONS, ids=str)
def test_an_edited_convolution_is_its_copy_edited_by_hand(axes: int, options: dict, few: bool) -> None:
    check(layer_of(FORWARD, axes, options), axes, patches_by_derivative, few=few)


@pytest.mark.parametrize("kinds", [FORWARD, BACKWARD], ids=["convolution", "transposed"])
def test_float64_stays_float64(kinds: dict) -> None:
    rows_of = patches_by_derivative if kinds is FORWARD else positions_by_hand
    check(layer_of(kinds, 1, {"groups": 2}), 1, rows_of, few=False, dtype=torch.float64)


def test_layers_of_every_dimension_work_together_in_tables_and_mixed_batches() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv1d(4, 6, 3, padding="same"), nn.Tanh(), nn.Conv1d(6, 6, 3, stride=2, groups=3), nn.Tanh(),
            nn.ConvTranspose1d(6, 4, 3, stride=2), nn.Flatten(), nn.Linear(36, 3),
        ).eval()  # fmt: skip
    data = {name: inputs_of(1, count, seed) for seed, (name, count) in enumerate({"a": 7, "b": 9}.items())}
    plain, mixed = ec.record(model, data), ec.record(model, data, mix=True, batch_size=5)
    atlas, other = ec.extract(model, plain), ec.extract(model, mixed)
    assert atlas.layers == ["0", "2", "4", "6"]
    assert [plain.rows(layer, "a") for layer in atlas.layers] == [63, 28, 28, 7]
    for layer in atlas.layers:
        assert relative(other["a"].weight(layer), atlas["a"].weight(layer)) < 1e-6
    table = ec.layer_table(atlas)
    assert table["error"].between(-1e-9, 1).all() and (table["norm"] > 0).all()
    assert set(ec.exclusivity_table(atlas).query("layer == '2'")["group"]) == {0, 1, 2}
    total = atlas["a"] + atlas["b"]
    for layer in ("0", "4"):  # enough rows for every direction: the parts sum to the weight
        assert relative(total.matrix(layer), atlas.matrix(layer)) < 1e-3


def test_a_mask_over_positions_counts_those_of_a_padded_sequence() -> None:
    """Causal convolutions pad on both sides and drop the tail: the tail is nobody's."""

    class Causal(nn.Module):
        def __init__(self, padding: int, stride: int = 1) -> None:
            super().__init__()
            self.conv = nn.Conv1d(4, 6, 3, padding=padding, stride=stride)
            self.head = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:  # (inputs, positions, channels)
            return self.head(self.conv(x.mT)[..., : x.shape[1]].mT)

    data = {"a": inputs_of(1, 3, 1).mT, "b": inputs_of(1, 2, 2).mT}
    masks = {name: torch.arange(9).expand(len(x), 9) < 5 for name, x in data.items()}
    for padding in (2, 1):
        found = ec.record(Causal(padding), data, masks=masks)
        assert found.rows("conv", "a") == found.rows("head", "a") == 15
    causal = Causal(2)
    rows = find_slots(causal)[0].rows(data["a"].mT)[0].reshape(3, 11, 12)[:, :5].reshape(-1, 12)
    kept = ec.record(causal, data, masks=masks)
    moment = homogeneous(rows.double(), True)
    spectrum = ec.extract(causal, kept).trace("conv", "a").moment[0]
    assert relative(spectrum, moment.mT @ moment) < 1e-6
    with pytest.raises(DataError, match=r"Layer 'conv' has rows indexed by \(3, 4\)"):
        ec.record(Causal(0, stride=2), data, masks=masks)


def test_a_wrong_shape_is_named() -> None:
    (linear_map,) = find_slots(nn.Conv1d(4, 6, 3))
    with pytest.raises(DataError, match=r"reads inputs of shape \(inputs, 4, length\); found \(2, 5, 9\)"):
        linear_map.rows(torch.zeros(2, 5, 9))
    (linear_map,) = find_slots(nn.ConvTranspose2d(4, 6, 3))
    with pytest.raises(DataError, match=r"\(inputs, 4, height, width\); found \(5, 5\)"):
        linear_map.rows(torch.zeros(5, 5))


def test_a_convolution_of_another_kind_is_not_taken_for_one() -> None:
    class Standardised(nn.Conv1d):
        def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return super()._conv_forward(x, weight - weight.mean(), bias)

    (info,) = list_layers(nn.Sequential(Standardised(4, 6, 3)))
    assert not info.covered and "replaces the forward pass" in info.reason
