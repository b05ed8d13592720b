"""Convolutions of every kind: rows, matrix, and the edited view against a copy edited by hand."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import engram_by_hand, homogeneous, relative
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import DataError
from engram_core.models.layers import find_linear_maps as find_slots
from engram_core.models.layers import list_layers

FORWARD = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BACKWARD = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
SIZES = {1: (9,), 2: (6, 5), 3: (4, 5, 4)}

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
TRANSPOSED = [
    (1, {}),
    (1, dict(bias=False, stride=3, output_padding=2)),
    (1, dict(stride=2, padding=1, dilation=2, groups=2)),
    (2, dict(stride=2, padding=1, output_padding=1)),
    (2, dict(kernel_size=(2, 3), stride=(3, 1), bias=False, groups=2)),
    (2, dict(groups=4, out_channels=8, dilation=(2, 1))),
    (3, {}),
    (3, dict(stride=(2, 1, 2), padding=(1, 0, 1), output_padding=(1, 0, 0), groups=2)),
]


def layer_of(kinds: dict[int, type[nn.Module]], axes: int, options: dict) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kinds[axes](**({"in_channels": 4, "out_channels": 6, "kernel_size": 3} | options)).eval()


def inputs_of(axes: int, count: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, *SIZES[axes], generator=generator, dtype=dtype) + 0.3


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


def positions_by_hand(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The channels of every position, per group."""
    channels = x.movedim(1, -1).reshape(-1, x.shape[1])
    return list(channels.split(x.shape[1] // layer.groups, 1))


def edited_by_hand(layer: nn.Module, parts: dict[str, list[Tensor]], strength: float) -> nn.Module:
    """A copy whose weight lacks ``strength · W Σ_a Σ†``, group by group."""
    twin = copy.deepcopy(layer)
    transposed = layer.weight.shape[0] == layer.in_channels and type(layer) in BACKWARD.values()
    bias = layer.bias is not None and not transposed
    for group in range(layer.groups):
        rows = {name: homogeneous(part[group].double(), bias) for name, part in parts.items()}
        if transposed:
            size = layer.in_channels // layer.groups
            place = twin.weight.data[group * size : (group + 1) * size]
            matrix = place.flatten(1).mT
        else:
            size = layer.out_channels // layer.groups
            place = twin.weight.data[group * size : (group + 1) * size]
            matrix = place.flatten(1)
        if bias:
            column = twin.bias.data[group * size : (group + 1) * size]
            matrix = torch.cat([matrix, column[:, None]], 1)
        taken = strength * engram_by_hand(matrix, rows["a"], torch.cat(list(rows.values())))
        weight = taken[:, : place[0].numel() if not transposed else size].to(place.dtype)
        place -= (weight.mT if transposed else weight).reshape(place.shape)
        if bias:
            column -= taken[:, -1].to(column.dtype)
    return twin


def check(layer: nn.Module, axes: int, rows_of, *, few: bool, dtype: torch.dtype = torch.float32) -> None:
    layer = layer.to(dtype)
    counts = (1, 2) if few else (5, 6)
    data = {"a": inputs_of(axes, counts[0], 1, dtype), "b": inputs_of(axes, counts[1], 2, dtype)}
    model = nn.Sequential(layer)
    atlas = ec.extract(model, ec.record(model, data))
    twin = edited_by_hand(layer, {name: rows_of(layer, x) for name, x in data.items()}, 0.7)
    view = atlas.apply(erase={"a": 0.7})
    x = inputs_of(axes, 3, 3, dtype)
    with torch.no_grad():
        wanted, base = twin(x), layer(x)
        close = 1e-9 if dtype == torch.float64 else 1e-4
        assert relative(view(x), wanted) < close
        assert relative(view(x), base) > 1e-3
        assert relative(ec.bake(view)(x), view(x)) < 1e-6
        assert relative(view[0].weight, twin.weight) < close
        ec.live_edit(view).off()
        assert torch.equal(view(x), base)
    left, right = atlas["a"].factors("0")
    assert relative(left @ right, atlas["a"].matrix("0").squeeze(0)) < 1e-4
    assert atlas["a"].weight("0").shape == layer.weight.shape
    assert atlas["a"].norm("0") == pytest.approx(float(atlas["a"].matrix("0").norm()), rel=1e-4)


@pytest.mark.parametrize(("axes", "options"), CONVOLUTIONS, ids=str)
def test_a_convolution_reads_what_multiplies_its_weight(axes: int, options: dict) -> None:
    layer = layer_of(FORWARD, axes, options).double()
    x = inputs_of(axes, 2, 0, torch.float64)
    (slot,) = find_slots(layer)
    for found, expected in zip(slot.rows(x), patches_by_derivative(layer, x), strict=True):
        torch.testing.assert_close(found, expected)
    assert slot.positions(x) == (2, math.prod(layer(x).shape[2:]))
    torch.testing.assert_close(slot.rows(x[0]), slot.rows(x[:1]))


@pytest.mark.parametrize("few", [False, True], ids=["many rows", "few rows"])
@pytest.mark.parametrize(("axes", "options"), CONVOLUTIONS, ids=str)
def test_an_edited_convolution_is_its_copy_edited_by_hand(axes: int, options: dict, few: bool) -> None:
    check(layer_of(FORWARD, axes, options), axes, patches_by_derivative, few=few)


@pytest.mark.parametrize(("axes", "options"), TRANSPOSED, ids=str)
def test_the_stamps_of_a_transposed_convolution_sum_to_its_output(axes: int, options: dict) -> None:
    layer = layer_of(BACKWARD, axes, options).double()
    x = inputs_of(axes, 2, 0, torch.float64)
    (slot,) = find_slots(layer)
    assert not slot.bias and slot.positions(x) == (2, math.prod(x.shape[2:]))
    stamps = slot.rows(x) @ slot.matrix(layer).mT  # (groups, inputs · positions, outputs / groups)
    stamps = stamps.reshape(layer.groups, 2, -1, slot.outputs // layer.groups).permute(1, 0, 3, 2)
    stamps = stamps.reshape(2, slot.outputs, *x.shape[2:])
    taps = math.prod(layer.kernel_size)
    one_hot = torch.eye(slot.outputs // layer.out_channels, dtype=torch.float64)
    kernels = one_hot.reshape(taps, 1, *layer.kernel_size).repeat(layer.out_channels, *[1] * (axes + 1))
    name = f"conv_transpose{axes}d"
    found = getattr(F, name)(
        stamps, kernels, layer.bias, layer.stride, layer.padding, layer.output_padding, layer.out_channels,
        layer.dilation,
    )  # fmt: skip
    torch.testing.assert_close(found, layer(x))
    torch.testing.assert_close(slot.rows(x[0]), slot.rows(x[:1]))


@pytest.mark.parametrize("few", [False, True], ids=["many rows", "few rows"])
@pytest.mark.parametrize(("axes", "options"), TRANSPOSED, ids=str)
def test_an_edited_transposed_convolution_is_its_copy_edited_by_hand(
    axes: int, options: dict, few: bool
) -> None:
    check(layer_of(BACKWARD, axes, options), axes, positions_by_hand, few=few)


@pytest.mark.parametrize("kinds", [FORWARD, BACKWARD], ids=["convolution", "transposed"])
def test_float64_stays_float64(kinds: dict) -> None:
    rows_of = patches_by_derivative if kinds is FORWARD else positions_by_hand
    check(layer_of(kinds, 1, {"groups": 2}), 1, rows_of, few=False, dtype=torch.float64)


def test_a_transposed_convolution_keeps_its_bias() -> None:
    model = nn.Sequential(nn.ConvTranspose1d(4, 3, 2))
    atlas = ec.extract(model, ec.record(model, {"a": inputs_of(1, 4, 1), "b": inputs_of(1, 4, 2)}))
    assert atlas["a"].bias("0") is None
    kept = atlas.apply(keep=["a"])
    assert torch.equal(kept[0].bias, model[0].bias)
    assert not torch.equal(kept[0].weight, model[0].weight)


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
    (slot,) = find_slots(nn.Conv1d(4, 6, 3))
    with pytest.raises(DataError, match=r"reads inputs of shape \(inputs, 4, length\); found \(2, 5, 9\)"):
        slot.rows(torch.zeros(2, 5, 9))
    (slot,) = find_slots(nn.ConvTranspose2d(4, 6, 3))
    with pytest.raises(DataError, match=r"\(inputs, 4, height, width\); found \(5, 5\)"):
        slot.rows(torch.zeros(5, 5))


def test_a_convolution_of_another_kind_is_not_taken_for_one() -> None:
    class Standardised(nn.Conv1d):
        def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return super()._conv_forward(x, weight - weight.mean(), bias)

    (info,) = list_layers(nn.Sequential(Standardised(4, 6, 3)))
    assert not info.covered and "replaces the forward pass" in info.reason
