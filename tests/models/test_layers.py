"""Which layers hold memory, which rows each reads, and its matrix there and back."""

import pytest
import torch
import torch.nn.functional as F
from helpers import relative
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from transformers.pytorch_utils import Conv1D

from engram_core.errors import CoverageError, DataError, UnknownNameError
from engram_core.models.layers import LayerInfo, list_layers, select_layers
from engram_core.models.layers import LinearMap as Slot
from engram_core.models.layers import find_linear_maps as find_slots
from engram_core.models.packed_attention import open_attention
from engram_core.models.view import shared_copy


def coverage(model: nn.Module) -> dict[str, LayerInfo]:
    return {info.name: info for info in list_layers(model)}


def only_slot(layer: nn.Module) -> Slot:
    (slot,) = find_slots(layer)
    return slot


# -- the coverage list -----------------------------------------------------------------------------------


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class DoubledConv1D(Conv1D):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class Renamed(nn.Linear):
    """A subclass that computes what Linear computes."""


class OwnAttention(nn.MultiheadAttention):
    def forward(self, query: Tensor, *args, **kwargs):  # type: ignore[override]
        return super().forward(query * 2, *args, **kwargs)


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(3, 4))


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.zeros(4, 6, 8))


@pytest.mark.parametrize(
    ("layer", "width", "outputs"),
    [
        (nn.Linear(5, 3, bias=False), 5, 3),
        (nn.Linear(5, 3), 6, 3),
        (Renamed(5, 3), 6, 3),
        (Conv1D(3, 5), 6, 3),
        (nn.Conv2d(4, 6, 3, bias=False), 36, 6),
        (nn.Conv2d(4, 6, (3, 2)), 25, 6),
        (nn.Conv2d(4, 6, 3, groups=2), 19, 6),
        (nn.Conv2d(4, 8, 3, groups=4, bias=False), 9, 8),
        (nn.Conv1d(4, 6, 3), 13, 6),
        (nn.Conv3d(4, 6, (1, 2, 3), groups=2), 13, 6),
        (nn.ConvTranspose1d(4, 6, 3), 4, 18),
        (nn.ConvTranspose2d(4, 6, (2, 3), groups=2), 2, 36),
        (nn.ConvTranspose3d(4, 6, 2, bias=False), 4, 48),
        (parametrizations.weight_norm(nn.Linear(5, 3)), 6, 3),
        (parametrizations.spectral_norm(nn.Conv2d(4, 6, 3)), 37, 6),
    ],
    ids=str,
)
def test_covered_layers_are_listed_with_their_width(layer: nn.Module, width: int, outputs: int) -> None:
    info = coverage(nn.Sequential(layer))["0"]
    assert info.covered and not info.reason
    assert (info.width, info.outputs) == (width, outputs)


def test_attention_is_listed_as_its_four_maps() -> None:
    attention = nn.MultiheadAttention(8, 2, kdim=5, vdim=6)
    assert list(coverage(attention)) == ["q_proj", "k_proj", "v_proj", "out_proj"]
    infos = coverage(nn.ModuleDict({"attn": attention}))
    widths = {name: info.width for name, info in infos.items()}
    assert widths == {"attn.q_proj": 9, "attn.k_proj": 6, "attn.v_proj": 7, "attn.out_proj": 9}
    assert all(info.covered and info.outputs == 8 for info in infos.values())


def computed() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.root = nn.Parameter(layer.weight.detach())
    del layer.weight
    layer.register_forward_pre_hook(lambda module, _: setattr(module, "weight", module.root**2))
    return layer


def integer_weights() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.weight = nn.Parameter(torch.zeros(3, 4, dtype=torch.int8), requires_grad=False)
    return layer


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: nn.Embedding(5, 4), "embedding"),
        (lambda: nn.EmbeddingBag(5, 4), "embedding"),
        (lambda: nn.LayerNorm(4), "normalisation"),
        (lambda: nn.BatchNorm2d(4), "normalisation"),
        (lambda: nn.GroupNorm(2, 4), "normalisation"),
        (lambda: nn.RMSNorm(4), "normalisation"),
        (lambda: nn.LSTM(4, 3), "recurrent"),
        (lambda: nn.GRUCell(4, 3), "recurrent"),
        (lambda: nn.LazyConv1d(4, 3), "not initialised"),
        (lambda: nn.Bilinear(4, 3, 2), "bare"),
        (lambda: Bare(), "bare"),
        (lambda: Experts(), "fused experts"),
        (lambda: nn.LazyLinear(3), "not initialised"),
        (lambda: Doubled(4, 3), "replaces the forward pass"),
        (lambda: DoubledConv1D(3, 4), "not a known linear map"),
        (lambda: OwnAttention(4, 2), "subclass of MultiheadAttention"),
        (lambda: parametrizations.weight_norm(nn.MultiheadAttention(4, 2), "in_proj_weight"), "parametrised"),
        (lambda: parametrizations.weight_norm(nn.LSTM(4, 3), "weight_ih_l0"), "parametrised"),
        (computed, "computed from other parameters"),
        (integer_weights, "quantised"),
        (lambda: nn.Linear(4, 3, device="meta"), "not loaded"),
    ],
)
def test_everything_else_is_named_with_its_reason(make, reason: str) -> None:
    infos = coverage(nn.Sequential(make(), nn.Linear(4, 2)))
    assert not infos["0"].covered
    assert reason in infos["0"].reason
    assert infos["1"].covered


