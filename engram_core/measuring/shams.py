"""Controls: sham edits that an effect must stand against. The sham set is our own design.

Two shams, each over many seeds (docs/science.md section 7): a Gaussian edit with the same norm in every
layer, and the engram of a random subset of the recorded inputs, as many as the concept has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..atlas import Atlas
from ..concepts.batches import lying
from ..concepts.concepts import ConceptSet
from ..editing.live_edit import Edit, edit_sizes, write_matrix
from ..errors import DataError
from ..models.view import base_of, shared_copy
from ..numerics.precision import exactly
from ..recording.recording import record

__all__ = ["gaussian_matrices", "gaussian_view", "significance", "subset_atlas"]


def gaussian_matrices(atlas: Atlas, sizes: Mapping[str, float], seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield a Gaussian matrix of the given Frobenius norm for every layer, (groups, out, D)."""
    generator = torch.Generator().manual_seed(seed)
    for layer, size in sizes.items():
        matrix = atlas.matrix(layer)
        noise = torch.randn(matrix.shape, generator=generator, dtype=torch.float64)
        yield layer, (noise * (size / torch.linalg.vector_norm(noise))).to(matrix)


@exactly
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


@exactly
def subset_atlas(
    atlas: Atlas,
    concepts: ConceptSet,
    *,
    size: int,
    seeds: Sequence[int],
    layers: str | Iterable[str] | None = None,
    progress: Callable[[int, int | None, str], None] | None = None,
) -> Atlas:
    """Return the engrams of random subsets of the recorded inputs, against the atlas's own total.

    Args:
        atlas: made from a recording of `concepts`.
        concepts: what was recorded; inputs must be tensors, tuples or mappings of tensors.
        size: inputs per subset, drawn without replacement from all concepts together, also those
            that the atlas has no engram of.
        seeds: one subset each, 0 or more; the subset's name is ``"subset <seed>"``.
        layers: which layers (see `layers.select_layers`); default all. The rows of twenty subsets in all
            layers of a large model take gigabytes.
        progress: as in `recording.record`.

    Raises:
        DataError: if the inputs cannot be drawn from, or are fewer than `size`, or a seed is negative.
    """
    chosen = atlas.select(layers)
    concepts = lying(atlas.model, concepts)
    recording = record(atlas.model, concepts.subsets(size, seeds), layers=chosen, progress=progress)
    return atlas.locate(recording, layers=chosen)


def significance(effect: float, shams: Iterable[float]) -> tuple[float, float, float, float]:
    """Hold an effect against its shams (docs/science.md section 7).

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
