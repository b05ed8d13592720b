"""The atlas that edits: engrams ``E_c = W Σ_c Σ†`` of every concept and layer, applied, saved and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from torch import nn

from .concepts.concepts import BACKGROUND
from .editing.edit import Edit, Scaling
from .editing.live_edit import apply_edit
from .errors import CoverageError, EngramError, suggest
from .models.layers import find_linear_maps, select_layers
from .models.pretrained import Pretrained
from .models.view import base_of
from .numerics.parallel import solve_each
from .numerics.precision import exactly, exactly_all
from .progress import Progress
from .recording.recording import Recording
from .recording.statistics import Source, Statistics
from .solving.atlas_state import atlas_state, restored_parts
from .solving.engram import Engram
from .solving.filters import Sharpness
from .solving.solved import SolvedAtlas
from .solving.spectrum import Spectrum
from .solving.trace import Trace
from .storing.tensors import read_tensors, write_tensors

__all__ = ["Atlas", "Engram", "extract"]


@exactly_all
class Atlas(SolvedAtlas):
    """All concepts of a model, made by `extract`: reads like a mapping, edits, and is kept in a file.

    ``atlas["7"]`` is an `Engram`. See `SolvedAtlas` for its attributes.
    """

    def apply(
        self,
        model: nn.Module | None = None,
        *,
        erase: Mapping[str, float] | Iterable[str] | str | None = None,
        keep: Mapping[str, float] | Iterable[str] | str | None = None,
        null: str = "nothing",
        scaling: Scaling = "plain",
        adaptive_power: float = 1.0,
        layers: str | Iterable[str] | None = None,
        blocks: Iterable[int] | None = None,
    ) -> nn.Module:
        """Return an edited view of `model` (default: the model of this atlas); see `editing.Edit`."""
        edit = Edit.of(
            self, erase=erase, keep=keep, null=null, scaling=scaling, adaptive_power=adaptive_power,
            layers=layers, blocks=blocks,
        )  # fmt: skip
        return apply_edit(self, edit, model)

    def save(
        self,
        path: Any,
        *,
        concepts: Iterable[str] | None = None,
        about: Mapping[str, Any] | None = None,
        totals: bool = False,
    ) -> None:
        """Write one safetensors file: the concepts' rows and duals, or moments, and the totals' spectra.

        Args:
            path: where.
            concepts: only these.
            about: what else belongs to it (its texts, how it was recorded), as JSON can hold it; `load`
                gives it back as ``atlas.about``. Default: what it already carries.
            totals: also write the rows of totals that are kept as rows, so that other concepts can be placed
                in the atlas that is read (see `locate`).

        Raises:
            StorageError: if it cannot be written; says why, and the old file is still there.
            UnknownNameError: for a concept that it does not have.
        """
        write_tensors(path, *atlas_state(self, concepts=concepts, about=about, totals=totals))

    @classmethod
    def load(cls, path: Any, model: nn.Module, *, base: nn.Module | None = None) -> Self:
        """Read a file written by `save`, for the model it was made from.

        Args:
            path: of the file.
            model: what was recorded.
            base: what it was fine-tuned from, if these are the engrams of a fine-tune.

        Returns:
            The engrams, bound to the model.

        Raises:
            ModelMismatchError: if `model` or `base` is another one, or `base` is missing or one too many.
            StorageError: if the file is not a whole atlas.
        """
        parts, about = restored_parts(path, *read_tensors(path, "atlas"), model, base)
        atlas = cls(base_of(model), **parts)
        atlas.about = about
        return atlas


def _check_concepts(concepts: Iterable[str], known: Iterable[str]) -> None:
    for name in concepts:
        if name not in known:
            raise suggest("concept", name, known)


def _rows_decomposed(source: Source, bias: bool) -> int:
    """Return how many rows the matrix has that is decomposed for a source; 0 if that is not on the CPU."""
    held = [t for s in source.statistics.values() for t in (*s.chunks[:1], s.moment) if t is not None]
    if any(t.device.type != "cpu" for t in held):
        return 0
    width = source.columns + bias
    folded = any(s.folded for s in source.statistics.values())
    return width if folded else min(width, source.count)


@exactly
def extract(
    model: nn.Module,
    recording: Recording,
    *,
    total: Recording | None = None,
    base: nn.Module | None = None,
    concepts: Iterable[str] | None = None,
    cut: float | None = None,
    sharpness: float | Sharpness = 1.0,
    layers: str | Iterable[str] | None = None,
    blocks: Iterable[int] | None = None,
    progress: Progress | None = None,
) -> Atlas:
    """Solve every distinct layer input once and return the engrams of all concepts.

    Args:
        model: the recorded model.
        recording: the concepts (and, unless `total` is given, the total).
        total: take the total from this recording instead; it must contain every concept.
        base: the model that `model` was fine-tuned from. The engrams are then parts of what the fine-tune
            wrote, ``ΔW = W₁ − W₀`` in the place of ``W``, of the layers that it changed
            (docs/science.md section 10).
        concepts: only these; default all.
        cut: eigenvalues at or below ``cut · λ_max`` count as zero; default `filters.default_cut`.
        sharpness: the power of the filter, or a `Sharpness`.
        layers: which layers (see `layers.select_layers`).
        blocks: only layers whose first number in the path is one of these.
        progress: called with (done, total, text) after every solve.

    Returns:
        One engram per concept, of every covered layer.

    Raises:
        ModelMismatchError: if the recording is of another model, or the model changed since, or `base` is of
            another architecture.
        ConceptOutsideTotalError: if `total` does not contain a concept.
        NonFiniteError, CoverageError, UnknownNameError: as their names say.
    """
    model = base_of(model)
    recording.identity.check(model)
    names = recording.concepts if concepts is None else tuple(concepts)
    _check_concepts(names, recording.concepts)
    sharp = sharpness if isinstance(sharpness, Sharpness) else Sharpness(float(sharpness))
    linear_maps = {linear_map.name: linear_map for linear_map in find_linear_maps(model)}
    pretrained = None if base is None else Pretrained(model, base)
    chosen = select_layers(recording.source_of, layers, blocks)
    if pretrained is not None:
        unwritten = [layer for layer in chosen if layer not in pretrained.written]
        chosen = [layer for layer in chosen if layer in pretrained.written]
        if not chosen:
            raise CoverageError(
                f"The fine-tune changed none of the chosen layers ({', '.join(unwritten[:4])}"
                f"{' …' if len(unwritten) > 4 else ''}). It changed: {', '.join(pretrained.written[:12])}."
            )
    whole = recording if total is None else total
    if total is not None:
        total.identity.check(model)
    key_of: dict[str, Any] = {}
    for layer in chosen:
        if layer not in whole.source_of:
            raise suggest("recorded layer", layer, whole.source_of)
        key_of[layer] = (recording.source_of[layer], whole.source_of[layer], linear_maps[layer].bias)
    readers = {key: layer for layer, key in reversed(key_of.items())}  # the first layer that reads it

    def solve(key: Any) -> tuple[Spectrum, dict[str, Trace]]:
        of_concepts, of_total, bias = key
        source, layer = recording.sources[of_concepts], readers[key]
        try:
            # An expert may well be sent a single token; what it then holds is that token's alone.
            least = 1 if linear_maps[layer].routed else 2
            spectrum = Spectrum(whole.sources[of_total].statistics, bias=bias, cut=cut, least=least)
            find = spectrum.trace if total is None else spectrum.foreign_trace
            nothing = Statistics(source.groups, source.columns)
            traces = {name: find(name, source.statistics.get(name, nothing)) for name in names}
            spectrum.let_go()
        except EngramError as error:
            raise type(error)(f"Layer {layer!r}: {error}") from None
        return spectrum, traces

    solved = 0

    def report(key: Any) -> None:
        nonlocal solved
        solved += 1
        if progress is not None:
            progress(solved, len(keys), f"solving {readers[key]}")

    keys = list(dict.fromkeys(key_of.values()))
    found = solve_each(solve, keys, [_rows_decomposed(whole.sources[k[1]], k[2]) for k in keys], report)
    spectra = {key: spectrum for key, (spectrum, _) in found.items()}
    traces = {(key, name): trace for key, (_, each) in found.items() for name, trace in each.items()}
    return Atlas(
        model, concepts=names, linear_maps={name: linear_maps[name] for name in chosen}, key_of=key_of,
        spectra=spectra, traces=traces,
        counts={n: recording.counts[n] for n in (*names, BACKGROUND) if n in recording.counts},
        coverage=recording.layers, identity=recording.identity, sharpness=sharp,
        probes=recording.probes, pretrained=pretrained,
    )  # fmt: skip
