"""The model that a fine-tune started from: what the fine-tune wrote, and where else the two differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import CoverageError, DataError, ModelMismatchError
from .identity import ModelIdentity
from .layers import LinearMap, find_linear_maps
from .view import base_of, plain_path

__all__ = ["Difference", "Pretrained"]


@dataclass(frozen=True)
class Difference:
    """How far a fine-tune moved one layer, or one parameter outside the covered layers.

    Attributes:
        name: the layer, or the parameter.
        covered: whether engrams can live there; what is not covered stays as the fine-tuned model has it.
        change: ``‖W₁ − W₀‖``.
        relative: ``‖W₁ − W₀‖ / ‖W₀‖``; infinite if it was zero before.
        share: of the squared change of the whole model, 0 to 1.
    """

    name: str
    covered: bool
    change: float
    relative: float
    share: float


class Pretrained:
    """A base model, matched layer by layer with what was made of it.

    Attributes:
        model: the base; never written.
        identity: which model it was.
        written: the covered layers that the fine-tune changed, in forward order.
    """

    def __init__(self, fine_tuned: nn.Module, model: nn.Module):
        """Match two models.

        Args:
            fine_tuned: what was made of it.
            model: the base.

        Raises:
            ModelMismatchError: if they are not of one architecture; names what differs.
            CoverageError: if a layer that both have is quantised, so that no difference can be taken.
            DataError: if the fine-tune changed no covered layer.
        """
        self.model, self._fine_tuned = base_of(model), base_of(fine_tuned)
        if self.model is self._fine_tuned:
            raise DataError("The base is the fine-tuned model itself. Give the model that it was made from.")
        self.identity = ModelIdentity(self.model)
        maps = {linear_map.name: linear_map for linear_map in find_linear_maps(self._fine_tuned)}
        before = {linear_map.name: linear_map for linear_map in find_linear_maps(self.model)}
        prefix = _prefix(maps, before)
        self._maps: dict[str, tuple[LinearMap, LinearMap]] = {}
        for name, linear_map in maps.items():
            self._maps[name] = (linear_map, _matched(linear_map, before.get(name.removeprefix(prefix))))
        missing = [name for name in before if prefix + name not in maps]
        if missing:
            raise ModelMismatchError(
                f"The base has layer {missing[0]!r}, and the fine-tuned model has not"
                f"{f' ({len(missing)} such layers)' if len(missing) > 1 else ''}. "
                "Give the very model that was fine-tuned."
            )
        self._prefix = prefix
        self.written = tuple(name for name in self._maps if bool(self.change(name).any()))
        if not self.written:
            raise DataError(
                f"The fine-tune wrote nothing: all {len(self._maps)} covered layers are as in the base. "
                "If it was trained as an adapter, load the adapter with it."
            )

    def matrix(self, layer: str) -> Tensor:
        """Return the base's ``[W₀ | b₀]`` of a layer of the fine-tuned model, (groups, out, D)."""
        return self._maps[layer][1].matrix(self.model)

    def change(self, layer: str) -> Tensor:
        """Return what the fine-tune wrote in a layer, ``[W₁ | b₁] − [W₀ | b₀]``, (groups, out, D)."""
        after, before = self._maps[layer][0].matrix(self._fine_tuned), self.matrix(layer)
        return after - before.to(after)

    def differences(self) -> list[Difference]:
        """List where the two models differ, covered layers first, each in the order of the model."""
        pairs = [(name, True, self.change(name), self.matrix(name)) for name in self.written]
        pairs += [(name, False, after - before.to(after), before) for name, after, before in self._outside()]
        sizes = [float(torch.linalg.vector_norm(change.double())) for _, _, change, _ in pairs]
        whole = sum(size**2 for size in sizes)
        found = []
        for (name, covered, _, before), size in zip(pairs, sizes, strict=True):
            if size:
                norm = float(torch.linalg.vector_norm(before.double()))
                relative = size / norm if norm else float("inf")
                found.append(Difference(name, covered, size, relative, size**2 / whole))
        return found

    def _outside(self) -> Iterable[tuple[str, Tensor, Tensor]]:
        """Return the parameters outside the covered layers: name, after, before."""
        inside = tuple(f"{linear_map.module}." for linear_map, _ in self._maps.values())
        before = {plain_path(name): p for name, p in self.model.named_parameters()}
        for full, parameter in self._fine_tuned.named_parameters():
            name = plain_path(full)
            if name.startswith(inside):
                continue
            other = before.get(name.removeprefix(self._prefix))
            if other is None or other.shape != parameter.shape:
                now = tuple(parameter.shape)
                was = "does not have it" if other is None else f"has shape {tuple(other.shape)} there"
                raise ModelMismatchError(
                    f"Parameter {name!r} has shape {now} in the fine-tuned model, and the base {was}."
                )
            yield name, parameter.detach().float(), other.detach().float()


def _prefix(maps: Iterable[str], before: Iterable[str]) -> str:
    """Return what stands before every layer's name in the fine-tuned model, as PEFT puts it there."""
    first = next(iter(before))
    return next((name.removesuffix(first) for name in maps if name.endswith("." + first)), "")


def _matched(after: LinearMap, before: LinearMap | None) -> LinearMap:
    if before is None:
        raise ModelMismatchError(
            f"The fine-tuned model has layer {after.name!r}, and the base has not. "
            "Give the very model that was fine-tuned."
        )
    shapes = [(m.groups, m.outputs, m.columns, m.bias) for m in (after, before)]
    if shapes[0] != shapes[1]:
        words = [
            f"{m.outputs} × {m.columns}{' with a bias' if m.bias else ''}"
            + (f" in {m.groups} groups" if m.groups > 1 else "")
            for m in (after, before)
        ]
        raise ModelMismatchError(
            f"Layer {after.name!r} is {words[0]} in the fine-tuned model and {words[1]} in the base."
        )
    if after.opaque or before.opaque:
        raise CoverageError(
            f"Layer {after.name!r} is quantised, so that what the fine-tune wrote cannot be read from it. "
            "Load both models with their full weights."
        )
    return before
