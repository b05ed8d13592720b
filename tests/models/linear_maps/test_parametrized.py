"""Layers whose weight is computed: the one in force is edited on a view, and its originals are left alone."""

import warnings
from collections.abc import Callable

import pytest
import torch
from helpers import relative
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import engram_core as ec
from engram_core.editing.edit import Edit
from engram_core.errors import ModelMismatchError
from engram_core.measuring.shams import gaussian_view
from engram_core.models.layers import find_linear_maps as find_slots
from engram_core.models.layers import list_layers


class Symmetric(nn.Module):
    """A parametrisation of the user's own."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + x.mT) / 2


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def own(layer: nn.Module, *steps: nn.Module, name: str = "weight") -> nn.Module:
    for step in steps:
        parametrize.register_parametrization(layer, name, step)
    return layer


def old(function: Callable[..., nn.Module], layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have the newer form used
        return function(layer)


def both(layer: nn.Module) -> nn.Module:
    return own(parametrizations.weight_norm(layer), Doubled(), name="bias")


def pruned(layer: nn.Module) -> nn.Module:
    prune.random_unstructured(layer, "weight", 0.4)
    prune.l1_unstructured(layer, "weight", 2)
    return prune.random_unstructured(layer, "bias", 0.3)


LINEAR = {
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(6, 6)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 6, bias=False)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 6)),
    "Symmetric": lambda: own(nn.Linear(6, 6), Symmetric()),
    "Symmetric, Doubled": lambda: own(nn.Linear(6, 6), Symmetric(), Doubled()),
    "spectral_norm, Doubled": lambda: own(parametrizations.spectral_norm(nn.Linear(6, 6)), Doubled()),
    "weight_norm, Doubled": lambda: both(nn.Linear(6, 6)),
    "Doubled": lambda: own(nn.Linear(6, 6), Doubled(), name="bias"),
    "old weight_norm": lambda: old(nn.utils.weight_norm, nn.Linear(6, 6)),
    "old spectral_norm": lambda: old(nn.utils.spectral_norm, nn.Linear(6, 6)),
    "pruned": lambda: pruned(nn.Linear(6, 6)),
}
CONVOLUTIONS = {
    "weight_norm": lambda: parametrizations.weight_norm(nn.Conv2d(2, 3, 3, padding=1)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Conv2d(2, 4, 2, groups=2)),
    "weight_norm 1d": lambda: parametrizations.weight_norm(nn.Conv1d(2, 4, 3)),
    "weight_norm transposed": lambda: parametrizations.weight_norm(nn.ConvTranspose2d(2, 3, 2, stride=2)),
    "old weight_norm": lambda: old(nn.utils.weight_norm, nn.Conv2d(2, 3, 3)),
    "pruned": lambda: pruned(nn.Conv2d(2, 3, 3)),
}
CASES = [("linear", name, make) for name, make in LINEAR.items()]
CASES += [("convolution", name, make) for name, make in CONVOLUTIONS.items()]
IDS = [f"{form}-{name}" for form, name, _ in CASES]


class Body(nn.Module):
    def __init__(self, layer: nn.Module, form: str) -> None:
        super().__init__()
        self.layer = layer
        self.act = nn.Tanh()
        self.head = nn.LazyLinear(3)
        self.shape = (6,) if form == "linear" else (2, 5) if "1d" in type(layer).__name__ else (2, 4, 5)
        self(self.example(1, 0))

    def example(self, count: int, seed: int) -> Tensor:
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(seed)) + 0.3

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.layer(x)).flatten(1))


def body(form: str, make: Callable[[], nn.Module]) -> Body:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = make()
        model = Body(layer, form).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def plain(form: str, make: Callable[[], nn.Module]) -> Body:
    """The same model with the weights in force as ordinary parameters, by torch's own functions."""
    twin = body(form, make)  # built anew: torch takes the property away from a class that copies share
    layer = twin.layer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("weight", "bias"):
            if parametrize.is_parametrized(layer, name):
                parametrize.remove_parametrizations(layer, name)
            elif hasattr(layer, f"{name}_mask"):
                prune.remove(layer, name)
            elif hasattr(layer, f"{name}_v") and hasattr(layer, f"{name}_g"):
                nn.utils.remove_weight_norm(layer, name)
            elif hasattr(layer, f"{name}_orig"):
                nn.utils.remove_spectral_norm(layer, name)
    return twin


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("counts", [(2, 2), (9, 40)], ids=["few rows", "many rows"])
@pytest.mark.parametrize(("form", "name", "make"), CASES, ids=IDS)
def test_the_weight_in_force_is_edited_as_a_plain_layers(form: str, name: str, make, counts) -> None:
    model = body(form, make)
    twin = plain(form, make)
    before, x = state(model), model.example(4, 9)
    data = {c: model.example(n, seed) for seed, (c, n) in enumerate(zip("ab", counts, strict=True), start=1)}
    model.train()  # spectral norm writes its state whenever it runs in this mode
    atlas, other = (ec.extract(m, ec.record(m, data)) for m in (model, twin))
    model.eval()
    assert atlas.layers == other.layers == ["layer", "head"]
    assert relative(atlas.matrix("layer"), other.matrix("layer")) < 1e-6
    assert relative(atlas["a"].weight("layer"), other["a"].weight("layer")) < 1e-5
    for options in ({"erase": {"a": 0.8}}, {"keep": ["a"]}, {"keep": ["a"], "null": "in place"}):
        view, wanted = atlas.apply(**options), other.apply(**options)
        assert relative(view(x), wanted(x)) < 1e-4, options
        assert relative(view(x), model(x)) > 1e-4
        baked = ec.bake(view)
        assert relative(baked(x), wanted(x)) < 1e-4
        assert not parametrize.is_parametrized(baked.layer) and "weight" in baked.layer._parameters
        assert set(baked.layer.state_dict()) == set(twin.layer.state_dict())
        baked.load_state_dict(baked.state_dict())
        ec.live_edit(view).off()
        assert torch.equal(view(x), model(x))
        ec.live_edit(view).turn_on()
        assert relative(view(x), wanted(x)) < 1e-4
    after = state(model)
    assert list(before) == list(after) and all(torch.equal(before[n], after[n]) for n in before)


