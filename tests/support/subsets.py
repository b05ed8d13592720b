"""Three concepts of a Linear layer, from which random subsets are drawn."""

from __future__ import annotations

import torch
from helpers import structured
from torch import Tensor

import engram_core as ec

WIDTH = 9


CONCEPTS = {name: structured(i, 12 + 5 * i, WIDTH) + i for i, name in enumerate("abc")}


EVERYTHING = torch.cat(list(CONCEPTS.values()))


def drawn(atlas: ec.Atlas, name: str, data: Tensor = EVERYTHING) -> list[int]:
    """Return which rows of `data` a small subset consists of, in its order."""
    rows = atlas.trace("Linear", name).rows[0, :, : data.shape[1]].double()
    match = (rows[:, None] - data[None]).abs().amax(-1) < 1e-12
    assert (match.sum(1) == 1).all()  # every row is one of the recorded inputs
    return match.float().argmax(1).tolist()
