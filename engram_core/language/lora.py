"""Take an engram away as a LoRA adapter in PEFT's file format; the base plus the adapter is the edit.

LoRA adds ``scaling · B A x``; an engram is ``left · right``, and erasing subtracts ``α`` times it, so
``A = right``, ``B = left`` and ``scaling = −α``. A layer with a bias carries the engram's bias column as
PEFT's LoRA bias. What may be said in such a file is in `lora_form`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor

from ..atlas import Atlas
from ..errors import CoverageError, DataError, StorageError
from ..models.linear_maps.adapted_models import adapted_path
from ..numerics.precision import exactly
from ..progress import Progress
from ..storing.files import new_files, reason
from .lora_form import lora_config, lora_tensors, why_no_lora

__all__ = ["adapter_folders", "check_lora", "lora_bytes", "lora_layers", "save_lora"]

_LONGEST = 60  # characters of a folder name; file systems take 255 bytes, and a character has up to 4
# Names that Windows keeps for devices, whatever their ending.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


@exactly
def save_lora(
    atlas: Atlas,
    concept: str,
    folder: str | os.PathLike[str],
    *,
    strength: float = 1.0,
    rank: int | None = None,
    layers: str | Iterable[str] | None = None,
    base_model: str | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Write one concept's engram as ``adapter_config.json`` and ``adapter_model.safetensors``.

    Beside them lies ``engram.json``: concept, strength, sharpness, the SHA-256 of the base's parameters, and
    the table that is returned.

    Args:
        atlas: the engrams, at their sharpness.
        concept: which one.
        folder: made if missing; adapter files in it are replaced.
        strength: α; the adapter's scaling is −α.
        rank: keep only the largest singular values; default all that the engram has.
        layers: which layers (see `layers.select_layers`); default all.
        base_model: what PEFT's config names as the base (a path or hub name).
        progress: called with (done, total, layer) after every layer; then the files are written.

    Returns:
        One row per layer: layer, rank, error (‖E − E_rank‖ / ‖E‖, 0 without truncation).

    Raises:
        CoverageError: if a chosen layer is one that LoRA cannot carry.
        DataError: for a rank below 1, a strength of 0 or not finite, or a clipped sharpness.
    """
    chosen = check_lora(atlas, strength=strength, rank=rank, layers=layers)
    engram = atlas[concept]
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    rows = []
    biased = any(atlas.linear_map(name).bias for name in chosen)
    for done, name in enumerate(chosen, start=1):
        linear_map = atlas.linear_map(name)
        left, right, error = _truncated(*engram.factors(name), rank)
        rows.append((name, right.shape[-2], error))
        path = adapted_path(atlas.model, linear_map.module)
        down, up, column = lora_tensors(linear_map, left, right)
        ranks[path] = len(down)
        stem = f"base_model.model.{path}"
        tensors[f"{stem}.lora_A.weight"], tensors[f"{stem}.lora_B.weight"] = down, up
        if biased:
            tensors[f"{stem}.lora_B.bias"] = column
        if progress is not None:
            progress(done, len(chosen), name)
    config = lora_config(atlas.model, ranks, strength, biased, base_model)
    table = pd.DataFrame(rows, columns=["layer", "rank", "error"])
    about = {
        "made_by": "Engram Explorer",
        "concept": concept,
        "strength": strength,
        "sharpness": {"power": atlas.sharpness.power, "clip": atlas.sharpness.clip},
        "base": {"name": base_model, "sha256": atlas.identity.digest},
        "layers": table.to_dict("records"),
    }
    _write(Path(folder), tensors, config, about)
    return table


def lora_bytes(
    atlas: Atlas, concept: str, *, rank: int | None = None, layers: str | Iterable[str] | None = None
) -> int:
    """Return about how many bytes the weights of an adapter have, without making it.

    Args:
        atlas: the engrams.
        concept: which one.
        rank: see `save_lora`.
        layers: see `save_lora`.
    """
    total = 0
    for layer in atlas.select(layers):
        linear_map, trace = atlas.linear_map(layer), atlas.trace(layer, concept)
        full = min(linear_map.outputs, linear_map.columns) if trace.folded else trace.rows.shape[-2]
        total += 4 * min(full, rank or full) * (linear_map.outputs + linear_map.columns)
    return total


