"""The atlas without editing: one decomposed total per distinct layer input, one engram per concept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import pandas as pd
import torch
from torch import Tensor, nn

from ..errors import EngramError, suggest
from ..models.identity import ModelIdentity
from ..models.layers import LayerInfo, LinearMap, select_layers
from ..models.pretrained import Pretrained
from ..numerics.precision import exactly_all
from ..recording.probes import Probe
from ..recording.recording import Recording
from ..recording.statistics import Source
from .engram import Engram, engram_matrix
from .filters import Sharpness
from .spectrum import Spectrum
from .tables import certificate_table, exclusivity_table, size_table, spectrum_table
from .tensor_cache import TensorCache
from .trace import Trace

__all__ = ["SolvedAtlas"]


@exactly_all
class SolvedAtlas(Mapping[str, "Engram"]):
    """All concepts of a model: one decomposed total per distinct layer input, one engram per concept.

    Reads like a mapping: ``atlas["7"]`` is an `Engram`. `atlas.Atlas`, which `extract` makes, can edit, too.

    Attributes:
        model: the base model, never written.
        concepts: names, in order.
        layers: names of the layers that hold engrams, in forward order.
        coverage: every layer of the model, with reasons for what is skipped.
        counts: number of recorded inputs per concept (and of the background).
        sharpness: the filter in force.
        identity: which model this belongs to.
        probes: a few recorded inputs, on which edits are shown to act.
        pretrained: what the model was fine-tuned from, if the engrams are those of the fine-tune, so that
            ``ΔW = W₁ − W₀`` stands in the place of ``W`` (docs/science.md section 10); else None.
        about: what its file carries besides (texts, settings); yours to fill, as JSON can hold it.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        concepts: Iterable[str],
        linear_maps: Mapping[str, LinearMap],
        key_of: Mapping[str, Any],
        spectra: Mapping[Any, Spectrum],
        traces: Mapping[tuple[Any, str], Trace],
        counts: Mapping[str, int],
        coverage: list[LayerInfo],
        identity: ModelIdentity,
        sharpness: Sharpness | None = None,
        probes: Iterable[Probe] = (),
        cache: TensorCache | None = None,
        pretrained: Pretrained | None = None,
    ):
        self.model = model
        self.concepts = tuple(concepts)
        self.linear_maps = dict(linear_maps)
        self.layers = list(self.linear_maps)
        self.counts = dict(counts)
        self.coverage = coverage
        self.identity = identity
        self.sharpness = sharpness or Sharpness()
        self.probes = tuple(probes)
        self.pretrained = pretrained
        self.about: dict[str, Any] = {}
        self._key_of = dict(key_of)
        self._spectra = dict(spectra)
        self._traces = dict(traces)
        self._weight_norms: dict[str, float] = {}
        self._cache = cache or TensorCache()

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
        size = f"{len(self.concepts)} concepts × {len(self.layers)} layers"
        return f"{type(self).__name__}({size}, {self.sharpness})"

    # -- the parts ------------------------------------------------------------------------------

    def linear_map(self, layer: str) -> LinearMap:
        """Return the linear map of a layer; unknown names raise with the nearest known ones."""
        if layer not in self.linear_maps:
            raise suggest("layer", layer, self.linear_maps)
        return self.linear_maps[layer]

    def spectrum(self, layer: str) -> Spectrum:
        """Return the decomposed total that a layer reads (shared by layers with one input)."""
        self.linear_map(layer)
        return self._spectra[self._key_of[layer]]

    def source_key(self, layer: str) -> Any:
        """Return a key that is equal for layers that read the same rows."""
        self.linear_map(layer)
        return self._key_of[layer]

    def trace(self, layer: str, concept: str) -> Trace:
        """Return a concept's trace in the rows that a layer reads."""
        self.linear_map(layer)
        if concept not in self.concepts:
            raise suggest("concept", concept, self.concepts)
        return self._traces[self._key_of[layer], concept]

    def weights(self, layer: str) -> Tensor:
        """Return the model's own ``[W | b]`` of a layer, (groups, out, D)."""
        return self.linear_map(layer).matrix(self.model)

    def matrix(self, layer: str) -> Tensor:
        """Return what the engrams are parts of, (groups, out, D): ``[W | b]``, or what a fine-tune wrote."""
        if self.pretrained is None:
            return self.weights(layer)
        self.linear_map(layer)
        return self.pretrained.change(layer)

    def rest(self, layer: str) -> Tensor:
        """Return what is left without any of `matrix`, (groups, out, D): zeros, or the pretrained weights."""
        weights = self.weights(layer)
        if self.pretrained is None:
            return torch.zeros_like(weights)
        return self.pretrained.matrix(layer).to(weights)

    def weight_norm(self, layer: str) -> float:
        """Return ``‖W‖`` of a layer of the model, bias column included."""
        if layer not in self._weight_norms:
            self._weight_norms[layer] = float(torch.linalg.vector_norm(self.weights(layer)))
        return self._weight_norms[layer]

    def dense(self, layer: str, concept: str, strength: float = 1.0) -> Tensor:
        """Return ``strength · E_c`` of a layer as a dense matrix (groups, out, D); kept while room lasts."""
        scalar = self.sharpness.plain or not self.sharpness.clip
        unit = 1.0 if scalar else strength
        found = self._cache.get(
            ("dense", layer, concept, self.sharpness, unit),
            lambda: engram_matrix(self.matrix(layer), self.trace(layer, concept), self.sharpness, unit),
        )
        return found if not scalar or strength == 1.0 else found * strength

    def left(self, layer: str, concept: str, like: Tensor) -> Tensor:
        """Return ``F Wᵀ`` of a layer without groups, (r, out), typed as `like`; kept while room lasts."""
        # The rows of a sharpened engram stand in the basis of its exclusivities, whatever the power.
        key = ("left", layer, concept, self.sharpness.plain, like.dtype, like.device)

        def make() -> Tensor:
            rows = self.trace(layer, concept).pair(self.sharpness)[0][0].to(like)
            return rows @ self.matrix(layer)[0].to(rows).mT

        return self._cache.get(key, make)

    def select(
        self, layers: str | Iterable[str] | None = None, blocks: Iterable[int] | None = None
    ) -> list[str]:
        """Return the names of chosen layers (see `layers.select_layers`)."""
        return select_layers(self.layers, layers, blocks)

    @property
    def nbytes(self) -> int:
        """Bytes held by the traces, and by what was made of them and is kept while room lasts."""
        return sum(trace.nbytes for trace in self._traces.values()) + self._cache.nbytes

    # -- variants -------------------------------------------------------------------------------

    def sharpen(self, power: float | Sharpness = 1.0, *, clip: bool = False, gain: float = 1.0) -> Self:
        """Return this atlas under another filter; nothing is solved again (docs/science.md section 5).

        Args:
            power: of the filter, or the whole filter.
            clip: as in `Sharpness`.
            gain: as in `Sharpness`.
        """
        sharpness = power if isinstance(power, Sharpness) else Sharpness(power, clip, gain)
        other = type(self)(
            self.model, concepts=self.concepts, linear_maps=self.linear_maps, key_of=self._key_of,
            spectra=self._spectra, traces=self._traces, counts=self.counts, coverage=self.coverage,
            identity=self.identity, sharpness=sharpness, probes=self.probes, cache=self._cache,
            pretrained=self.pretrained,
        )  # fmt: skip
        other.about = self.about
        return other

    def locate(self, recording: Recording, *, layers: str | Iterable[str] | None = None) -> Self:
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
        linear_maps = {layer: self.linear_maps[layer] for layer in self.select(layers)}
        for layer in linear_maps:
            if layer not in recording.source_of and not self.linear_maps[layer].routed:
                raise suggest("recorded layer", layer, recording.source_of)
            place = recording.source_of.get(layer)  # None: no token of these was sent to this expert
            key = (self._key_of[layer], place)
            key_of[layer] = key
            if key in spectra:
                continue
            spectra[key] = spectrum = self._spectra[self._key_of[layer]]
            for name in recording.concepts:
                linear_map = self.linear_maps[layer]
                source = (
                    Source(linear_map.columns, linear_map.groups)
                    if place is None
                    else recording.sources[place]
                )
                statistics = source.statistics_of(name)
                try:
                    traces[key, name] = spectrum.foreign_trace(name, statistics)
                except EngramError as error:
                    raise type(error)(f"Layer {layer!r}: {error}") from None
        other = type(self)(
            self.model, concepts=recording.concepts, linear_maps=linear_maps, key_of=key_of, spectra=spectra,
            traces=traces, counts=recording.counts, coverage=self.coverage, identity=self.identity,
            sharpness=self.sharpness, probes=(*recording.probes, *self.probes), pretrained=self.pretrained,
        )  # fmt: skip
        other.about = {**self.about, **recording.about}
        return other

    # -- tables ---------------------------------------------------------------------------------

    def energy(self, layers: Iterable[str] | None = None) -> pd.DataFrame:
        """Return how large each engram is: layer, concept, norm ``‖E‖``, relative ``‖E‖/‖W‖``, rank."""
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
        """Return the leak certificate of every layer and concept; see `tables.layer_table`."""
        return certificate_table(self, layers=layers)

    def exclusivity(self, layers: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the exclusivity spectrum; see `tables.exclusivity_table`."""
        return exclusivity_table(self, layers=layers)

    def spectra(self, layers: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the total's spectrum: layer, group, index, eigenvalue, kept (by the cut)."""
        return spectrum_table(self, layers=layers)
