"""One table of cases, model × edit, over one dense oracle in float64.

The oracle runs the model by hand, forms every second moment from all rows, and every engram as
``W Σ_c Σ†``; what an edit comes to is ``W' = w₀ W − f_l Σ_c s_c E_c`` (docs/science.md section 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import homogeneous, pinv_under_cut, structured
from torch import Tensor, nn

import engram_core as ec
from engram_core.editing.change import Change
from engram_core.editing.edit import Edit

__all__ = ["CASES", "EDITS", "Case", "Edited", "case_of", "every_case", "every_edit"]

NAMES = ("a", "b", "c")


def _mlp(bias: bool) -> nn.Module:
    return nn.Sequential(nn.Linear(10, 8, bias=bias), nn.ReLU(), nn.Linear(8, 5, bias=bias))


def _grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 9, 5)
    )


def _vectors(count: int) -> Callable[[int], Tensor]:
    return lambda seed: structured(seed, count, 10) + 0.3


def _images(count: int) -> Callable[[int], Tensor]:
    return lambda seed: (structured(seed, count, 36) + 0.3).reshape(count, 4, 3, 3)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "few rows": (lambda: _mlp(True), _vectors(2)),  # solved by rows, kept as rows
    "many rows": (lambda: _mlp(True), _vectors(40)),  # solved by width, kept as moments
    "without bias": (lambda: _mlp(False), _vectors(4)),
    "grouped convolution": (_grouped, _images(3)),
}
"""Model, and the inputs of a concept by its seed."""


@dataclass(frozen=True)
class Edited:
    """An edit as it is asked for, and what it takes away by the definition.

    Attributes:
        options: of `Edit.of`.
        taken: ``s_c``.
        keeps: ``w₀``.
        adaptive: the power p of the factors; 0 where they are 1.
    """

    options: dict[str, Any]
    taken: dict[str, float]
    keeps: bool = True
    adaptive: float = 0.0


EDITS = {
    "one": Edited({"erase": "a"}, {"a": 1.0}),
    "two strengths": Edited({"erase": {"a": 0.5, "c": 2.0}}, {"a": 0.5, "c": 2.0}),
    "amplified": Edited({"erase": {"b": -1.5}}, {"b": -1.5}),
    "kept from nothing": Edited({"keep": {"a": 1.0, "b": 0.5}}, {"a": -1.0, "b": -0.5}, keeps=False),
    "kept in place": Edited({"keep": ["b"], "null": "in place"}, {"a": 1.0, "c": 1.0}),
    "kept and erased": Edited({"keep": {"a": 0.25}, "null": "in place", "erase": {"b": -1.0}},
                              {"a": 0.75, "c": 1.0}),
    "adaptive": Edited({"erase": {"a": 1.0, "b": 2.0}, "scaling": "adaptive", "adaptive_power": 2.0},
                       {"a": 1.0, "b": 2.0}, adaptive=2.0),
}  # fmt: skip

every_case = pytest.mark.parametrize("case", CASES, indirect=False)
every_edit = pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())


def _rows(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what multiplies the weight of a layer, (groups, rows, D) in float64."""
    bias = getattr(layer, "bias", None) is not None
    if isinstance(layer, nn.Linear):
        return homogeneous(x.reshape(-1, x.shape[-1]).double(), bias)[None]
    assert isinstance(layer, nn.Conv2d)
    patches = F.unfold(x.double(), layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    parts = patches.transpose(1, 2).reshape(-1, patches.shape[1]).chunk(layer.groups, 1)
    return torch.stack([homogeneous(part, bias) for part in parts])


@dataclass(frozen=True)
class Case:
    """A model with its engrams, and the same from dense matrices.

    Attributes:
        model: the base, in float64.
        concepts: inputs by name.
        atlas: what the engine made of them.
        weights: layer → ``[W | b]``, (groups, out, D).
        moments: layer → concept → Σ_c, (groups, D, D).
    """

    model: nn.Module
    concepts: dict[str, Tensor]
    atlas: ec.Atlas
    weights: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def engram(self, layer: str, concept: str) -> Tensor:
        """Return ``W Σ_c Σ†``, (groups, out, D)."""
        total = sum(self.moments[layer].values())
        assert isinstance(total, Tensor)
        inverse = torch.stack([pinv_under_cut(one) for one in total])
        return self.weights[layer] @ self.moments[layer][concept] @ inverse

    def taken(self, layer: str, edit: Edited) -> Tensor:
        """Return ``Σ_c s_c E_c``."""
        parts = [s * self.engram(layer, name) for name, s in edit.taken.items()]
        return torch.stack(parts).sum(0)

    def factor(self, layer: str, edit: Edited) -> float:
        """Return ``f_l = (rel_l / max rel)^p``."""
        if not edit.adaptive:
            return 1.0
        shares = {n: float(self.taken(n, edit).norm() / w.norm()) for n, w in self.weights.items()}
        return (shares[layer] / max(shares.values())) ** edit.adaptive

    def edited(self, layer: str, edit: Edited) -> Tensor:
        """Return ``W' = w₀ W − f_l Σ_c s_c E_c``."""
        start = self.weights[layer] if edit.keeps else torch.zeros_like(self.weights[layer])
        return start - self.factor(layer, edit) * self.taken(layer, edit)

    def change(self, edit: Edited, **more: Any) -> Change:
        """Return the edit in numbers as the engine has it."""
        made = Edit.of(self.atlas, **edit.options)
        options = {
            "atlas": self.atlas, "layers": made.layers, "taken": dict(edit.taken),
            "factors": {layer: self.factor(layer, edit) for layer in made.layers}, "keeps": edit.keeps,
        }  # fmt: skip
        return Change(**(options | more))

    def answer(self, edit: Edited, x: Tensor) -> Tensor:
        """Return what the model answers with the edited matrices, run by hand."""
        for name, layer in self.model.named_children():
            if name not in self.weights:
                x = layer(x)
                continue
            rows = _rows(layer, x) @ self.edited(name, edit).mT  # (groups, rows, out / groups)
            flat = rows.permute(1, 0, 2).reshape(rows.shape[1], -1)
            x = flat if x.ndim == 2 else flat.reshape(len(x), -1, flat.shape[1]).mT.reshape(len(x), -1, 3, 3)
        return x


@cache
def case_of(name: str) -> Case:
    """Return a case by its name; it is made once and never written to."""
    build, inputs = CASES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build().double().eval()
    concepts = {concept: inputs(seed) for seed, concept in enumerate(NAMES)}
    atlas = ec.extract(model, ec.record(model, concepts))
    case = Case(model, concepts, atlas)
    for concept, x in concepts.items():
        for layer_name, layer in model.named_children():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                rows = _rows(layer, x.detach())
                weight = layer.weight.detach().reshape(*rows.shape[:1], -1, layer.weight[0].numel())
                bias = [] if layer.bias is None else [layer.bias.detach().reshape(*weight.shape[:2], 1)]
                case.weights[layer_name] = torch.cat([weight, *bias], -1)
                case.moments.setdefault(layer_name, {})[concept] = rows.mT @ rows
            with torch.no_grad():
                x = layer(x)
    return case
