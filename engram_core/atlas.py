"""Engrams: ``E_c = W Σ_c Σ†`` for every concept and layer of a model, and their arithmetic."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from .concepts.concepts import BACKGROUND
from .errors import DataError, EngramError, suggest
from .models.identity import ModelIdentity
from .models.layers import LayerInfo, LinearMap, find_linear_maps, select_layers
from .models.view import base_of
from .numerics.parallel import solve_each
from .numerics.precision import exactly, exactly_all
from .progress import Progress
from .recording.kept_inputs import Probe
from .recording.recording import Recording
from .recording.statistics import Source, Statistics
from .solving.spectrum import Sharpness, Spectrum, Trace

if TYPE_CHECKING:
    from .editing.live_edit import Scaling

__all__ = ["Atlas", "Engram", "engram_matrix", "extract"]

_DENSE_CACHE_BYTES = 512 << 20


def engram_matrix(matrix: Tensor, trace: Trace, sharpness: Sharpness, strength: float = 1.0) -> Tensor:
    """Return the dense edit ``strength · W P^f``, shape (groups, out, D), in the type of `matrix`.

    Args:
        matrix: ``[W | b]``, (groups, out, D).
        trace: the concept in the layer's source.
        sharpness: the filter on its exclusivities.
        strength: α.
    """
    if sharpness.plain and trace.folded:
        found = trace.spectrum.project(matrix, trace.moment)
        return found if strength == 1.0 else strength * found
    rows, duals, mu = trace.pair(sharpness)
    response = matrix @ rows.to(matrix.dtype).mT
    weights = strength if mu is None else sharpness.weights(mu, strength).unsqueeze(-2).to(matrix.dtype)
    return (response * weights) @ duals.to(matrix.dtype)


@exactly_all
class Atlas(Mapping[str, "Engram"]):
    """All concepts of a model: one decomposed total per distinct layer input, one engram per concept.

    Made by `extract`. Reads like a mapping: ``atlas["7"]`` is an `Engram`.

    Attributes:
        model: the base model, never written.
        concepts: names, in order.
        layers: names of the layers that hold engrams, in forward order.
        coverage: every layer of the model, with reasons for what is skipped.
        counts: number of recorded inputs per concept (and of the background).
        sharpness: the filter in force.
        identity: which model this belongs to.
        probes: a few recorded inputs, on which edits are shown to act.
        about: what its file carries besides (texts, settings); yours to fill, see `storage.save_atlas`.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        concepts: Iterable[str],
        slots: Mapping[str, LinearMap],
        key_of: Mapping[str, Any],
        spectra: Mapping[Any, Spectrum],
        traces: Mapping[tuple[Any, str], Trace],
        counts: Mapping[str, int],
        coverage: list[LayerInfo],
        identity: ModelIdentity,
        sharpness: Sharpness | None = None,
        probes: Iterable[Probe] = (),
    ):
        self.model = model
        self.concepts = tuple(concepts)
        self.slots = dict(slots)
        self.layers = list(self.slots)
        self.counts = dict(counts)
        self.coverage = coverage
        self.identity = identity
        self.sharpness = sharpness or Sharpness()
        self.probes = tuple(probes)
        self.about: dict[str, Any] = {}
        self._key_of = dict(key_of)
        self._spectra = dict(spectra)
        self._traces = dict(traces)
        self._dense: OrderedDict[tuple[str, str, Sharpness, float], Tensor] = OrderedDict()
        self._weight_norms: dict[str, float] = {}
        # W Fᵀ of layers that are edited at their output: the same for every view, so kept with the engrams.
        self.lefts: dict[tuple[str, str], Tensor] = {}
        self._lock = threading.Lock()

    # A Mapping compares by content; an atlas is one object, usable as a key.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    # -- mapping --------------------------------------------------------------------------------

    def __getitem__(self, concept: str) -> Engram:
        if concept not in self.concepts:
            raise suggest("concept", concept, self.concepts)
        return Engram(self, {concept: 1.0})

    def __contains__(self, concept: object) -> bool:
        return concept in self.concepts

    def __iter__(self) -> Iterator[str]:
        return iter(self.concepts)

    def __len__(self) -> int:
        return len(self.concepts)

    def __repr__(self) -> str:
        return f"Atlas({len(self.concepts)} concepts × {len(self.layers)} layers, {self.sharpness})"

    # -- the parts ------------------------------------------------------------------------------

    def slot(self, layer: str) -> LinearMap:
        """Return the slot of a layer; unknown names raise with the nearest known ones."""
        if layer not in self.slots:
            raise suggest("layer", layer, self.slots)
        return self.slots[layer]

    def spectrum(self, layer: str) -> Spectrum:
        """Return the decomposed total that a layer reads (shared by layers with one input)."""
        self.slot(layer)
        return self._spectra[self._key_of[layer]]

    def source_key(self, layer: str) -> Any:
        """Return a key that is equal for layers that read the same rows."""
        self.slot(layer)
        return self._key_of[layer]

    def trace(self, layer: str, concept: str) -> Trace:
        """Return a concept's trace in the rows that a layer reads."""
        self.slot(layer)
        if concept not in self.concepts:
            raise suggest("concept", concept, self.concepts)
        return self._traces[self._key_of[layer], concept]

    def matrix(self, layer: str) -> Tensor:
        """Return ``[W | b]`` of a layer, (groups, out, D)."""
        return self.slot(layer).matrix(self.model)

    def weight_norm(self, layer: str) -> float:
        """Return ``‖W‖`` of a layer, bias column included."""
        if layer not in self._weight_norms:
            self._weight_norms[layer] = float(torch.linalg.vector_norm(self.matrix(layer)))
        return self._weight_norms[layer]

    def dense(self, layer: str, concept: str, strength: float = 1.0) -> Tensor:
        """Return ``strength · E_c`` of a layer as a dense matrix (groups, out, D); kept while room lasts."""
        scalar = self.sharpness.plain or not self.sharpness.clip
        unit = 1.0 if scalar else strength
        key = (layer, concept, self.sharpness, unit)
        with self._lock:
            found = self._dense.get(key)
            if found is not None:
                self._dense.move_to_end(key)
        if found is None:
            found = engram_matrix(self.matrix(layer), self.trace(layer, concept), self.sharpness, unit)
            with self._lock:
                self._dense[key] = found
                held = sum(t.numel() * t.element_size() for t in self._dense.values())
                while held > _DENSE_CACHE_BYTES and len(self._dense) > 1:
                    _, dropped = self._dense.popitem(last=False)
                    held -= dropped.numel() * dropped.element_size()
        return found if not scalar or strength == 1.0 else found * strength

    def select(
        self, layers: str | Iterable[str] | None = None, blocks: Iterable[int] | None = None
    ) -> list[str]:
        """Return the names of chosen layers (see `layers.select_layers`)."""
        return select_layers(self.layers, layers, blocks)

    @property
    def nbytes(self) -> int:
        """Bytes held by the traces."""
        return sum(t.nbytes for t in self._traces.values())

    # -- variants -------------------------------------------------------------------------------

    def sharpen(self, power: float = 1.0, *, clip: bool = False) -> Atlas:
        """Return this atlas under another sharpness; nothing is solved again (docs/science.md section 5)."""
        other = Atlas(
            self.model, concepts=self.concepts, slots=self.slots, key_of=self._key_of,
            spectra=self._spectra, traces=self._traces, counts=self.counts, coverage=self.coverage,
            identity=self.identity, sharpness=Sharpness(power, clip), probes=self.probes,
        )  # fmt: skip
        other.about, other.lefts = self.about, self.lefts  # rows do not depend on the sharpness
        return other

    def locate(self, recording: Recording, *, layers: str | Iterable[str] | None = None) -> Atlas:
        """Return an atlas of other concepts against **this** total, which must contain them.

        For targets that are parts or regroupings of what was recorded, e.g. a random subset.

        Args:
            recording: of these concepts.
            layers: which layers the new atlas has (see `layers.select_layers`); default all.

        Raises:
            ConceptOutsideTotalError: if a concept is not part of this total.
        """
        recording.identity.check(self.model)
        key_of, spectra, traces = {}, {}, {}
        slots = {layer: self.slots[layer] for layer in self.select(layers)}
        for layer in slots:
            if layer not in recording.source_of and not self.slots[layer].routed:
                raise suggest("recorded layer", layer, recording.source_of)
            place = recording.source_of.get(layer)  # None: no token of these was sent to this expert
            key = (self._key_of[layer], place)
            key_of[layer] = key
            if key in spectra:
                continue
            spectra[key] = spectrum = self._spectra[self._key_of[layer]]
            for name in recording.concepts:
                slot = self.slots[layer]
                source = Source(slot.columns, slot.groups) if place is None else recording.sources[place]
                statistics = source.of(name)
                try:
                    traces[key, name] = spectrum.foreign_trace(name, statistics)
                except EngramError as error:
                    raise type(error)(f"Layer {layer!r}: {error}") from None
        other = Atlas(
            self.model, concepts=recording.concepts, slots=slots, key_of=key_of, spectra=spectra,
            traces=traces, counts=recording.counts, coverage=self.coverage, identity=self.identity,
            sharpness=self.sharpness, probes=(*recording.probes, *self.probes),
        )  # fmt: skip
        other.about = {**self.about, **recording.about}
        return other

    # -- editing and files ----------------------------------------------------------------------

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
        from .editing.live_edit import Edit, apply_edit

        edit = Edit.of(
            self, erase=erase, keep=keep, null=null, scaling=scaling, adaptive_power=adaptive_power,
            layers=layers, blocks=blocks,
        )  # fmt: skip
        return apply_edit(self, edit, model)

    def save(
        self, path: Any, *, concepts: Iterable[str] | None = None, about: Mapping[str, Any] | None = None
    ) -> None:
        """Write one safetensors file; see `storage.save_atlas`."""
        from .storing.tensors import save_atlas

        save_atlas(self, path, concepts=concepts, about=about)

    @staticmethod
    def load(path: Any, model: nn.Module) -> Atlas:
        """Read a file written by `save`; refuses a model it was not made from."""
        from .storing.tensors import load_atlas

        return load_atlas(path, model)

    # -- tables ---------------------------------------------------------------------------------

    def energy(self, layers: Iterable[str] | None = None) -> pd.DataFrame:
        """Return how large each engram is: layer, concept, norm ``‖E‖``, relative ``‖E‖/‖W‖``, rank."""
        from .solving.tables import size_table

        return size_table(self, layers=layers)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before reading anything off these engrams, in sentences; mostly nothing."""
        layers: dict[Any, list[str]] = {}
        for layer in self.layers:
            layers.setdefault(self._key_of[layer], []).append(layer)
        found = []
        for key, names in layers.items():
            dominated = self._spectra[key].dominated()
            if dominated is None:
                continue
            kept, real, times = dominated
            more = f" (and {len(names) - 1} more that read the same)" if len(names) > 1 else ""
            found.append(
                f"Layer {names[0]!r}{more}: the cut keeps {kept} of {real:,} directions. The strongest is "
                f"{times:,.0f} times as strong as the first that is left out, as a few rows far longer than "
                "the others make it, and engrams here know only the strongest. Look for such rows, or set a "
                "smaller cut=."
            )
        return tuple(found)

    def certificates(self, layers: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the leak certificate of every layer and concept; see `layer_tables.layer_table`."""
        from .solving.tables import certificate_table

        return certificate_table(self, layers=layers)

    def exclusivity(self, layers: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the exclusivity spectrum; see `layer_tables.exclusivity_table`."""
        from .solving.tables import exclusivity_table

        return exclusivity_table(self, layers=layers)

    def spectra(self, layers: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the total's spectrum: layer, group, index, eigenvalue, kept (by the cut)."""
        frames = []
        for layer in self.layers if layers is None else layers:
            spectrum = self.spectrum(layer)
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


@exactly_all
class Engram:
    """A linear combination of the concepts of one atlas: adds, subtracts and scales like a vector."""

    def __init__(self, atlas: Atlas, coefficients: Mapping[str, float]):
        self.atlas = atlas
        self.coefficients = {name: float(value) for name, value in coefficients.items()}

    def __repr__(self) -> str:
        terms = " + ".join(f"{value:g}·{name!r}" for name, value in self.coefficients.items())
        return f"Engram({terms or '0'})"

    @property
    def layers(self) -> list[str]:
        """Names of the layers it has, in forward order."""
        return self.atlas.layers

    def __add__(self, other: Engram) -> Engram:
        if not isinstance(other, Engram):
            return NotImplemented
        if other.atlas is not self.atlas:
            raise EngramError(
                "Engrams of two atlases do not add: they were taken against different totals. "
                "Record all concepts together and extract them once."
            )
        names = [*self.coefficients, *(n for n in other.coefficients if n not in self.coefficients)]
        return Engram(
            self.atlas, {n: self.coefficients.get(n, 0.0) + other.coefficients.get(n, 0.0) for n in names}
        )

    def __mul__(self, factor: float) -> Engram:
        return Engram(self.atlas, {n: v * float(factor) for n, v in self.coefficients.items()})

    __rmul__ = __mul__

    def __neg__(self) -> Engram:
        return self * -1.0

    def __sub__(self, other: Engram) -> Engram:
        return self + -other if isinstance(other, Engram) else NotImplemented

    def matrix(self, layer: str) -> Tensor:
        """Return the engram with its bias column, (groups, out, D)."""
        self.atlas.slot(layer)
        total: Tensor | None = None
        for concept, strength in self.coefficients.items():
            part = self.atlas.dense(layer, concept, strength)
            total = part.clone() if total is None else total + part  # the part itself is kept by the atlas
        return torch.zeros_like(self.atlas.matrix(layer)) if total is None else total

    def weight(self, layer: str) -> Tensor:
        """Return the dense ΔW in the shape of the layer's ``.weight`` (of its part, in attention)."""
        return self.atlas.slot(layer).split(self.matrix(layer))[0]

    def bias(self, layer: str) -> Tensor | None:
        """Return the bias part, shape (out,), or None if the layer has no bias."""
        return self.atlas.slot(layer).split(self.matrix(layer))[1]

    def factors(self, layer: str) -> tuple[Tensor, Tensor]:
        """Return ``(left, right)`` with ``left @ right`` the engram, bias column included.

        Shapes (out, r) and (r, in); for grouped convolutions stacks (groups, out / groups, r) and
        (groups, r, in). Where the dense matrix is the smaller form, one factor is an identity.
        """
        lefts, rights = [], []
        matrix = self.atlas.matrix(layer)
        sharpness = self.atlas.sharpness
        for concept, strength in self.coefficients.items():
            trace = self.atlas.trace(layer, concept)
            if trace.folded and sharpness.plain:
                dense = self.atlas.dense(layer, concept, strength)
                wide = dense.shape[-2] > dense.shape[-1]
                eye = torch.eye(min(dense.shape[-2:]), dtype=dense.dtype, device=dense.device)
                eye = eye.expand(dense.shape[0], -1, -1)
                left, right = (dense, eye) if wide else (eye, dense)
            else:
                rows, right, mu = trace.pair(sharpness)
                weights = strength if mu is None else sharpness.weights(mu, strength).unsqueeze(-2)
                left = (matrix @ rows.to(matrix.dtype).mT) * weights
                left, right = left.to(matrix.dtype), right.to(matrix.dtype)
            lefts.append(left)
            rights.append(right)
        if not lefts:
            raise DataError("An engram of no concept has no factors.")
        left, right = torch.cat(lefts, -1), torch.cat(rights, -2)
        return (left[0], right[0]) if left.shape[0] == 1 else (left, right)

    def norm(self, layer: str) -> float:
        """Return the Frobenius norm ``‖E‖`` in a layer, bias column included."""
        left, right = (t if t.ndim == 3 else t.unsqueeze(0) for t in self._small_factors(layer))
        if left is right:  # a dense matrix given as such
            return float(torch.linalg.vector_norm(left))
        gram = (left.double().mT @ left.double()) * (right.double() @ right.double().mT)
        return float(gram.sum().clamp(min=0).sqrt())

    def _small_factors(self, layer: str) -> tuple[Tensor, Tensor]:
        """Return the factors, or the dense matrix twice where that is the smaller form."""
        slot = self.atlas.slot(layer)
        rank = 0
        for concept in self.coefficients:
            trace = self.atlas.trace(layer, concept)
            rank += slot.width if trace.folded else trace.rows.shape[-2]
        out = slot.outputs // slot.groups
        if rank * (out + slot.width) >= out * slot.width:
            dense = self.matrix(layer)
            return dense, dense
        return self.factors(layer)

    def rank(self, layer: str) -> int:
        """Return an upper bound of the engram's rank in a layer, as its numbers of rows allow."""
        slot = self.atlas.slot(layer)
        bound = 0
        for concept in self.coefficients:
            trace = self.atlas.trace(layer, concept)
            bound += min(slot.width, int(trace.spectrum.rank.max())) if trace.folded else trace.rows.shape[-2]
        return min(bound, slot.width, slot.outputs // slot.groups)


def _check_concepts(concepts: Iterable[str], known: Iterable[str]) -> None:
    for name in concepts:
        if name not in known:
            raise suggest("concept", name, known)


def _side(source: Source, bias: bool) -> int:
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
        concepts: only these; default all.
        cut: eigenvalues at or below ``cut · λ_max`` count as zero; default `spectrum.default_cut`.
        sharpness: the power of the filter, or a `Sharpness`.
        layers: which layers (see `layers.select_layers`).
        blocks: only layers whose first number in the path is one of these.
        progress: called with (done, total, text) after every solve.

    Raises:
        ModelMismatchError: if the recording is of another model, or the model changed since.
        ConceptOutsideTotalError: if `total` does not contain a concept.
        NonFiniteError, CoverageError, UnknownNameError: as their names say.
    """
    model = base_of(model)
    recording.identity.check(model)
    names = recording.concepts if concepts is None else tuple(concepts)
    _check_concepts(names, recording.concepts)
    sharp = sharpness if isinstance(sharpness, Sharpness) else Sharpness(float(sharpness))
    slots = {slot.name: slot for slot in find_linear_maps(model)}
    chosen = select_layers(recording.source_of, layers, blocks)
    whole = recording if total is None else total
    if total is not None:
        total.identity.check(model)
    key_of: dict[str, Any] = {}
    for layer in chosen:
        if layer not in whole.source_of:
            raise suggest("recorded layer", layer, whole.source_of)
        key_of[layer] = (recording.source_of[layer], whole.source_of[layer], slots[layer].bias)
    readers = {key: layer for layer, key in reversed(key_of.items())}  # the first layer that reads it

    def solve(key: Any) -> tuple[Spectrum, dict[str, Trace]]:
        mine, theirs, bias = key
        source, layer = recording.sources[mine], readers[key]
        try:
            # An expert may well be sent a single token; what it then holds is that token's alone.
            least = 1 if slots[layer].routed else 2
            spectrum = Spectrum(whole.sources[theirs].statistics, bias=bias, cut=cut, least=least)
            find = spectrum.trace if total is None else spectrum.foreign_trace
            nothing = Statistics(source.groups, source.columns)
            own = {name: find(name, source.statistics.get(name, nothing)) for name in names}
            spectrum.let_go()
        except EngramError as error:
            raise type(error)(f"Layer {layer!r}: {error}") from None
        return spectrum, own

    solved = 0

    def told(key: Any) -> None:
        nonlocal solved
        solved += 1
        if progress is not None:
            progress(solved, len(keys), f"solving {readers[key]}")

    keys = list(dict.fromkeys(key_of.values()))
    found = solve_each(solve, keys, [_side(whole.sources[k[1]], k[2]) for k in keys], told)
    spectra = {key: spectrum for key, (spectrum, _) in found.items()}
    traces = {(key, name): trace for key, (_, own) in found.items() for name, trace in own.items()}
    return Atlas(
        model, concepts=names, slots={name: slots[name] for name in chosen}, key_of=key_of, spectra=spectra,
        traces=traces, counts={n: recording.counts[n] for n in (*names, BACKGROUND) if n in recording.counts},
        coverage=recording.layers, identity=recording.identity, sharpness=sharp,
        probes=recording.probes,
    )  # fmt: skip
