"""Files: one safetensors file each, with provenance as JSON in its header. Never pickle.

A file appears whole or not at all (see `files`), and carries the hash of the model it belongs to. Reading
maps it: a tensor's numbers come from the disk when they are first used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..atlas import Atlas
from ..errors import ModelMismatchError, StorageError, suggest
from ..models.identity import ModelIdentity
from ..models.layers import LayerInfo, find_linear_maps
from ..models.view import base_of
from ..recording.kept_inputs import probes_from, probes_state
from ..recording.recording import Recording, Source
from ..recording.statistics import Statistics
from ..solving.spectrum import Sharpness, Spectrum, Trace
from .files import new_file

__all__ = [
    "load_atlas",
    "load_recording",
    "read_tensors",
    "save_atlas",
    "save_recording",
    "write_tensors",
]

FORMAT = 1
_TRIES = 100  # to read a file that others keep replacing
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


# -- one file -----------------------------------------------------------------------------------


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], about: Mapping[str, Any]
) -> None:
    """Write tensors and a JSON object to one safetensors file, whole or not at all.

    Args:
        path: where; an existing file is replaced only when the new one is complete.
        tensors: by name; copied to contiguous memory where needed.
        about: the JSON object; must have a ``"kind"``.

    Raises:
        StorageError: if it cannot be written; says why, and the old file is still there.
    """
    text = json.dumps({"format": FORMAT, **about}, ensure_ascii=False)
    ready = _apart({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    with new_file(path) as temporary:
        save_file(ready, temporary, metadata={"engram": text, "sha256": _digest(text, ready)})


def _digest(about: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash everything in a file but the numbers themselves: one wrong byte there can still be valid."""
    shapes = (f"{name}|{t.dtype}|{tuple(t.shape)}" for name, t in sorted(tensors.items()))
    return hashlib.sha256("\n".join((about, *shapes)).encode()).hexdigest()


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy what shares memory (tied weights, rows of a common history): the format refuses it."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        address = tensor.data_ptr()
        if tensor.numel() and address in seen:
            tensors[name] = tensor.clone()
        seen.add(address)
    return tensors


