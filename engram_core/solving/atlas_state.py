"""A solved atlas as tensors and a header, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple
from typing import Any

from torch import Tensor, nn

from ..errors import ModelMismatchError, StorageError, suggest
from ..models.identity import ModelIdentity
from ..models.layers import LayerInfo, find_linear_maps
from ..models.pretrained import Pretrained
from ..models.view import base_of
from ..recording.probes import probes_from, probes_state
from ..storing.tensors import check_json, header_field
from .filters import Sharpness
from .solved import SolvedAtlas
from .spectrum import Spectrum
from .trace import Trace

__all__ = ["atlas_bytes", "atlas_state", "restored_parts"]


def atlas_state(
    atlas: SolvedAtlas,
    *,
    concepts: Iterable[str] | None = None,
    about: Mapping[str, Any] | None = None,
    totals: bool = False,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `restored_parts` needs: tensors by name, and what JSON can hold.

    Args:
        atlas: what to write.
        concepts: only these; default all.
        about: what else belongs to it; default what it already carries.
        totals: also the rows of totals that are kept as rows.

    Raises:
        StorageError: if `about` holds what JSON cannot.
        UnknownNameError: for a concept that the atlas does not have.
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
        state, values = spectrum.state(total=totals)
        tensors |= {f"{place}.{name}": tensor for name, tensor in state.items()}
        sources.append(values)
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
        "pretrained": None if atlas.pretrained is None else atlas.pretrained.identity.digest,
        "concepts": names,
        "counts": atlas.counts,
        "layers": {layer: places[atlas.source_key(layer)] for layer in atlas.layers},
        "sources": sources,
        "sharpness": asdict(atlas.sharpness),
        "coverage": [list(astuple(info)) for info in atlas.coverage],
        "probes": probes,
    }
    check_json(header["about"])
    return tensors, header


def atlas_bytes(atlas: SolvedAtlas, concepts: Iterable[str] | None = None) -> int:
    """Return about how many bytes the file of an atlas has, without making what stands in it.

    Args:
        atlas: what would be written, without the rows of its totals.
        concepts: only these; default all.
    """
    names = list(atlas.concepts if concepts is None else concepts)
    total = 0
    for layer in {atlas.source_key(layer): layer for layer in atlas.layers}.values():
        square = 8 * atlas.linear_map(layer).columns ** 2  # moments and vectors are kept in double precision
        for name in names:
            trace = atlas.trace(layer, name)
            if trace.folded:
                total += square
            else:  # the rows, their duals, and what the rows have in common pair by pair
                rows = trace.rows
                total += 2 * rows.numel() * rows.element_size() + 8 * rows.shape[-2] ** 2
        total += square if atlas.spectrum(layer).form == "primal" else 0
    return total


def restored_parts(
    path: Any,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
    model: nn.Module,
    base: nn.Module | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what an atlas is made of, as `atlas_state` described it.

    Args:
        path: of the file, for errors.
        tensors: by name.
        header: what describes them.
        model: the model that the atlas was made from.
        base: what that was fine-tuned from, if the engrams are those of the fine-tune.

    Returns:
        Keyword arguments of `SolvedAtlas`, and what it carries besides.

    Raises:
        ModelMismatchError: if `model` or `base` is another one, or `base` is missing or one too many.
        StorageError: if something is missing or wrong.
    """
    identity = ModelIdentity(digest=header_field(path, header, "model"))
    try:
        identity.check(model)
    except ModelMismatchError as error:
        raise ModelMismatchError(f"{path} cannot be used here. {error}") from None
    pretrained = _pretrained(path, header.get("pretrained"), model, base)
    known = {
        linear_map.name: linear_map for linear_map in find_linear_maps(base_of(model))
    }  # an edited view has other weights
    try:
        parts: dict[str, dict[str, Tensor]] = {}
        for full, tensor in tensors.items():
            owner, _, part = full.rpartition(".")
            parts.setdefault(owner, {})[part] = tensor
        spectra = {
            place: Spectrum.restore(parts[str(place)], entry) for place, entry in enumerate(header["sources"])
        }
        traces = {
            (place, name): Trace.restore(spectrum, parts[f"{place}.{number}"])
            for number, name in enumerate(header["concepts"])
            for place, spectrum in spectra.items()
        }
        for layer in header["layers"]:
            if layer not in known:
                raise suggest("layer", layer, known)
        made = {
            "concepts": tuple(header["concepts"]),
            "linear_maps": {name: known[name] for name in header["layers"]},
            "key_of": dict(header["layers"]),
            "spectra": spectra,
            "traces": traces,
            "counts": dict(header["counts"]),
            "coverage": [LayerInfo(*row) for row in header["coverage"]],
            "identity": identity,
            "sharpness": Sharpness(**header["sharpness"]),
            "probes": probes_from(tensors, header.get("probes") or ()),
            "pretrained": pretrained,
        }
        return made, dict(header.get("about") or {})  # files of an earlier version have none
    except (KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{path} is not a whole atlas ({error!r} is missing or wrong).") from error


def _pretrained(path: Any, digest: str | None, model: nn.Module, base: nn.Module | None) -> Pretrained | None:
    """Return the base that a file of a fine-tune's engrams was made with; None for any other file."""
    if digest is None and base is not None:
        raise ModelMismatchError(
            f"{path} holds engrams of whole weights, so that no base belongs to it. Leave base= out."
        )
    if digest is None:
        return None
    if base is None:
        raise ModelMismatchError(
            f"{path} holds engrams of a fine-tune. Give the model that it started from as base=…."
        )
    try:
        ModelIdentity(digest=digest).check(base)
    except ModelMismatchError as error:
        raise ModelMismatchError(f"{path} cannot be used with this base. {error}") from None
    return Pretrained(model, base)
