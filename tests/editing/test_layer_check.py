"""Every kind of layer is held against its edited map, and one that answers otherwise is refused."""

import pytest
import torch
from helpers import relative
from mixed import CONCEPTS, Mixed, X, atlas_of
from torch import nn

import engram_core as ec
from engram_core.errors import EffectError


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


def test_a_forward_that_adds_to_what_the_layer_answers_is_edited() -> None:
    model = nn.Sequential(nn.Linear(12, 3)).eval()
    old = model[0].forward
    model[0].forward = lambda x: old(x) + 1.0  # type: ignore[method-assign]
    atlas = atlas_of(model, rows=1)
    view = atlas.apply(erase="a")
    with torch.no_grad():
        assert relative(view(X[0]), ec.bake(view)(X[0])) < 1e-6 < relative(view(X[0]), model(X[0]))