@pytest.mark.parametrize("share", ["object", "memory"])
def test_a_head_tied_to_the_embedding_is_left_alone(share: str) -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(7, 4), "mid": nn.Linear(4, 4), "head": nn.Linear(4, 7)})
    weight = model["embed"].weight
    model["head"].weight = weight if share == "object" else nn.Parameter(weight.detach())
    infos = coverage(model)
    assert not infos["head"].covered
    assert "tied" in infos["head"].reason and "embed.weight" in infos["head"].reason
    assert infos["mid"].covered


def test_every_parameter_of_a_model_belongs_to_a_listed_layer(digits_attention) -> None:
    names = list(coverage(digits_attention.model))
    owners = {name.rpartition(".")[0] for name, _ in digits_attention.model.named_parameters()}
    for owner in owners:
        listed = any(name == owner or name.startswith(owner + ".") for name in names)
        assert listed or not owner, owner  # the root's own bare parameter goes by its class name
    assert not coverage(digits_attention.model)["RowReader"].covered


def test_a_model_without_coverable_layer_is_refused_with_what_was_found() -> None:
    with pytest.raises(CoverageError, match=r"0 \(LSTM\).*recurrent"):
        find_slots(nn.Sequential(nn.LSTM(4, 3)))
    with pytest.raises(CoverageError, match="no layer with parameters"):
        find_slots(nn.Sequential(nn.ReLU()))


# -- rows and matrices -----------------------------------------------------------------------------------


def through_slot(slot: Slot, model: nn.Module, x: Tensor) -> Tensor:
    """Compute the layer as ``rows · matrixᵀ``: (groups, rows, outputs / groups)."""
    rows = slot.rows(x)
    if slot.bias:
        rows = torch.cat([rows, rows.new_ones(*rows.shape[:-1], 1)], -1)
    return rows @ slot.matrix(model).mT


@pytest.mark.parametrize("layer", [nn.Linear(5, 3), nn.Linear(5, 3, bias=False), Conv1D(3, 5)], ids=str)
@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 5), (2, 1, 3, 5)])
def test_rows_times_matrix_is_the_linear_layer(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    found = through_slot(only_slot(layer), layer, x)
    torch.testing.assert_close(found.reshape(*shape[:-1], 3), layer(x))


CONVOLUTIONS = [
    dict(bias=False),
    dict(),
    dict(stride=2),
    dict(stride=(2, 1), padding=(2, 0)),
    dict(padding=1),
    dict(padding="valid"),
    dict(padding="same"),
    dict(padding="same", dilation=(2, 1)),
    dict(padding="same", kernel_size=(2, 4)),
    dict(padding="same", kernel_size=(4, 2), padding_mode="circular"),
    dict(dilation=2, padding=2),
    dict(groups=2, padding=1),
    dict(groups=4, out_channels=8, padding=1, bias=False),
    dict(kernel_size=1),
    dict(padding=(1, 2), padding_mode="reflect"),
    dict(padding=(2, 1), padding_mode="replicate"),
    dict(padding=(1, 3), padding_mode="circular", stride=2, groups=2),
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("memory", ["contiguous", "channels_last"])
def test_rows_times_matrix_is_the_convolution(options: dict, memory: str) -> None:
    layer = nn.Conv2d(**({"in_channels": 4, "out_channels": 6, "kernel_size": 3} | options))
    x = torch.randn(2, 4, 7, 6)
    if memory == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    expected = layer(x)
    slot = only_slot(layer)
    found = through_slot(slot, layer, x)  # (groups, inputs · places, outputs / groups)
    found = found.reshape(slot.groups, 2, -1, slot.outputs // slot.groups).permute(1, 0, 3, 2)
    torch.testing.assert_close(found.reshape(expected.shape), expected)
    assert slot.positions(x) == (2, expected.shape[2] * expected.shape[3])


def test_a_convolution_reads_the_patches_of_its_unfolded_twin() -> None:
    layer = nn.Conv2d(3, 5, (3, 2), stride=2, padding=1)
    twin = nn.Linear(18, 5)
    twin.load_state_dict({"weight": layer.weight.flatten(1), "bias": layer.bias})
    x = torch.randn(4, 3, 8, 7)
    patches = F.unfold(x, (3, 2), padding=1, stride=2).mT
    slot = only_slot(layer)
    torch.testing.assert_close(slot.rows(x)[0], patches.reshape(-1, 18))
    torch.testing.assert_close(slot.matrix(layer), only_slot(twin).matrix(twin))


def test_a_single_unbatched_image_is_read_as_one_input() -> None:
    layer = nn.Conv2d(3, 5, 3)
    x = torch.randn(3, 6, 6)
    torch.testing.assert_close(only_slot(layer).rows(x), only_slot(layer).rows(x[None]))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 3),
        nn.Linear(5, 3, bias=False),
        Conv1D(3, 5),
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Conv2d(4, 8, (2, 3), groups=4, bias=False),
        nn.MultiheadAttention(8, 2),
        nn.MultiheadAttention(8, 2, bias=False),
        nn.MultiheadAttention(8, 2, kdim=5, vdim=6),
        nn.MultiheadAttention(8, 2, kdim=5, vdim=6, bias=False),
    ],
    ids=lambda layer: repr(layer).replace("\n", " "),
)
def test_matrix_split_merge_gives_the_parameters_back(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    for slot in find_slots(layer):
        merged = slot.merge(layer, *slot.split(slot.matrix(layer)))
        assert set(merged) == set(slot.parameter_names()[: 1 + slot.bias])
        for name, tensor in merged.items():
            torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    for name, parameter in layer.named_parameters():
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"kdim": 5, "vdim": 6}, {"add_bias_kv": True}], ids=str
)
@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_maps_equal_its_unpacked_twin(options: dict, batch_first: bool) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    query, key = torch.randn(3, 4, 8), torch.randn(3, 6, layer.kdim)
    value = torch.randn(3, 6, layer.vdim)
    view = shared_copy(layer)
    open_attention(view)
    heard: dict[str, Tensor] = {}
    for slot in find_slots(layer):
        port = view.get_submodule(slot.port)
        port.register_forward_pre_hook(lambda _m, args, name=slot.name: heard.update({name: args[0]}))
    turned = [x if batch_first else x.transpose(0, 1) for x in (query, key, value)]
    output, weights = view(*turned)
    expected, expected_weights = layer(*turned)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(weights, expected_weights)
    for name, x in zip(("q_proj", "k_proj", "v_proj"), (query, key, value), strict=True):
        torch.testing.assert_close(heard[name], x)

    # The twin: four Linear maps with what the slots say their matrices are.
    maps = {slot.name: through_slot(slot, layer, heard[slot.name])[0] for slot in find_slots(layer)}
    q, k, v = (maps[f"{part}_proj"].reshape(3, -1, 2, 4).transpose(1, 2) for part in "qkv")
    if layer.bias_k is not None:
        k = torch.cat([k, layer.bias_k.reshape(1, 1, 2, 4).transpose(1, 2).expand(3, -1, -1, -1)], 2)
        v = torch.cat([v, layer.bias_v.reshape(1, 1, 2, 4).transpose(1, 2).expand(3, -1, -1, -1)], 2)
    context = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(3, -1, 8)
    torch.testing.assert_close(heard["out_proj"], context)
    out = maps["out_proj"].reshape(3, -1, 8)
    assert relative(out if batch_first else out.transpose(0, 1), expected) < 1e-5