def check_lora(
    atlas: Atlas,
    *,
    strength: float = 1.0,
    rank: int | None = None,
    layers: str | Iterable[str] | None = None,
) -> list[str]:
    """Return the layers an adapter would have, or say why there can be none; nothing is written.

    Args:
        atlas: see `save_lora`.
        strength: see `save_lora`.
        rank: see `save_lora`.
        layers: see `save_lora`.

    Raises:
        CoverageError, DataError: as `save_lora` does.
    """
    if rank is not None and rank < 1:
        raise DataError(f"The rank of an adapter must be at least 1; found {rank}.")
    if not strength or not math.isfinite(strength):
        raise DataError(f"The strength of an adapter must be a finite number other than 0; found {strength}.")
    if atlas.sharpness.clip:
        raise DataError(
            "A capped engram (`clip`) is not in proportion to its strength, so it is no one adapter. "
            "Use a sharpness without clip."
        )
    return lora_layers(atlas, layers)


def adapter_folders(concepts: Iterable[str]) -> dict[str, str]:
    """Return a folder name for every concept: safe on every system, readable, and no two alike.

    What cannot stand in a path becomes ``-``; a name that another concept has, also when capitals do not
    count, gets a number. Give all concepts of an atlas, not only those that are written: a concept then has
    the same folder every time.

    Args:
        concepts: names; unique.
    """
    names = list(concepts)
    plain = {name: _folder_name(name) for name in names}
    # A concept whose name can stay as it is keeps it, whoever comes first.
    kept = {name.casefold(): name for name in reversed(names) if plain[name] == name}
    taken = set(kept)
    found: dict[str, str] = {}
    for place, name in enumerate(names, start=1):
        if kept.get(name.casefold()) == name:
            found[name] = name
            continue
        stem = plain[name] or f"concept-{place}"
        candidate, number = stem, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{stem}-{number}"
        taken.add(candidate.casefold())
        found[name] = candidate
    return found


def _folder_name(name: str) -> str:
    """Return a name without what a path, a shell or a file system takes amiss; may be empty."""
    # Some file systems compose characters and some do not: C + cedilla and Ç would be one folder there.
    text = re.sub(r"[^\w.+#-]+", "-", unicodedata.normalize("NFC", name))
    text = text[:_LONGEST].strip("-.")
    return f"concept-{text}" if text.partition(".")[0].casefold() in _DEVICES else text


def lora_layers(atlas: Atlas, layers: str | Iterable[str] | None = None) -> list[str]:
    """Return the names of chosen layers, all of which an adapter can hold.

    Args:
        atlas: the engrams.
        layers: see `select_layers`.

    Raises:
        CoverageError: naming those it cannot, such as the fused experts of a mixture: without them the
            adapter would be another edit.
    """
    chosen = atlas.select(layers)
    reasons = {name: why_no_lora(atlas.linear_map(name), atlas.model) for name in chosen}
    left_out = [name for name in chosen if reasons[name]]
    if left_out:
        shown = ", ".join(left_out[:3]) + (" …" if len(left_out) > 3 else "")
        raise CoverageError(
            f"A LoRA adapter cannot hold {len(left_out)} of the {len(chosen)} layers ({shown}, of kind "
            f"{atlas.linear_map(left_out[0]).kind}): {reasons[left_out[0]]}. The base with it would not be "
            "the edited model. Write the whole edited model with save_edited (on the command line: "
            "--folder), or name other layers only."
        )
    return chosen


def _truncated(left: Tensor, right: Tensor, rank: int | None) -> tuple[Tensor, Tensor, float]:
    """Cut a pair, or every pair of a stack, to its largest singular values without forming the product."""
    if rank is None or rank >= right.shape[-2]:
        return left, right, 0.0
    q_left, r_left = torch.linalg.qr(left.double())
    q_right, r_right = torch.linalg.qr(right.double().mT)
    u, s, vh = torch.linalg.svd(r_left @ r_right.mT)
    kept = s[..., :rank]
    total = float(s.square().sum())
    error = (float(s[..., rank:].square().sum()) / total) ** 0.5 if total else 0.0
    root = kept.sqrt()
    short_left = (q_left @ u[..., :rank]) * root.unsqueeze(-2)
    short_right = (root.unsqueeze(-1) * vh[..., :rank, :]) @ q_right.mT
    return short_left.to(left.dtype), short_right.to(right.dtype), error


def _write(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any], about: dict[str, Any]) -> None:
    texts = {"adapter_config.json": config, "engram.json": about}
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with new_files(*(folder / name for name in ("adapter_model.safetensors", *texts))) as places:
            save_file(tensors, places[0], metadata={"format": "pt"})
            for place, content in zip(places[1:], texts.values(), strict=True):
                place.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except (OSError, StorageError) as error:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        why = reason(error.__cause__ or error)
        raise StorageError(
            f"Could not write the adapter to {folder}: {why}. What was there before is untouched."
        ) from error