@pytest.mark.parametrize(("form", "name", "make"), CASES, ids=IDS)
def test_a_sham_acts_on_the_weight_and_names_no_original(form: str, name: str, make) -> None:
    model = body(form, make)
    data = {"a": model.example(5, 1), "b": model.example(20, 2)}
    atlas = ec.extract(model, ec.record(model, data))
    twin, x = plain(form, make), model.example(4, 9)
    other = ec.extract(twin, ec.record(twin, data))
    edit = Edit.of(atlas, erase="a", layers=["layer"])
    assert relative(gaussian_view(atlas, edit, 3)(x), gaussian_view(other, edit, 3)(x)) < 1e-4


@pytest.mark.parametrize(
    ("form", "name", "kind"),
    [
        ("linear", "weight_norm", "Linear (weight_norm)"),
        ("linear", "spectral_norm", "Linear (spectral_norm)"),
        ("linear", "orthogonal", "Linear (orthogonal)"),
        ("linear", "Symmetric, Doubled", "Linear (Symmetric, Doubled)"),
        ("linear", "weight_norm, Doubled", "Linear (weight_norm, Doubled)"),
        ("linear", "old weight_norm", "Linear (weight_norm)"),
        ("linear", "old spectral_norm", "Linear (spectral_norm)"),
        ("linear", "pruned", "Linear (pruned)"),
        ("convolution", "spectral_norm", "Conv2d (grouped) (spectral_norm)"),
        ("convolution", "weight_norm transposed", "ConvTranspose2d (weight_norm)"),
    ],
)
def test_the_kind_names_the_parametrisation_and_its_parts_are_no_layers(form, name, kind) -> None:
    make = LINEAR[name] if form == "linear" else CONVOLUTIONS[name]
    infos = list_layers(nn.Sequential(make(), nn.Linear(2, 2)))
    assert [(info.name, info.covered) for info in infos] == [("0", True), ("1", True)]
    assert infos[0].kind == kind