def test_rows_of_a_wrong_width_name_the_layer() -> None:
    with pytest.raises(DataError, match=r"'Linear' reads rows of 5 values; found 4"):
        only_slot(nn.Linear(5, 3)).rows(torch.zeros(2, 4))
    with pytest.raises(DataError, match=r"'Conv2d' reads images of shape \(inputs, 4"):
        only_slot(nn.Conv2d(4, 3, 3)).rows(torch.zeros(2, 3, 5, 5))


# -- selection, as PEFT does it --------------------------------------------------------------------------

NAMES = ["fc", "h.0.attn.q_proj", "h.0.mlp.fc", "h.1.attn.q_proj", "h.1.mlp.fc", "h.10.mlp.fc", "h.1.bigfc"]


def test_none_selects_all_in_order() -> None:
    assert select_layers(NAMES) == NAMES


def test_a_list_selects_by_whole_dotted_suffix() -> None:
    assert select_layers(NAMES, ["fc"]) == ["fc", "h.0.mlp.fc", "h.1.mlp.fc", "h.10.mlp.fc"]
    assert select_layers(NAMES, ["1.mlp.fc", "attn.q_proj"]) == [
        "h.0.attn.q_proj", "h.1.attn.q_proj", "h.1.mlp.fc",
    ]  # fmt: skip


def test_a_string_is_a_regular_expression_over_the_whole_name() -> None:
    assert select_layers(NAMES, "fc") == ["fc"]
    assert select_layers(NAMES, r".*\.fc") == ["h.0.mlp.fc", "h.1.mlp.fc", "h.10.mlp.fc"]


def test_blocks_select_by_the_first_number_in_the_path() -> None:
    assert select_layers(NAMES, blocks=[1]) == ["h.1.attn.q_proj", "h.1.mlp.fc", "h.1.bigfc"]
    assert select_layers(NAMES, ["fc"], blocks=[0, 10]) == ["h.0.mlp.fc", "h.10.mlp.fc"]


def test_an_unknown_suffix_suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"'q_prj'.*Did you mean.*'q_proj'"):
        select_layers(NAMES, ["q_prj"])


@pytest.mark.parametrize("chosen", [{"layers": "nothing"}, {"blocks": [7]}, {"layers": "(", "blocks": None}])
def test_a_choice_that_leaves_nothing_is_refused(chosen: dict) -> None:
    with pytest.raises(CoverageError):
        select_layers(NAMES, **chosen)
