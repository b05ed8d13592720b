"""Controls: sham edits that an effect must stand against. The sham set is our own design.

Two shams, each over many seeds (docs/science.md section 7): a Gaussian edit with the same norm in every
layer, and the engram of a random subset of the recorded inputs, as many as the concept has.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..atlas import Atlas
from ..concepts.batches import lying
from ..concepts.concepts import ConceptSet
from ..concepts.tasks import Subject
from ..editing.change import edit_sizes
from ..editing.edit import Edit
from ..editing.weights import write_matrix
from ..models.view import base_of, shared_copy
from ..numerics.precision import exactly
from ..progress import Memory, Progress, Recent, Step, drain, once
from ..recording.record import record_steps
from ..recording.recording import Recording
from ..solving.choosing import chosen_concepts

__all__ = [
    "gaussian_matrices",
    "gaussian_view",
    "remembered_subsets",
    "subset_atlas",
    "subset_atlas_steps",
    "subset_shams",
    "subset_shams_steps",
]


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
        matrix = atlas.rest(layer) + noise if edit.from_nothing else atlas.weights(layer) - noise
        write_matrix(view, atlas.linear_map(layer), matrix)
    return view


@exactly
def subset_atlas(
    atlas: Atlas,
    concepts: ConceptSet,
    *,
    size: int,
    seeds: Sequence[int],
    layers: str | Iterable[str] | None = None,
    progress: Progress | None = None,
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
    return drain(subset_atlas_steps(atlas, concepts, size=size, seeds=seeds, layers=layers), progress)


@exactly
def subset_atlas_steps(
    atlas: Atlas,
    concepts: ConceptSet,
    *,
    size: int,
    seeds: Sequence[int],
    layers: str | Iterable[str] | None = None,
) -> Generator[Step[Recording], None, Atlas]:
    """Do what `subset_atlas` does in steps, as `recording.record_steps` has them."""
    chosen = atlas.select(layers)
    concepts = lying(atlas.model, concepts)
    recording = yield from record_steps(atlas.model, concepts.subsets(size, seeds), layers=chosen)
    return atlas.locate(recording, layers=chosen)


def subset_shams(
    subject: Subject,
    atlas: Atlas,
    seeds: Sequence[int],
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Atlas]:
    """Return, for every concept, the atlas of random subsets of its size (empty without seeds).

    Concepts of one size share one atlas.

    Returns:
        Per concept, an atlas with one engram per subset.
    """
    return drain(subset_shams_steps(subject.concepts, atlas, seeds, concepts), progress)


def subset_shams_steps(
    drawn_from: ConceptSet,
    atlas: Atlas,
    seeds: Sequence[int],
    concepts: Iterable[str] | None = None,
    *,
    layers: Sequence[str] | None = None,
    memory: Memory | None = None,
) -> Generator[Step[Recording], None, dict[str, Atlas]]:
    """Do what `subset_shams` does in steps.

    Args:
        drawn_from: what the random subsets are drawn from.
        atlas: as in `subset_shams`, and so on to `concepts`.
        seeds: one subset each.
        concepts: whose sizes they have.
        layers: which layers; default all of the atlas.
        memory: of results of this atlas's model.

    Returns:
        The result of `subset_shams`.

    Yields:
        Where the recording stands.
    """
    if not seeds:
        return {}
    by_size: dict[int, Atlas] = {}
    found = {}
    for concept in chosen_concepts(atlas, concepts):
        size = atlas.counts[concept]
        if size not in by_size:
            by_size[size] = yield from remembered_subsets(
                drawn_from, atlas, size, seeds, layers=layers, memory=memory
            )
        found[concept] = by_size[size]
    return found


def remembered_subsets(
    drawn_from: ConceptSet,
    atlas: Atlas,
    size: int,
    seeds: Sequence[int],
    *,
    layers: Sequence[str] | None = None,
    memory: Memory | None = None,
) -> Generator[Step[Recording], None, Atlas]:
    """Do what `subset_atlas_steps` does, unless its result is remembered."""
    chosen = tuple(atlas.select(layers))
    return (
        yield from once(
            memory or Recent(),
            ("subsets", atlas.sharpness, size, tuple(seeds), chosen),
            lambda: subset_atlas_steps(atlas, drawn_from, size=size, seeds=seeds, layers=chosen),
        )
    )
