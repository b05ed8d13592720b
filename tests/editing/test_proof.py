"""Every view shows that its edit acts, layer by layer, on a real pass."""

import pytest
import torch
from mixed import Mixed, atlas_of
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
