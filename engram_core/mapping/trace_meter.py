"""The ruler of a map: how strongly every concept's engram answers single inputs, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..atlas import Atlas
from ..errors import CoverageError, NonFiniteError
from ..models.linear_maps.linear import LinearMap
from ..numerics.precision import exactly_all
from ..recording.statistics import homogeneous_rows
from ..solving.choosing import chosen_concepts
from .inputs import MapInputs, listen, owners_of, some_concepts

__all__ = ["TraceMeter", "TraceStrengths"]


@dataclass(frozen=True)
class TraceStrengths:
    """``‖E_c x‖ / ‖W x‖`` of single inputs.

    Attributes:
        values: (inputs, layers, concepts); 0: the engram is silent, 1: as large as the layer's response.
        layers: names, in forward order.
        concepts: whose engrams.
        inputs: what was measured.
    """

    values: np.ndarray
    layers: tuple[str, ...]
    concepts: tuple[str, ...]
    inputs: MapInputs

    @property
    def matrix(self) -> np.ndarray:
        """The strengths as features, (inputs, layers · concepts)."""
        return self.values.reshape(len(self.values), -1)

    @property
    def own(self) -> np.ndarray:
        """Mean over the layers of each input's own concept, (inputs,); NaN if it was not measured."""
        place = {name: i for i, name in enumerate(self.concepts)}
        mean = self.values.mean(1)
        return np.array(
            [mean[i, place[c]] if c in place else np.nan for i, c in enumerate(self.inputs.concept)]
        )

    @property
    def specificity(self) -> np.ndarray:
        """`own` minus the strongest other concept's mean, (inputs,): above 0, the own engram wins."""
        mean = self.values.mean(1).copy()
        for i, name in enumerate(self.inputs.concept):
            if name in self.concepts:
                mean[i, self.concepts.index(name)] = -np.inf
        rival = mean.max(1) if mean.shape[1] > 1 else np.zeros(len(mean))
        return self.own - rival

    def table(self) -> pd.DataFrame:
        """Return input's concept and number, layer, engram, strength: one row per value."""
        count, layers, concepts = self.values.shape
        per = layers * concepts
        return pd.DataFrame(
            {
                "concept": np.repeat(self.inputs.concept, per),
                "number": np.repeat(self.inputs.number, per),
                "layer": np.tile(np.repeat(self.layers, concepts), count),
                "engram": np.tile(self.concepts, count * layers),
                "strength": self.values.reshape(-1),
            }
        )


