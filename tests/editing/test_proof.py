"""Every view shows that its edit acts, layer by layer, on a real pass."""

import pytest
import torch
from helpers import relative
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import EffectError

X = (torch.randn(24, 6, 12, generator=torch.Generator().manual_seed(0)) + 1).split(8)
CONCEPTS = dict(zip("abc", X, strict=True))


class Mixed(nn.Module):
    """Attention, a convolution and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.one = nn.Linear(12, 12)
            self.attn = nn.MultiheadAttention(12, 3, batch_first=True)
            self.conv = nn.Conv1d(6, 6, 3, padding=1, groups=2)
            self.encoder = nn.TransformerEncoderLayer(12, 2, 16, batch_first=True)
            self.two = nn.Linear(12, 4, bias=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.one(x))
        x = self.conv(x + self.attn(x, x, x)[0])
        return self.two(self.encoder(x).mean(1))


def atlas_of(model: nn.Module, rows: int = 8) -> ec.Atlas:
    return ec.extract(model, ec.record(model, {n: x[:rows] for n, x in CONCEPTS.items()}))


@pytest.mark.parametrize("products", [False, True], ids=["weights", "products"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_every_kind_of_layer_is_shown_to_act(dtype: torch.dtype, products: bool, monkeypatch) -> None:
    if products:
        monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    model = Mixed().to(dtype)
    atlas = ec.extract(model, ec.record(model, {n: x[:1].to(dtype) for n, x in CONCEPTS.items()}))
    for options in ({"erase": "a"}, {"keep": ["a", "b"]}, {"keep": ["b"], "null": "in place"}):
        report = ec.live_edit(atlas.apply(**options)).report()
        assert set(report.layers) == set(atlas.layers) and len(atlas.layers) == 13


LAYERS = ["one", "attn", "conv", "encoder.linear1", "encoder.self_attn", "two"]


# A layer without bias that is edited at its input by products acts whatever weights it goes on with.
@pytest.mark.parametrize(
    ("layer", "products"), [*((name, False) for name in LAYERS), *((name, True) for name in LAYERS[:-1])]
)
def test_a_layer_that_answers_otherwise_is_refused_by_name(layer: str, products: bool, monkeypatch) -> None:
    if products:
        monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    model = Mixed()
    atlas = atlas_of(model, rows=1)
    module = model.get_submodule(layer)
    # A forward that goes on with the weights of old.
    old = {name: p.detach().clone() for name, p in module.named_parameters()}
    whole = type(module).forward

    def forward(*args: object, **kwargs: object) -> object:
        twin = type(module).__new__(type(module))
        vars(twin).update({k: v for k, v in vars(module).items() if k != "forward"})
        return torch.func.functional_call(_Call(twin, whole), {f"inner.{n}": p for n, p in old.items()},
                                          args, kwargs)  # fmt: skip

    module.forward = forward  # type: ignore[method-assign]
    with pytest.raises(EffectError, match=rf"Layer '{layer}|layer '{layer}"):
        atlas.apply(erase="a")


class _Call(nn.Module):
    def __init__(self, inner: nn.Module, forward: object) -> None:
        super().__init__()
        self.inner, self._whole = inner, forward

    def forward(self, *args: object, **kwargs: object) -> object:
        return self._whole(self.inner, *args, **kwargs)  # type: ignore[operator]


def test_the_proof_leaves_view_and_base_as_they_are() -> None:
    class Counts(Mixed):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("passes", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            return super().forward(x)

    model = Counts()
    view = atlas_of(model).apply(erase="a")
    assert model.passes == 0 and view.passes == 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in (*model.modules(), *view.modules()))


def test_a_model_that_no_longer_runs_its_inputs_says_so() -> None:
    model = Mixed()
    atlas = atlas_of(model)
    model.encoder = nn.Identity()
    model.two = nn.Linear(5, 4, bias=False)
    with pytest.raises(ec.errors.EngramError):
        atlas.apply(erase="a")
    model = nn.Sequential(nn.Linear(12, 3), nn.Flatten(1)).eval()
    atlas = atlas_of(model)
    model[1] = nn.Unflatten(1, (7, 7))
    with pytest.raises(EffectError, match="cannot run the recorded input of a any more"):
        atlas.apply(erase="a")


def test_a_forward_that_adds_to_what_the_layer_answers_is_edited() -> None:
    model = nn.Sequential(nn.Linear(12, 3)).eval()
    old = model[0].forward
    model[0].forward = lambda x: old(x) + 1.0  # type: ignore[method-assign]
    atlas = atlas_of(model, rows=1)
    view = atlas.apply(erase="a")
    with torch.no_grad():
        assert relative(view(X[0]), ec.bake(view)(X[0])) < 1e-6 < relative(view(X[0]), model(X[0]))
