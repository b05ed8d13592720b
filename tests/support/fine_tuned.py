"""A small classifier that learned four classes, and a fine-tune of it that learned eight more."""

from __future__ import annotations

import copy
import functools

import torch
from torch import Tensor, nn

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.tasks import Subject
from engram_core.fine_tuning.fine_tune import FineTune

OLD, NEW = [f"old {i}" for i in range(4)], [f"new {i}" for i in range(8)]
_WIDTH, _EACH = 32, 24


def _drawn(seed: int) -> dict[str, Tensor]:
    """Return inputs of every class: a direction of its own and noise."""
    centres = torch.linalg.qr(torch.randn(_WIDTH, _WIDTH, generator=torch.Generator().manual_seed(0)))[0]
    noise = torch.Generator().manual_seed(seed)
    return {
        name: 3 * centres[place] + 0.25 * torch.randn(_EACH, _WIDTH, generator=noise)
        for place, name in enumerate([*OLD, *NEW])
    }


def _fit(model: nn.Module, data: dict[str, Tensor], names: list[str]) -> None:
    order = [*OLD, *NEW]
    x = torch.cat([data[name] for name in names])
    y = torch.cat([torch.full((_EACH,), order.index(name)) for name in names])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


@functools.cache
def small_fine_tune() -> FineTune:
    """Return the two models: whoever changes one makes a copy first."""
    torch.manual_seed(0)
    record, probe = _drawn(1), _drawn(2)
    base = nn.Sequential(nn.Linear(_WIDTH, 48), nn.ReLU(), nn.Linear(48, len(OLD) + len(NEW)))
    _fit(base, record, OLD)
    tuned = copy.deepcopy(base)
    _fit(tuned, record, [*OLD, *NEW])

    def subject(model: nn.Module, names: list[str]) -> Subject:
        concepts = ec.ConceptSet(ec.Concept(name, record[name], probe[name]) for name in names)
        return Subject(model.eval(), concepts, Classification((*OLD, *NEW)))

    return FineTune(subject(tuned, NEW), base.eval(), subject(base, OLD))
