"""Take an engram away as a LoRA adapter in PEFT's file format; the base plus the adapter is the edit.

LoRA adds ``scaling · B A x``; an engram is ``left · right``, and erasing subtracts ``α`` times it, so
``A = right``, ``B = left`` and ``scaling = −α``. A layer with a bias carries the engram's bias column as
PEFT's LoRA bias.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor

from ..engram import Atlas
from ..errors import CoverageError, DataError, StorageError

__all__ = ["lora_layers", "save_lora"]

_KINDS = ("Linear", "Conv1D")


def save_lora(
    atlas: Atlas,
    concept: str,
    folder: str | os.PathLike[str],
    *,
    strength: float = 1.0,
    rank: int | None = None,
    layers: str | Iterable[str] | None = None,
    base_model: str | None = None,
) -> pd.DataFrame:
    """Write one concept's engram as ``adapter_config.json`` and ``adapter_model.safetensors``.

    Args:
        atlas: the engrams, at their sharpness.
        concept: which one.
        folder: made if missing; adapter files in it are replaced.
        strength: α; the adapter's scaling is −α.
        rank: keep only the largest singular values; default all that the engram has.
        layers: which layers (see `layers.select_layers`); default all.
        base_model: what PEFT's config names as the base (a path or hub name).

    Returns:
        One row per layer: layer, rank, error (‖E − E_rank‖ / ‖E‖, 0 without truncation).

    Raises:
        CoverageError: if a chosen layer is one that LoRA cannot carry.
        DataError: for a rank below 1, a strength of 0 or not finite, or a clipped sharpness.
    """
    if rank is not None and rank < 1:
        raise DataError(f"The rank of an adapter must be at least 1; found {rank}.")
    if not strength or not math.isfinite(strength):
        raise DataError(f"The strength of an adapter must be a finite number other than 0; found {strength}.")
    if atlas.sharpness.clip:
        raise DataError(
            "A clipped engram is not in proportion to its strength, so it is no one adapter. "
            "Use a sharpness without clip."
        )
    chosen = lora_layers(atlas, layers)
    engram = atlas[concept]
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    rows = []
    biased = any(atlas.slot(name).bias for name in chosen)
    for name in chosen:
        slot = atlas.slot(name)
        left, right, error = _truncated(*engram.factors(name), rank)
        ranks[slot.module] = right.shape[0]
        rows.append((name, right.shape[0], error))
        stem = f"base_model.model.{slot.module}"
        tensors[f"{stem}.lora_A.weight"] = right[:, : slot.columns].contiguous()
        tensors[f"{stem}.lora_B.weight"] = left.contiguous()
        if biased:
            column = left @ right[:, slot.columns :].sum(-1) if slot.bias else left.new_zeros(len(left))
            tensors[f"{stem}.lora_B.bias"] = column.contiguous()
    config = _config(ranks, strength, biased, base_model, conv1d=_conv1d(atlas, chosen))
    _write(Path(folder), tensors, config)
    return pd.DataFrame(rows, columns=["layer", "rank", "error"])


def lora_layers(atlas: Atlas, layers: str | Iterable[str] | None = None) -> list[str]:
    """Return the names of chosen layers, all of which an adapter can hold.

    Raises:
        CoverageError: naming those it cannot, such as the fused experts of a mixture: without them the
            adapter would be another edit.
    """
    chosen = atlas.select(layers)
    held = [name for name in chosen if atlas.slot(name).kind in _KINDS]
    if not held:
        raise CoverageError("None of the chosen layers is Linear or Conv1D; LoRA carries no other here.")
    if len(held) < len(chosen):
        left_out = [name for name in chosen if name not in set(held)]
        shown = ", ".join(left_out[:3]) + (" …" if len(left_out) > 3 else "")
        raise CoverageError(
            f"A LoRA adapter cannot hold {len(left_out)} of the {len(chosen)} layers ({shown}, of kind "
            f"{atlas.slot(left_out[0]).kind}), so the base with it would not be the edited model. Write the "
            "whole edited model with save_edited (on the command line: --folder), or name Linear and Conv1D "
            "layers only."
        )
    return held


def _conv1d(atlas: Atlas, names: list[str]) -> bool:
    return any(atlas.slot(name).kind == "Conv1D" for name in names)


def _truncated(left: Tensor, right: Tensor, rank: int | None) -> tuple[Tensor, Tensor, float]:
    """Cut a pair to its largest singular values without forming the product."""
    if rank is None or rank >= right.shape[0]:
        return left, right, 0.0
    q_left, r_left = torch.linalg.qr(left.double())
    q_right, r_right = torch.linalg.qr(right.double().mT)
    u, s, vh = torch.linalg.svd(r_left @ r_right.mT)
    kept = s[:rank]
    total = float(s.square().sum())
    error = (float(s[rank:].square().sum()) / total) ** 0.5 if total else 0.0
    root = kept.sqrt()
    short_left = (q_left @ u[:, :rank]) * root
    short_right = (root[:, None] * vh[:rank]) @ q_right.mT
    return short_left.to(left.dtype), short_right.to(right.dtype), error


def _config(
    ranks: dict[str, int], strength: float, biased: bool, base_model: str | None, *, conv1d: bool
) -> dict[str, Any]:
    largest = max(ranks.values())
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "inference_mode": True,
        "r": largest,
        "lora_alpha": -strength * largest,
        # PEFT's scaling is alpha / r, layer by layer; this makes it −α in all of them.
        "rank_pattern": ranks,
        "alpha_pattern": {name: -strength * rank for name, rank in ranks.items()},
        "target_modules": sorted(ranks),
        "lora_dropout": 0.0,
        "lora_bias": biased,
        "bias": "none",
        "fan_in_fan_out": conv1d,
        "use_rslora": False,
        "use_dora": False,
    }


def _write(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        weights, text = folder / "adapter_model.safetensors", folder / "adapter_config.json"
        save_file(tensors, f"{weights}.tmp", metadata={"format": "pt"})
        Path(f"{text}.tmp").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        os.replace(f"{weights}.tmp", weights)
        os.replace(f"{text}.tmp", text)
    except OSError as error:
        raise StorageError(f"Could not write the adapter to {folder}: {error}.") from error
