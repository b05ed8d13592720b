"""What every layer holds of every concept: tables read from the statistics and the weights alone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pandas as pd
from torch import Tensor

from ..numerics.eigen import eigvalsh
from ..numerics.precision import exactly
from ..progress import Memory, Progress, Recent, Step, drain, each
from .choosing import chosen_concepts
from .trace import Trace

if TYPE_CHECKING:
    from .solved import SolvedAtlas

__all__ = [
    "LayerSteps",
    "certificate_table",
    "exclusivity_table",
    "exclusivity_table_steps",
    "layer_table",
    "layer_table_steps",
    "size_table",
    "size_table_steps",
    "spectrum_table",
]


_Part = Callable[["SolvedAtlas", str, Sequence[str]], pd.DataFrame]

LayerSteps = Generator[Step[dict[str, pd.DataFrame]], None, pd.DataFrame]
"""Steps with the tables so far by layer, and the whole table at the end."""


@exactly
def layer_table(
    atlas: SolvedAtlas,
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
    return drain(layer_table_steps(atlas, layers=layers, concepts=concepts), progress)


def layer_table_steps(
    atlas: SolvedAtlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    memory: Memory | None = None,
) -> LayerSteps:
    """Do what `layer_table` does in steps, a layer in each.

    Args:
        atlas: as in `layer_table`, and so on to `concepts`.
        layers: which layers.
        concepts: which concepts.
        memory: of results of this atlas; a layer that is remembered takes no time.

    Yields:
        The tables so far by layer.

    Returns:
        The table of `layer_table`.
    """
    return _table(atlas, layers, concepts, (_sizes, _certificates), memory)


@exactly
def size_table(
    atlas: SolvedAtlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the first half of `layer_table`: layer, concept, norm, relative, rank."""
    return drain(size_table_steps(atlas, layers=layers, concepts=concepts), progress)


def size_table_steps(
    atlas: SolvedAtlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    memory: Memory | None = None,
) -> LayerSteps:
    """Do what `size_table` does in steps; see `layer_table_steps`."""
    return _table(atlas, layers, concepts, (_sizes,), memory)


@exactly
def certificate_table(
    atlas: SolvedAtlas, *, layers: str | Iterable[str] | None = None, concepts: Iterable[str] | None = None
) -> pd.DataFrame:
    """Return the second half of `layer_table`: layer, concept, leak, residue, error."""
    return drain(_table(atlas, layers, concepts, (_certificates,)))


@exactly
def _table(
    atlas: SolvedAtlas,
    layers: str | Iterable[str] | None,
    concepts: Iterable[str] | None,
    parts: Sequence[_Part],
    memory: Memory | None = None,
) -> LayerSteps:
    chosen, names = atlas.select(layers), chosen_concepts(atlas, concepts)
    kinds = tuple(part.__name__ for part in parts)
    keys = [(layer, ("table", kinds, atlas.sharpness, tuple(names), layer)) for layer in chosen]

    def make(layer: str) -> pd.DataFrame:
        columns = pd.DataFrame({"layer": layer, "concept": names})
        return pd.concat([columns, *(part(atlas, layer, names) for part in parts)], axis=1)

    found = yield from each(memory or Recent(), keys, make, what="reading")
    return pd.concat(found.values(), ignore_index=True)


def _sizes(atlas: SolvedAtlas, layer: str, names: Sequence[str]) -> pd.DataFrame:
    whole, rows = atlas.weight_norm(layer), []
    for name in names:
        norm = atlas[name].norm(layer)
        rows.append((norm, norm / whole if whole else 0.0, atlas[name].rank(layer)))
    return pd.DataFrame(rows, columns=["norm", "relative", "rank"])


def _certificates(atlas: SolvedAtlas, layer: str, names: Sequence[str]) -> pd.DataFrame:
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
    atlas: SolvedAtlas,
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
    return drain(exclusivity_table_steps(atlas, layers=layers, concepts=concepts), progress)


@exactly
def exclusivity_table_steps(
    atlas: SolvedAtlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    memory: Memory | None = None,
) -> LayerSteps:
    """Do what `exclusivity_table` does in steps; see `layer_table_steps`."""
    chosen, names = atlas.select(layers), chosen_concepts(atlas, concepts)
    keys = [(layer, ("exclusivities", tuple(names), layer)) for layer in chosen]

    def make(layer: str) -> pd.DataFrame:
        frames = []
        for name in names:
            for group, mu in enumerate(_exclusivities(atlas.trace(layer, name))):
                values = {"direction": range(1, len(mu) + 1), "mu": mu.numpy()}
                frames.append(pd.DataFrame({"layer": layer, "concept": name, "group": group} | values))
        return pd.concat(frames, ignore_index=True)

    found = yield from each(memory or Recent(), keys, make, what="reading")
    return pd.concat(found.values(), ignore_index=True)


@exactly
def spectrum_table(atlas: SolvedAtlas, *, layers: Iterable[str] | None = None) -> pd.DataFrame:
    """Return the totals' spectra: layer, group, index, eigenvalue, kept (by the cut).

    Args:
        atlas: the engrams.
        layers: which layers, by their whole names; default all.

    Raises:
        UnknownNameError: for a layer that the atlas does not have.
    """
    frames = []
    for layer in atlas.layers if layers is None else layers:
        spectrum = atlas.spectrum(layer)
        for group, values in enumerate(spectrum.eigenvalues.cpu()):
            frames.append(
                pd.DataFrame(
                    {
                        "layer": layer, "group": group, "index": range(1, len(values) + 1),
                        "eigenvalue": values.numpy(),
                        "kept": (values > spectrum.threshold[group].cpu()).numpy(),
                    }
                )
            )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def _exclusivities(trace: Trace) -> Tensor:
    """Return μ, (groups, directions) on the processor, descending."""
    root = trace.spectrum.pinv_root if trace.folded else None
    if root is not None:
        # The non-zero values of Σ_c Σ† by one symmetric solve, instead of a factor of Σ_c and a second solve.
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