def test_looking_at_a_model_in_training_mode_writes_nothing() -> None:
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 5)), nn.Linear(5, 2)).train()
    before = state(model)
    (linear_map, _) = find_slots(model)
    linear_map.matrix(model)
    list_layers(model)
    assert model.training and all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_a_weight_that_others_use_too_stays_refused() -> None:
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    model = nn.Sequential(parametrizations.weight_norm(first), own(second, Symmetric()))
    shared = nn.Linear(5, 5)
    model[1].parametrizations.weight.original = shared.weight
    model.append(shared)
    infos = {info.name: info for info in list_layers(model)}
    assert not infos["1"].covered and "tied: shares its weight with '2.weight'" in infos["1"].reason
    assert not infos["2"].covered and "tied" in infos["2"].reason
    assert infos["0"].covered

    class Reads(nn.Module):
        def __init__(self, other: nn.Module) -> None:
            super().__init__()
            self.other = other

        def forward(self, x: Tensor) -> Tensor:
            return x + self.other.weight

    source = nn.Linear(5, 5)
    model = nn.Sequential(own(nn.Linear(5, 5), Reads(source)), source)
    assert all("tied" in info.reason for info in list_layers(model)), list_layers(model)


def test_a_cached_parametrisation_is_edited_as_it_is() -> None:
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 2)).eval()
    data = {"a": torch.randn(9, 6), "b": torch.randn(30, 6) + 1}
    x = torch.randn(4, 6)
    wanted = ec.extract(model, ec.record(model, data)).apply(erase="a")(x)
    with parametrize.cached():
        model(x)
        atlas = ec.extract(model, ec.record(model, data))
        view = atlas.apply(erase="a")
        assert relative(view(x), wanted) < 1e-6


@pytest.mark.parametrize("name", ["spectral_norm", "old spectral_norm", "pruned"])
def test_an_atlas_belongs_to_the_state_that_decides_over_the_weight(name: str) -> None:
    model = body("linear", LINEAR[name])
    data = {"a": model.example(5, 1), "b": model.example(20, 2)}
    atlas = ec.extract(model, ec.record(model, data))
    atlas.apply(erase="a")
    buffers = {n: b for n, b in model.layer.named_buffers() if "_v" not in n}
    with torch.no_grad():
        next(iter(buffers.values())).mul_(-0.5).add_(0.3)
    with pytest.raises(ModelMismatchError, match="changed since it was recorded"):
        atlas.apply(erase="a")


def test_a_computed_tensor_behind_the_weight_is_named() -> None:
    layer = old(nn.utils.weight_norm, nn.Linear(6, 6))
    prune.l1_unstructured(layer, "weight_v", 0.3)
    other = parametrizations.weight_norm(nn.Linear(6, 6))
    other.extra = nn.Parameter(torch.zeros(6, 6))
    own(other, Symmetric(), name="extra")
    beside = nn.Linear(6, 6)
    beside.extra = nn.Parameter(torch.zeros(6, 6))
    own(beside, Symmetric(), name="extra")  # its weight is its own
    infos = list_layers(nn.Sequential(layer, other, beside))
    assert [info.covered for info in infos] == [False, False, True]
    assert "'weight_v' is computed" in infos[0].reason and "'extra' is computed" in infos[1].reason


@pytest.mark.parametrize(
    "wrap",
    [parametrizations.spectral_norm, lambda layer: own(layer, nn.Dropout(0.5))],
    ids=["spectral", "drop"],
)
def test_a_mode_set_while_the_edit_is_on_reaches_the_parametrisation_too(wrap) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(wrap(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 3)).train()
    x = {"a": torch.randn(20, 6) + 1, "b": torch.randn(20, 6)}
    view = ec.extract(model, ec.record(model, x)).apply(erase="a")
    view.eval()
    ec.live_edit(view).off()
    assert not any(module.training for module in view.modules())
    assert all(module.training for module in model.modules())
    assert torch.equal(view(x["a"]), model.eval()(x["a"]))