def read_tensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `write_tensors`.

    Args:
        path: the file.
        kind: what it must hold.

    Raises:
        StorageError: if it is missing, cut short, not ours, of another kind or a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"There is no file {path}.")
    try:
        # Header and numbers are opened one after the other; between, another file may take its place.
        for _ in range(_TRIES):
            before = _which(path)
            with safe_open(str(path), framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if _which(path) == before:
                break
        about = json.loads(header.get("engram", "null"))
    except (OSError, SafetensorError, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read ({error}): it is cut short, damaged, or no safetensors file. "
            "Make it again, or restore it from a copy."
        ) from error
    if not isinstance(about, dict) or "kind" not in about:
        raise StorageError(f"{path} is a safetensors file, but not one that Engram Explorer wrote.")
    if about["kind"] != kind:
        raise StorageError(f"{path} holds {_article(about['kind'])}; expected {_article(kind)}.")
    if about.get("format") != FORMAT:
        raise StorageError(
            f"{path} has format {about.get('format')}; this version reads format {FORMAT}. "
            "Use the version that wrote it, or make it again."
        )
    if header.get("sha256") != _digest(header["engram"], tensors):
        raise StorageError(f"{path} is damaged: its header was changed. Make it again, or restore a copy.")
    return tensors, about


def _which(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _article(kind: str) -> str:
    return f"an {kind}" if kind[:1] in "aeiou" else f"a {kind}"


def _field(path: Any, about: Mapping[str, Any], name: str) -> Any:
    if name not in about:
        raise StorageError(f"{path} lacks {name!r} in its header; it is damaged. Make it again.")
    return about[name]


def _check_json(about: Any) -> None:
    try:
        json.dumps(about)
    except (TypeError, ValueError) as error:
        raise StorageError(f"about must hold what JSON can hold: {error}.") from None


def _layer_infos(rows: Iterable[Iterable[Any]]) -> list[LayerInfo]:
    return [LayerInfo(*row) for row in rows]


def _info_rows(infos: Iterable[LayerInfo]) -> list[list[Any]]:
    return [[i.name, i.kind, i.width, i.outputs, i.covered, i.reason] for i in infos]


# -- recordings ---------------------------------------------------------------------------------


def save_recording(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Write a recording: the statistics of every distinct layer input and concept."""
    tensors: dict[str, Tensor] = {}
    sources: list[dict[str, Any]] = []
    for place, source in enumerate(recording.sources):
        groups: dict[str, Any] = {}
        for number, (name, statistics) in enumerate(source.statistics.items()):
            prefix = f"{place}.{number}"
            groups[name] = {
                "count": statistics.count,
                "dtype": str(statistics.dtype).removeprefix("torch."),
                "key": prefix,
            }
            if statistics.folded:
                assert statistics.moment is not None and statistics.total is not None
                tensors[f"{prefix}.moment"] = statistics.moment
                tensors[f"{prefix}.total"] = statistics.total
            else:
                tensors[f"{prefix}.rows"] = statistics.rows()
        sources.append({"columns": source.columns, "groups": source.groups, "statistics": groups})
    inputs, probes = probes_state(recording.probes)
    tensors |= inputs
    about = {
        "kind": "recording",
        "model": recording.identity.digest,
        "concepts": list(recording.concepts),
        "counts": recording.counts,
        "source_of": recording.source_of,
        "sources": sources,
        "layers": _info_rows(recording.layers),
        "about": recording.about,
        "probes": probes,
    }
    _check_json(about["about"])
    write_tensors(path, tensors, about)


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """Read a recording; it meets its model when it is extracted."""
    tensors, about = read_tensors(path, "recording")
    try:
        sources = []
        for entry in about["sources"]:
            source = Source(entry["columns"], entry["groups"])
            for name, group in entry["statistics"].items():
                statistics = Statistics(source.groups, source.columns, dtype=_DTYPES[group["dtype"]])
                statistics.count = group["count"]
                key = group["key"]
                if f"{key}.moment" in tensors:
                    statistics.moment = tensors[f"{key}.moment"]
                    statistics.total = tensors[f"{key}.total"]
                else:
                    statistics.chunks = [tensors[f"{key}.rows"]]
                source.statistics[name] = statistics
            sources.append(source)
        return Recording(
            tuple(about["concepts"]), sources, dict(about["source_of"]), dict(about["counts"]),
            _layer_infos(about["layers"]), ModelIdentity(digest=about["model"]),
            dict(about.get("about") or {}),  # files of an earlier version have none
            probes_from(tensors, about.get("probes") or ()),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{path} is not a whole recording ({error!r} is missing or wrong).") from error


# -- atlases ------------------------------------------------------------------------------------


def save_atlas(
    atlas: Atlas,
    path: str | os.PathLike[str],
    *,
    concepts: Iterable[str] | None = None,
    about: Mapping[str, Any] | None = None,
    totals: bool = False,
) -> None:
    """Write an atlas: rows and duals (or second moments) of its concepts, and the totals' spectra.

    Args:
        atlas: what to write.
        path: where.
        concepts: only these.
        about: what else belongs to it (its texts, how it was recorded), as JSON can hold it; `load_atlas`
            gives it back as ``atlas.about``. Default: what it already carries.
        totals: also write the rows of totals that are kept as rows, so that other concepts can be placed in
            the atlas that is read (see `Atlas.locate`).
    """
    names = list(atlas.concepts if concepts is None else concepts)
    for name in names:
        atlas[name]  # raises for an unknown one
    tensors: dict[str, Tensor] = {}
    sources: list[dict[str, Any]] = []
    places: dict[Any, int] = {}
    for layer in atlas.layers:
        key = atlas.source_key(layer)
        if key in places:
            continue
        place = places[key] = len(places)
        spectrum = atlas.spectrum(layer)
        state, solved = spectrum.state(total=totals)
        tensors |= {f"{place}.{name}": tensor for name, tensor in state.items()}
        sources.append(solved)
        for number, name in enumerate(names):
            parts = atlas.trace(layer, name).state()
            tensors |= {f"{place}.{number}.{part}": tensor for part, tensor in parts.items()}
    # No input of a concept that stays out, but for those without which some layer would never be reached.
    chosen = [p for p in atlas.probes if p.needed or set(p.concepts) <= set(names)]
    inputs, probes = probes_state(chosen)
    tensors |= inputs
    header = {
        "kind": "atlas",
        "about": dict(atlas.about if about is None else about),
        "model": atlas.identity.digest,
        "concepts": names,
        "counts": atlas.counts,
        "layers": {layer: places[atlas.source_key(layer)] for layer in atlas.layers},
        "sources": sources,
        "sharpness": {"power": atlas.sharpness.power, "clip": atlas.sharpness.clip},
        "coverage": _info_rows(atlas.coverage),
        "probes": probes,
    }
    _check_json(header["about"])
    write_tensors(path, tensors, header)


def load_atlas(path: str | os.PathLike[str], model: nn.Module) -> Atlas:
    """Read an atlas for the model it was made from.

    Raises:
        ModelMismatchError: if `model` is another one.
        StorageError: if the file is not a whole atlas.
    """
    tensors, about = read_tensors(path, "atlas")
    identity = ModelIdentity(digest=_field(path, about, "model"))
    try:
        identity.check(model)
    except ModelMismatchError as error:
        raise ModelMismatchError(f"{path} cannot be used here. {error}") from None
    model = base_of(model)  # an edited view has the base's identity, and other weights
    known = {slot.name: slot for slot in find_linear_maps(model)}
    try:
        parts: dict[str, dict[str, Tensor]] = {}
        for full, tensor in tensors.items():
            owner, _, part = full.rpartition(".")
            parts.setdefault(owner, {})[part] = tensor
        spectra = {
            place: Spectrum.restore(parts[str(place)], entry) for place, entry in enumerate(about["sources"])
        }
        traces = {
            (place, name): Trace.restore(spectrum, parts[f"{place}.{number}"])
            for number, name in enumerate(about["concepts"])
            for place, spectrum in spectra.items()
        }
        for layer in about["layers"]:
            if layer not in known:
                raise suggest("layer", layer, known)
        atlas = Atlas(
            model, concepts=about["concepts"], slots={n: known[n] for n in about["layers"]},
            key_of=about["layers"], spectra=spectra, traces=traces, counts=about["counts"],
            coverage=_layer_infos(about["coverage"]), identity=identity,
            sharpness=Sharpness(**about["sharpness"]),
            probes=probes_from(tensors, about.get("probes") or ()),
        )  # fmt: skip
        atlas.about = dict(about.get("about") or {})  # files of an earlier version have none
        return atlas
    except (KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{path} is not a whole atlas ({error!r} is missing or wrong).") from error
