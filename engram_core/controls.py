"""Controls: sham edits that an effect must stand against. The sham set is our own design.

Two shams, each over many seeds (SCIENCE.md section 7): a Gaussian edit with the same norm in every
layer, and the engram of a random subset of the recorded inputs, as many as the concept has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .concepts import ConceptSet, Inputs, count_inputs
from .editing import Edit, edit_sizes, write_matrix
from .engram import Atlas
from .errors import DataError
from .recording import record
from .view import base_of, shared_copy

__all__ = ["gaussian_matrices", "gaussian_view", "significance", "subset_atlas"]


def gaussian_matrices(atlas: Atlas, sizes: Mapping[str, float], seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield a Gaussian matrix of the given Frobenius norm for every layer, (groups, out, D)."""
    generator = torch.Generator().manual_seed(seed)
    for layer, size in sizes.items():
        matrix = atlas.matrix(layer)
        noise = torch.randn(matrix.shape, generator=generator, dtype=torch.float64)
        yield layer, (noise * (size / torch.linalg.vector_norm(noise))).to(matrix)


def gaussian_view(
    atlas: Atlas,
    edit: Edit,
    seed: int,
    *,
    model: nn.Module | None = None,
    sizes: Mapping[str, float] | None = None,
) -> nn.Module:
    """Return a view with a Gaussian edit that has the norm of `edit` in every layer.

    Args:
        atlas: the engrams that `edit` is made of.
        edit: the edit to imitate; keeping from nothing is imitated by Gaussian weights alone.
        seed: of the noise.
        model: default the atlas's model.
        sizes: the norms, if `editing.edit_sizes` was already called for this edit.
    """
    base = base_of(atlas.model if model is None else model)
    view = shared_copy(base)
    for layer, noise in gaussian_matrices(atlas, sizes or edit_sizes(atlas, edit), seed):
        matrix = noise if edit.from_nothing else atlas.matrix(layer) - noise
        write_matrix(view, atlas.slot(layer), matrix)
    return view


def subset_atlas(
    atlas: Atlas,
    concepts: ConceptSet,
    *,
    size: int,
    seeds: Sequence[int],
    progress: Callable[[int, int | None, str], None] | None = None,
) -> Atlas:
    """Return the engrams of random subsets of the recorded inputs, against the atlas's own total.

    Args:
        atlas: made from a recording of `concepts`.
        concepts: what was recorded; inputs must be tensors, tuples or mappings of tensors.
        size: inputs per subset, drawn without replacement from all concepts together, also those
            that the atlas has no engram of.
        seeds: one subset each, 0 or more; the subset's name is ``"subset <seed>"``.
        progress: as in `recording.record`.

    Raises:
        DataError: if the inputs cannot be drawn from, or are fewer than `size`, or a seed is negative.
    """
    for seed in seeds:
        if seed < 0:
            raise DataError(f"The seed of a random subset must be 0 or more; found {seed}.")
    parts = [_indexable(concept.record) for concept in concepts.values()]
    counts = [_countable(name, part) for name, part in zip(concepts, parts, strict=True)]
    if size > sum(counts):
        raise DataError(f"A random subset of {size} inputs was asked for; only {sum(counts)} are recorded.")
    starts = np.concatenate([[0], np.cumsum(counts)])
    drawn: dict[str, Any] = {}
    for seed in seeds:
        chosen = np.sort(np.random.default_rng([seed, size]).choice(starts[-1], size, replace=False))
        picks = []
        for part, start, stop in zip(parts, starts[:-1], starts[1:], strict=True):
            mine = chosen[(chosen >= start) & (chosen < stop)] - start
            if len(mine):
                picks.append(_take(part, torch.from_numpy(mine)))
        joined = all(isinstance(pick, Tensor) and pick.shape[1:] == picks[0].shape[1:] for pick in picks)
        drawn[f"subset {seed}"] = torch.cat(picks) if joined else picks
    recording = record(atlas.model, drawn, layers=atlas.layers, progress=progress)
    return atlas.locate(recording)


def _indexable(inputs: Inputs) -> Inputs:
    return torch.from_numpy(inputs) if isinstance(inputs, np.ndarray) else inputs


def _countable(name: str, inputs: Inputs) -> int:
    count = count_inputs(inputs) if isinstance(inputs, (Tensor, tuple, Mapping)) else None
    if count is None:
        raise DataError(
            f"Concept {name!r}: a random subset needs inputs that can be indexed (a tensor, or one tuple or "
            f"mapping of tensors); found {type(inputs).__name__}."
        )
    return count


def _take(inputs: Inputs, index: Tensor) -> Any:
    if isinstance(inputs, Tensor):
        return inputs[index]
    size = count_inputs(inputs)

    def pick(value: Any) -> Any:
        along = isinstance(value, Tensor) and value.ndim and value.shape[0] == size
        return value[index] if along else value

    if isinstance(inputs, Mapping):
        return {key: pick(value) for key, value in inputs.items()}
    assert isinstance(inputs, tuple)
    return tuple(pick(value) for value in inputs)


def significance(effect: float, shams: Iterable[float]) -> tuple[float, float, float, float]:
    """Hold an effect against its shams (SCIENCE.md section 7).

    Returns:
        Mean and standard deviation of the shams, ``z = (effect − mean) / sd`` (infinite if the shams
        are all one value that the effect differs from, 0 if it does not differ), and
        ``p = (1 + #{sham ≥ effect}) / (1 + n)``. What is not defined stays so: z and p are NaN then.
    """
    values = np.asarray(list(shams), dtype=float)
    if len(values) < 2:
        raise DataError(f"A control needs at least two shams; found {len(values)}.")
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    if np.isnan(effect) or np.isnan(mean):
        return mean, deviation, np.nan, np.nan  # a comparison with NaN is false, which would look significant
    gap = effect - mean
    # Shams that are all alike differ by rounding at most; that is no spread to divide by.
    spread = deviation > 1e-12
    z = gap / deviation if spread else (0.0 if abs(gap) <= 1e-12 else float(np.copysign(np.inf, gap)))
    p = (1 + int((values >= effect).sum())) / (1 + len(values))
    return mean, deviation, z, p