@dataclass(frozen=True)
class _Maps:
    """A layer's own map and its engrams, each reduced to what norms of responses need."""

    whole: Tensor  # (groups, k, D)
    rights: Tensor | None  # (groups, r, D): rows of all low-rank engrams, one after another
    parts: tuple[tuple[slice | None, Tensor], ...]  # per concept: rows of `rights` (None: dense), and the map

    def energies(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``‖W x‖²`` (rows,) and ``‖E_c x‖²`` (rows, concepts) of rows (groups, rows, D)."""
        turned = rows.mT
        shares = None if self.rights is None else self.rights @ turned
        found = []
        for place, matrix in self.parts:
            reads = turned if place is None else shares[..., place, :]  # type: ignore[index]
            found.append((matrix @ reads).square().sum((0, 1)))
        return (self.whole @ turned).square().sum((0, 1)), torch.stack(found, -1)


def _reduced(matrix: Tensor) -> Tensor:
    """Return a matrix with no more rows than columns and the same ``‖M x‖`` for every x."""
    return torch.linalg.qr(matrix, mode="r").R if matrix.shape[-2] > matrix.shape[-1] else matrix


@exactly_all
class TraceMeter:
    """Measures trace strengths with the engrams and weights of the base, whatever model is run.

    One ruler for base and edited model: only what reaches a layer may differ, so a layer that comes before
    every edited one reads the same. The engrams are reduced once, at first use.

    Args:
        atlas: the engrams.
        concepts: whose; default `some_concepts` of all.
        layers: which layers (see `layers.select_layers`).

    Attributes:
        concepts: names.
        layers: names. Fused experts are left out: they read only what is routed to them.
        left_out: the layers left out.

    Raises:
        CoverageError: if no layer is left.
    """

    def __init__(
        self,
        atlas: Atlas,
        *,
        concepts: Iterable[str] | None = None,
        layers: str | Iterable[str] | None = None,
    ):
        self.atlas = atlas
        names = some_concepts(atlas.concepts) if concepts is None else concepts
        self.concepts = tuple(chosen_concepts(atlas, names))
        chosen = atlas.select(layers)
        self.layers = tuple(name for name in chosen if not atlas.linear_map(name).routed)
        self.left_out = tuple(name for name in chosen if atlas.linear_map(name).routed)
        if not self.layers:
            raise CoverageError(
                "Every chosen layer is a fused expert, which reads only the tokens that are routed to it; "
                "a map needs layers that read every input."
            )
        self._maps: dict[str, _Maps] = {}

    def measure(self, model: nn.Module, inputs: MapInputs) -> TraceStrengths:
        """Run a model over inputs and measure every strength in one pass.

        A position's strength is ``‖E_c x‖ / ‖W x‖``, and an input's the mean over its counted positions; in
        a convolution the patches of an image are one response: ``(Σ‖E_c x‖² / Σ‖W x‖²)^½``.

        Args:
            model: the base, or an edited view of it.
            inputs: what to run.

        Returns:
            Strengths, one row per input.

        Raises:
            NonFiniteError: if the model's activations are NaN or infinite.
        """
        shape = (len(inputs), len(self.concepts))
        sums = {name: torch.zeros(shape, dtype=torch.float64) for name in self.layers}
        weights = {name: torch.zeros(len(inputs), dtype=torch.float64) for name in self.layers}

        def hear(linear_map: LinearMap, x: Tensor, owner: Tensor) -> None:
            step = linear_map.piece(x)
            if linear_map.positions(x)[0] != x.shape[0]:  # a picture without a batch dimension
                step = x.shape[0]
            for start in range(0, x.shape[0], step):
                self._hear(linear_map, x[start : start + step], owner[start : start + step], sums, weights)

        listen(model, inputs, [self.atlas.linear_map(name) for name in self.layers], hear)
        values = np.zeros((shape[0], len(self.layers), shape[1]), np.float32)
        for i, name in enumerate(self.layers):
            mean = sums[name] / weights[name].clamp(min=1e-300).unsqueeze(-1)
            values[:, i] = (mean.sqrt() if self.atlas.linear_map(name).whole else mean).numpy()
            if not np.isfinite(values[:, i]).all():
                raise NonFiniteError(
                    f"Layer {name!r} reads NaN or infinity for some inputs of the map. If the model is "
                    "edited, a lower strength may keep its activations finite."
                )
        return TraceStrengths(values, self.layers, self.concepts, inputs)

    def _hear(
        self,
        linear_map: LinearMap,
        x: Tensor,
        owner: Tensor,
        sums: dict[str, Tensor],
        weights: dict[str, Tensor],
    ) -> None:
        rows, owners = linear_map.rows(x), owners_of(linear_map, x, owner)
        used = owners >= 0
        if not bool(used.all()):
            rows, owners = rows[:, used], owners[used]
        maps = self._map(linear_map.name)
        whole, energies = maps.energies(homogeneous_rows(rows.to(maps.whole.dtype), linear_map.bias))
        whole, energies, owners = whole.double().cpu(), energies.double().cpu(), owners.cpu()
        if not linear_map.whole:
            energies = (energies / whole.clamp(min=1e-300).unsqueeze(-1)).sqrt()
            # A row to which the layer answers nothing at all has no ratio.
            whole = torch.where(whole > 0, 1.0, whole)
            energies = energies * (whole > 0).unsqueeze(-1)
        sums[linear_map.name].index_add_(0, owners, energies)
        weights[linear_map.name].index_add_(0, owners, whole)

    def _map(self, layer: str) -> _Maps:
        found = self._maps.get(layer)
        if found is not None:
            return found
        matrix, sharpness = self.atlas.matrix(layer), self.atlas.sharpness
        rights: list[Tensor] = []
        parts: list[tuple[slice | None, Tensor]] = []
        start = 0
        for concept in self.concepts:
            trace = self.atlas.trace(layer, concept)
            if trace.folded or trace.rows.shape[-2] >= min(matrix.shape[-2:]):
                parts.append((None, _reduced(self.atlas.dense(layer, concept))))
                continue
            rows, duals, mu = trace.pair(sharpness)
            left = matrix @ rows.to(matrix.dtype).mT
            if mu is not None:
                left = left * sharpness.weights(mu, 1.0).unsqueeze(-2).to(matrix.dtype)
            rights.append(duals.to(matrix.dtype))
            parts.append((slice(start, start + rows.shape[-2]), _reduced(left)))
            start += rows.shape[-2]
        maps = _Maps(_reduced(matrix), torch.cat(rights, -2) if rights else None, tuple(parts))
        return self._maps.setdefault(layer, maps)
