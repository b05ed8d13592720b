"""Frozen quantised Linear layers: edited at their input, measured by their answers, never read."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from helpers import engram_by_hand, homogeneous, relative
from torch import Tensor, nn

import engram_core as ec
from engram_core.editing.edit import Edit
from engram_core.errors import CoverageError, ModelMismatchError
from engram_core.measuring.shams import gaussian_view
from engram_core.models.layers import find_linear_maps as find_slots
from engram_core.models.layers import list_layers


def dynamic(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch will have another package do this one day
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


class Packed(nn.Linear):
    """Weights in 4 bits with a scale per row, unpacked at every call, as for large models."""

    def __init__(self, layer: nn.Linear):
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None)
        scale = layer.weight.detach().abs().amax(1, keepdim=True) / 7
        steps = (layer.weight.detach() / scale).round().to(torch.int8)
        self.weight = nn.Parameter(steps, requires_grad=False)
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, (self.weight * self.scale).to(x.dtype), self.bias)


def packed(model: nn.Module) -> nn.Module:
    for name, child in model.named_children():
        if isinstance(child, nn.Linear):
            setattr(model, name, Packed(child))
    return model


def net(make=packed, bias: bool = True) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 16, bias=bias), nn.Tanh(), nn.Linear(16, 3, bias=bias)).eval()
    return make(model)


def stored(layer: nn.Module) -> nn.Linear:
    """A plain layer with the weights that are stored, unpacked."""
    if isinstance(layer, Packed):
        weight, bias = layer.weight * layer.scale, layer.bias
    else:
        weight, bias = layer.weight().dequantize(), layer.bias()
    plain = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    plain.weight.data.copy_(weight)
    if bias is not None:
        plain.bias.data.copy_(bias)
    return plain


def twin(model: nn.Module) -> nn.Module:
    return nn.Sequential(stored(model[0]), nn.Tanh(), stored(model[2])).eval()


def data(count: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(count + i, 12, generator=generator) + i for i, name in enumerate("abc")}


KINDS = {"int8, dynamic": dynamic, "4 bits, packed": packed}
CLOSE = {"int8, dynamic": 0.06, "4 bits, packed": 1e-4}  # the first one rounds what it reads to 8 bits, too


@pytest.mark.parametrize("count", [2, 60], ids=["few rows", "many rows"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_quantised_model_is_edited_as_its_unpacked_twin(kind: str, bias: bool, count: int) -> None:
    model = net(KINDS[kind], bias)
    plain, x = twin(model), data(20, 9)["b"]
    atlas = ec.extract(model, ec.record(model, data(count)))
    other = ec.extract(plain, ec.record(plain, data(count)))
    assert atlas.layers == other.layers == ["0", "2"]
    assert relative(atlas.matrix("0"), other.matrix("0")) < 1e-6
    assert relative(atlas["b"].weight("0"), other["b"].weight("0")) < 1e-5
    base = model(x)
    for options in (
        {"erase": {"b": 0.7}},
        {"erase": {"a": 1.0, "b": -0.5}},
        {"keep": ["b"]},
        {"keep": {"a": 0.0}},
        {"erase": ["b"], "scaling": "adaptive"},
    ):
        view, wanted = atlas.apply(**options), other.apply(**options)
        assert relative(view(x), wanted(x)) < CLOSE[kind], options
        assert relative(view(x), base) > 0.1
        report, expected = ec.live_edit(view).report(), ec.live_edit(wanted).report()
        assert report.relative == pytest.approx(expected.relative, rel=CLOSE[kind])
        ec.live_edit(view).off()
        assert torch.equal(view(x), base)
    shams = [gaussian_view(a, Edit.of(a, erase="b", layers=["0"]), 4)(x) for a in (atlas, other)]
    assert relative(*shams) < CLOSE[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_edit_is_what_the_layer_answers_to_less(kind: str) -> None:
    """``x' = x − 0.7 P x``, and the bias weighed by what becomes of the row's 1: by hand, at one layer."""
    model = net(KINDS[kind])
    inputs = data(4)
    atlas = ec.extract(model, ec.record(model, inputs), layers=["0"])
    rows = {name: homogeneous(x.double(), True) for name, x in inputs.items()}
    whole = torch.eye(13, dtype=torch.float64)
    trace = engram_by_hand(whole, rows["a"], torch.cat(list(rows.values())))
    x = data(1, 5)["a"]
    less = homogeneous(x.double(), True) @ (whole - 0.7 * trace).mT
    layer, bias = model[0], stored(model[0]).bias
    hidden = layer(less[:, :-1].float()) + (less[:, -1:].float() - 1) * bias
    assert relative(atlas.apply(erase={"a": 0.7})(x), model[2](torch.tanh(hidden))) < 1e-4


def test_tables_factors_and_norms_agree_with_the_unpacked_twin() -> None:
    model = net(dynamic)
    plain = twin(model)
    atlas, other = (ec.extract(m, ec.record(m, {k: v for k, v in data(5).items()})) for m in (model, plain))
    mine, theirs = ec.layer_table(atlas), ec.layer_table(other)
    first = mine["layer"] == "0"  # below it, the base's own answers differ by its arithmetic
    columns = ["norm", "relative", "leak", "residue"]
    assert abs(mine[first][columns] - theirs[first][columns]).max().max() < 1e-5
    left, right = atlas["a"].factors("0")
    assert relative(left @ right, other["a"].matrix("0")[0]) < 1e-5
    assert atlas["a"].bias("0").shape == (16,)


def test_the_base_is_left_alone_and_what_cannot_be_baked_is_named() -> None:
    model = net(dynamic)
    before = copy.deepcopy(model)
    atlas = ec.extract(model, ec.record(model, data(5)))
    view = atlas.apply(erase="a")
    with pytest.raises(CoverageError, match=r"Layer '0' \(Linear \(quantised\)\) is quantised.*save_lora"):
        ec.bake(view)
    x = data(3, 3)["c"]
    assert torch.equal(model(x), before(x)) and not model.training
    for mine, theirs in zip(model[0::2], before[0::2], strict=True):
        assert torch.equal(mine.weight().int_repr(), theirs.weight().int_repr())
    ec.live_edit(view).off()
    assert torch.equal(ec.bake(view)(x), model(x))


def test_a_plain_layer_beside_quantised_ones_is_baked_alone() -> None:
    model = nn.Sequential(Packed(nn.Linear(12, 16)), nn.Tanh(), nn.Linear(16, 3)).eval()
    atlas = ec.extract(model, ec.record(model, data(5)))
    x = data(3, 3)["a"]
    view = atlas.apply(erase="a", layers=["2"])
    assert relative(ec.bake(view)(x), view(x)) < 1e-5
    with pytest.raises(CoverageError, match="'0'"):
        ec.bake(atlas.apply(erase="a"))


def test_a_matrix_is_asked_anew_when_the_stored_values_change() -> None:
    layer = Packed(nn.Linear(12, 5))
    (linear_map,) = find_slots(nn.Sequential(layer))
    model = nn.Sequential(layer)
    first = linear_map.matrix(model)
    layer.weight.data[:, 4] += 1
    assert relative(linear_map.matrix(model)[0, :, :-1], layer.weight * layer.scale) < 1e-6
    assert not torch.equal(first, linear_map.matrix(model))


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_an_atlas_of_a_quantised_model_belongs_to_what_it_stores(make, tmp_path) -> None:
    model = net(make)
    atlas = ec.extract(model, ec.record(model, data(4)))
    path, x = tmp_path / "atlas.safetensors", data(2, 3)["a"]
    atlas.save(path)
    same = ec.Atlas.load(path, net(make))
    assert torch.equal(same.apply(erase="a")(x), atlas.apply(erase="a")(x))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        other = make(nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3)).eval())
    for parameter in other.parameters():
        parameter.data.copy_(dict(model.named_parameters())[name_of(other, parameter)])
    with pytest.raises(ModelMismatchError, match="another model"):
        ec.Atlas.load(path, other)
    with pytest.raises(ModelMismatchError, match="another model"):
        atlas.apply(other, erase="a")


def name_of(model: nn.Module, parameter: nn.Parameter) -> str:
    return next(name for name, p in model.named_parameters() if p is parameter)


class Rounds(Packed):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sign())


class Fails(Packed):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("this kernel needs another device")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Rounds(nn.Linear(8, 3)), "quantised: .* no linear map of its input"),
        (lambda: Fails(nn.Linear(8, 3)), "quantised: .* cannot be run on rows of floating-point numbers"),
        (lambda: dynamic(nn.Sequential(nn.LSTM(4, 3)))[0], "quantised|recurrent"),
    ],
)
def test_what_is_quantised_and_no_linear_map_keeps_its_reason(make, reason: str) -> None:
    import re

    infos = list_layers(nn.Sequential(make(), nn.Linear(3, 2)))
    assert [info.covered for info in infos if info.name == "1"] == [True]
    assert all(not info.covered and re.search(reason, info.reason) for info in infos if info.name != "1")


def test_a_parameter_of_a_class_of_its_own_that_holds_plain_values_is_no_quantised_one() -> None:
    class Named(nn.Parameter):
        pass

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    model[0].weight = Named(model[0].weight.detach())
    assert [info.kind for info in list_layers(model)] == ["Linear", "Linear"]
    x = {"a": torch.randn(20, 6) + 1, "b": torch.randn(20, 6)}
    view = ec.extract(model, ec.record(model, x)).apply(erase="a")
    assert relative(ec.bake(view)(x["a"]), view(x["a"])) < 1e-6
    assert type(model[0].weight) is Named


def test_complex_weights_are_not_called_quantised() -> None:
    class Spectral(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 3, dtype=torch.complex64))

    model = nn.Sequential(nn.Linear(3, 3, dtype=torch.complex64), Spectral())
    assert "complex" in list_layers(model)[0].reason
    assert not any("quantised" in info.reason for info in list_layers(model))
