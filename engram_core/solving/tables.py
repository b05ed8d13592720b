"""What every layer holds of every concept: tables read from the statistics and the weights alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pandas as pd
from torch import Tensor

from ..numerics.eigen import eigvalsh
from ..numerics.precision import exactly
from ..progress import Progress
from .choosing import chosen_concepts
from .spectrum import Trace

if TYPE_CHECKING:
    from ..atlas import Atlas

__all__ = ["certificate_table", "exclusivity_table", "layer_table", "size_table"]


_Part = Callable[["Atlas", str, Sequence[str]], pd.DataFrame]


@exactly
def layer_table(
    atlas: Atlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return what every layer holds of every concept, from the statistics and the weights alone.

    Args:
        atlas: the engrams; its sharpness applies to the size, not to the certificate.
        layers: which layers (see `layers.select_layers`).
        concepts: which concepts; default all.
        progress: called with (done, total, text) after every layer.

    Returns:
        layer, concept; ``norm = ‖E_c‖`` (Frobenius, bias column included), ``relative = ‖E_c‖ / ‖W‖``,
        ``rank`` (an upper bound); ``leak = ‖E_c X_rest‖² / ‖W X_c‖²``, ``residue = ‖(W − E_c) X_c‖² / ‖W
        X_c‖²`` and their sum ``error``, the leak certificate (docs/science.md section 2), in [0, 1] for the
        plain engram.

    Raises:
        UnknownNameError: for a layer or concept that the atlas does not have.
    """
    return _table(atlas, layers, concepts, (_sizes, _certificates), progress)


@exactly
def size_table(
    atlas: Atlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the first half of `layer_table`: layer, concept, norm, relative, rank."""
    return _table(atlas, layers, concepts, (_sizes,), progress)


@exactly
def certificate_table(
    atlas: Atlas, *, layers: str | Iterable[str] | None = None, concepts: Iterable[str] | None = None
) -> pd.DataFrame:
    """Return the second half of `layer_table`: layer, concept, leak, residue, error."""
    return _table(atlas, layers, concepts, (_certificates,))


def _table(
    atlas: Atlas,
    layers: str | Iterable[str] | None,
    concepts: Iterable[str] | None,
    parts: Iterable[_Part],
    progress: Progress | None = None,
) -> pd.DataFrame:
    chosen, names = atlas.select(layers), chosen_concepts(atlas, concepts)
    frames = []
    for done, layer in enumerate(chosen, start=1):
        keys = pd.DataFrame({"layer": layer, "concept": names})
        frames.append(pd.concat([keys, *(part(atlas, layer, names) for part in parts)], axis=1))
        if progress is not None:
            progress(done, len(chosen), f"reading {layer}")
    return pd.concat(frames, ignore_index=True)


def _sizes(atlas: Atlas, layer: str, names: Sequence[str]) -> pd.DataFrame:
    whole, rows = atlas.weight_norm(layer), []
    for name in names:
        norm = atlas[name].norm(layer)
        rows.append((norm, norm / whole if whole else 0.0, atlas[name].rank(layer)))
    return pd.DataFrame(rows, columns=["norm", "relative", "rank"])


def _certificates(atlas: Atlas, layer: str, names: Sequence[str]) -> pd.DataFrame:
    matrix, rows = atlas.matrix(layer), []
    for name in names:
        trace = atlas.trace(layer, name)
        with _unkept(trace):
            leak, residue, response = trace.leak(matrix)
        rows.append((leak / (response or 1.0), residue / (response or 1.0)))
    frame = pd.DataFrame(rows, columns=["leak", "residue"])
    return frame.assign(error=frame["leak"] + frame["residue"])


@exactly
def exclusivity_table(
    atlas: Atlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return how far each direction of a concept is its own (docs/science.md section 5).

    Args:
        atlas: the engrams.
        layers: which layers (see `layers.select_layers`).
        concepts: which concepts; default all.
        progress: called with (done, total, text) after every layer.

    Returns:
        layer, concept, group, direction (from 1), ``mu`` in [0, 1], descending within a group. 1 is a
        direction that only this concept uses; at its share of the data it is no more the concept's than
        anybody's.

    Raises:
        UnknownNameError: for a layer or concept that the atlas does not have.
    """
    chosen, names = atlas.select(layers), chosen_concepts(atlas, concepts)
    frames = []
    for done, layer in enumerate(chosen, start=1):
        for name in names:
            for group, mu in enumerate(_exclusivities(atlas.trace(layer, name))):
                values = {"direction": range(1, len(mu) + 1), "mu": mu.numpy()}
                frames.append(pd.DataFrame({"layer": layer, "concept": name, "group": group} | values))
        if progress is not None:
            progress(done, len(chosen), f"reading {layer}")
    return pd.concat(frames, ignore_index=True)


def _exclusivities(trace: Trace) -> Tensor:
    """Return μ, (groups, directions) on the processor, descending."""
    spectrum = trace.spectrum
    if trace.folded and spectrum.form == "primal":
        # The non-zero values of Σ_c Σ† by one symmetric solve, instead of a factor of Σ_c and a second solve.
        root = spectrum._vectors * spectrum._scale.sqrt().unsqueeze(-2)
        mu = eigvalsh(root.mT @ trace.moment @ root).flip(-1)
    else:
        mu = trace.exclusivity
    return mu.clamp(0, 1).cpu()


@contextmanager
def _unkept(trace: Trace) -> Iterator[None]:
    """Drop what a trace computes meanwhile: a table needs it once, and at a width of 1,600 it is 20 MB."""
    known = set(vars(trace))
    yield
    for name in set(vars(trace)) - known:
        vars(trace).pop(name, None)
