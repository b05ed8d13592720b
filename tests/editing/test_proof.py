"""Every view shows that its edit acts, layer by layer, on a real pass."""

import pytest
import torch
from mixed import Mixed, X, atlas_of
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import EffectError


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


def without_inputs(model: nn.Module) -> ec.Atlas:
    """An atlas as files of an earlier version hold it: without a recorded input."""
    atlas = atlas_of(model, rows=1)
    atlas.probes = ()
    return atlas


def test_without_a_recorded_input_every_layer_is_called_by_itself() -> None:
    model = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 4)).eval()
    atlas = without_inputs(model)
    view = atlas.apply(erase="a")
    with torch.no_grad():
        assert torch.allclose(view(X[1]), ec.bake(view)(X[1]), atol=1e-6)
        assert not torch.allclose(view(X[1]), model(X[1]), atol=1e-4)


def test_a_layer_that_answers_otherwise_by_itself_is_refused() -> None:
    model = nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 4)).eval()
    atlas = without_inputs(model)
    old = model[1].weight.detach().clone()
    model[1].forward = lambda x: x @ old.mT  # type: ignore[method-assign]
    with pytest.raises(EffectError, match="layer '1' does not act as it should"):
        atlas.apply(erase="a")


class Skips(nn.Module):
    """Goes past its second layer when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.skip = nn.Linear(12, 12), nn.Linear(12, 12), False

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        return x if self.skip else self.two(x)


def test_a_layer_that_the_recorded_inputs_no_longer_reach_is_named() -> None:
    model = Skips().eval()
    atlas = atlas_of(model, rows=1)
    model.skip = True
    with pytest.raises(EffectError, match=r"two\b.*never called"):
        atlas.apply(erase="a")
    assert ec.live_edit(atlas.apply(erase="a", layers=["one"])).report().layers == ("one",)
