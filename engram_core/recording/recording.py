"""What one forward pass over all concepts left behind, joined with others, written and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from torch import Tensor

from ..errors import ModelMismatchError, StorageError, suggest
from ..models.identity import ModelIdentity
from ..models.layers import LayerInfo
from ..models.usage import NEVER_CALLED
from ..numerics.precision import exactly
from ..storing.tensors import check_json, read_tensors, write_tensors
from .probes import Probe, probes_from, probes_state
from .statistics import Source, Statistics

__all__ = ["Recording"]


@dataclass
class Recording:
    """What one forward pass over all concepts left behind.

    Attributes:
        concepts: names of the concepts, in order (without the background).
        sources: the distinct row streams.
        source_of: index into `sources` for every recorded layer, in forward order.
        counts: number of inputs per concept (and of the background).
        layers: coverage of the whole model, with reasons for what is skipped.
        identity: the model this was made from.
        about: what its file carries besides (texts, settings); yours to fill, as JSON can hold it.
        probes: a few of the inputs, on which edits are shown to act.
    """

    concepts: tuple[str, ...]
    sources: list[Source]
    source_of: dict[str, int]
    counts: dict[str, int]
    layers: list[LayerInfo]
    identity: ModelIdentity
    about: dict[str, Any] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()

    def rows(self, layer: str, concept: str) -> int:
        """Return how many rows `concept` put into `layer`."""
        if layer not in self.source_of:
            raise suggest("layer", layer, self.source_of)
        statistics = self.sources[self.source_of[layer]].statistics.get(concept)
        return 0 if statistics is None else statistics.count

    @property
    def nbytes(self) -> int:
        """Bytes that the statistics take."""
        return sum(s.nbytes for source in self.sources for s in source.statistics.values())

    @exactly
    def merge(self, other: Recording) -> Recording:
        """Return the recording of both inputs together; neither is changed.

        Concepts of one name are joined. Equal to recording both in one pass. So is what they carry in
        `about`; where both say something else under one key, this recording's word stands.

        Raises:
            ModelMismatchError: if the two come from different models or layers.
        """
        if self.identity.digest != other.identity.digest:
            raise ModelMismatchError("The two recordings come from different models; they cannot be merged.")
        layers = list(dict.fromkeys((*self.source_of, *other.source_of)))
        different = [n for n in layers if not (self._was_recorded(n) and other._was_recorded(n))]
        if different:
            raise ModelMismatchError(
                f"The two recordings cover different layers ({', '.join(different[:4])}). "
                "Record both with the same layers."
            )
        sources: list[Source] = []
        source_of: dict[str, int] = {}
        places: dict[tuple[int | None, int | None], int] = {}
        for layer in layers:
            # Layers that share rows in one recording but not in the other do not share them in both.
            pair = (self.source_of.get(layer), other.source_of.get(layer))
            if pair not in places:
                parts = [r.sources[i] for r, i in zip((self, other), pair, strict=True) if i is not None]
                joined = parts[0].copy()
                for part in parts[1:]:
                    for name, statistics in part.statistics.items():
                        joined.statistics_of(name).absorb(statistics)
                places[pair] = len(sources)
                sources.append(joined)
            source_of[layer] = places[pair]
        counts = dict(self.counts)
        for name, count in other.counts.items():
            counts[name] = counts.get(name, 0) + count
        concepts = tuple(dict.fromkeys((*self.concepts, *other.concepts)))
        infos = [
            theirs if mine.reason == NEVER_CALLED else mine
            for mine, theirs in zip(self.layers, other.layers, strict=True)
        ]
        return Recording(
            concepts, sources, source_of, counts, infos, self.identity, {**other.about, **self.about},
            probes=(*self.probes, *other.probes),
        )  # fmt: skip

    def _was_recorded(self, layer: str) -> bool:
        """Whether `layer` was among those to be recorded, even if no input ever reached it."""
        silent = {info.name for info in self.layers if info.reason == NEVER_CALLED}
        return layer in self.source_of or layer in silent

    # -- files ----------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what `restore` needs: tensors by name, and what JSON can hold.

        Raises:
            StorageError: if `about` holds what JSON cannot.
        """
        check_json(self.about)
        tensors: dict[str, Tensor] = {}
        sources: list[dict[str, Any]] = []
        for place, source in enumerate(self.sources):
            statistics: dict[str, Any] = {}
            for number, (name, of_concept) in enumerate(source.statistics.items()):
                parts, values = of_concept.state()
                key = f"{place}.{number}"
                tensors |= {f"{key}.{part}": tensor for part, tensor in parts.items()}
                statistics[name] = {**values, "key": key}
            sources.append({"columns": source.columns, "groups": source.groups, "statistics": statistics})
        inputs, probes = probes_state(self.probes)
        tensors |= inputs
        return tensors, {
            "kind": "recording",
            "model": self.identity.digest,
            "concepts": list(self.concepts),
            "counts": self.counts,
            "source_of": self.source_of,
            "sources": sources,
            "layers": [list(astuple(info)) for info in self.layers],
            "about": self.about,
            "probes": probes,
        }

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Recording:
        """Return a recording as `state` described it.

        Raises:
            KeyError, TypeError, AttributeError: if something is missing or wrong.
        """
        sources = []
        for entry in header["sources"]:
            source = Source(entry["columns"], entry["groups"])
            for name, values in entry["statistics"].items():
                prefix = f"{values['key']}."
                parts = {p: tensors[prefix + p] for p in ("rows", "moment", "total") if prefix + p in tensors}
                source.statistics[name] = Statistics.restore(source.groups, source.columns, parts, values)
            sources.append(source)
        return cls(
            tuple(header["concepts"]), sources, dict(header["source_of"]), dict(header["counts"]),
            [LayerInfo(*row) for row in header["layers"]], ModelIdentity(digest=header["model"]),
            dict(header.get("about") or {}),  # files of an earlier version have none
            probes_from(tensors, header.get("probes") or ()),
        )  # fmt: skip

    def save(self, path: Any) -> None:
        """Write one safetensors file: the statistics of every distinct layer input and concept.

        Raises:
            StorageError: if it cannot be written; says why, and the old file is still there.
        """
        write_tensors(path, *self.state())

    @classmethod
    def load(cls, path: Any) -> Recording:
        """Read a file written by `save`; it meets its model when it is extracted.

        Returns:
            The recording.

        Raises:
            StorageError: if the file is not a whole recording.
        """
        tensors, header = read_tensors(path, "recording")
        try:
            return cls.restore(tensors, header)
        except (KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"{path} is not a whole recording ({error!r} is missing or wrong).") from error
