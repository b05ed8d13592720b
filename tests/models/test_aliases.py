"""One module under several names is one layer; two modules over one memory are tied."""

import pytest
import torch
from helpers import relative
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import CoverageError
from engram_core.models.layers import list_layers
from engram_core.models.view import shared_copy

A, B = torch.randn(2, 20, 12, generator=torch.Generator().manual_seed(0)) + 1


def body() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12)).eval()


class Kept(nn.Module):
    """A body kept twice: whole, and as the parts that are run."""

    def __init__(self, first: str) -> None:
        super().__init__()
        made = body()
        parts = {"body": made, "features": nn.Sequential(*made.children())}
        for name in (first, *(n for n in parts if n != first)):
            self.add_module(name, parts[name])

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)


class Thrice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([body()[0]] * 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


class Attentive(nn.Module):
    """An attention whose out-projection has a second name that comes first."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            attn = nn.MultiheadAttention(12, 2, batch_first=True)
        self.out, self.attn = attn.out_proj, attn
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 2, 12)
        return self.attn(x, x, x)[0]


MODELS = {
    "body first": (lambda: Kept("body"), ["body.0", "body.2"]),
    "features first": (lambda: Kept("features"), ["features.0", "features.2"]),
    "three times one layer": (Thrice, ["layers.0"]),
}


@pytest.mark.parametrize("products", [False, True], ids=["weights", "products"])
@pytest.mark.parametrize(("make", "names"), MODELS.values(), ids=MODELS.keys())
def test_a_module_under_several_names_is_one_layer(make, names, products: bool, monkeypatch) -> None:
    if products:
        monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    model = make()
    atlas = ec.extract(model, ec.record(model, {"a": A[:2], "b": B[:2]}))
    assert atlas.layers == names
    view = atlas.apply(erase="a")
    with torch.no_grad():
        assert relative(view(A), ec.bake(view)(A)) < 1e-5 < relative(view(A), model(A))
        ec.live_edit(view).off()
        assert torch.equal(view(A), model(A))


def test_every_name_in_a_view_is_the_one_twin() -> None:
    view = shared_copy(Kept("body"))
    assert view.body[0] is view.features[0] and view.body[2] is view.features[2]
    assert len(set(map(id, shared_copy(Thrice()).layers))) == 1


def test_rows_of_a_layer_called_thrice_are_counted_thrice() -> None:
    assert ec.record(Thrice(), {"a": A}).rows("layers.0", "a") == 60


def test_an_out_projection_with_a_second_name_is_a_part_of_its_attention_once() -> None:
    model = Attentive()
    infos = [i for i in list_layers(model) if i.covered]
    assert [i.name for i in infos] == ["attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj"]
    atlas = ec.extract(model, ec.record(model, {"a": A, "b": B}))
    view = atlas.apply(erase="a")
    with torch.no_grad():
        assert relative(view(A), ec.bake(view)(A)) < 1e-5 < relative(view(A), model(A))


# -- real ties ---------------------------------------------------------------------------------------------


# -- layers without weights ---------------------------------------------------------------------------------


def test_a_lazy_layer_is_not_covered_until_it_has_weights() -> None:
    model = nn.Sequential(nn.Linear(12, 12), nn.LazyLinear(3)).eval()
    assert [(i.name, i.covered) for i in list_layers(model)] == [("0", True), ("1", False)]
    assert "no weights yet" in list_layers(model)[1].reason
    with pytest.raises(CoverageError, match="'1' .*has no weights yet: run the model once"):
        ec.record(model, {"a": A, "b": B})
    assert type(model[1]) is nn.LazyLinear and model[1].has_uninitialized_params()
    model(A)
    assert list(ec.record(model, {"a": A, "b": B}).source_of) == ["0", "1"]


class Spare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare, self.pictures = nn.Linear(12, 3), nn.LazyLinear(3), nn.LazyConv2d(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_a_lazy_layer_that_is_not_used_does_not_disturb_the_others(tmp_path) -> None:
    model = Spare().eval()
    atlas = ec.extract(model, ec.record(model, {"a": A, "b": B}))
    atlas.save(tmp_path / "atlas")
    view = ec.Atlas.load(tmp_path / "atlas", model).apply(erase="a")
    assert atlas.layers == ["used"] and relative(view(A), model(A)) > 1e-3
    assert model.spare.has_uninitialized_params() and model.pictures.has_uninitialized_params()


# -- bare parameters ----------------------------------------------------------------------------------------


class Positions(nn.Module):
    def __init__(self, name: str, *shape: int) -> None:
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.zeros(*shape)))


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (
            Positions("pos_embedding", 1, 7, 4),
            "a bare parameter: added, not a linear map ('pos_embedding' of",
        ),
        (Positions("class_token", 1, 1, 4), "a bare parameter: added, not a linear map"),
        (Positions("relative_position_bias_table", 9, 3), "a bare parameter: added, not a linear map"),
        (Positions("gamma", 4), "a bare parameter: added or multiplied value by value, not a linear map"),
        (Positions("expert_weights", 3, 4, 5), "fused experts of a form not known here"),
        (Positions("kernel", 3, 4, 5), "its own code uses a bare parameter ('kernel' of Positions)"),
    ],
    ids=str,
)
def test_a_bare_parameter_gets_the_reason_that_is_true_of_it(module: nn.Module, reason: str) -> None:
    (info,) = [i for i in list_layers(nn.Sequential(module)) if not i.covered]
    assert reason in info.reason
