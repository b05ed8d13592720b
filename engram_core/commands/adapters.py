"""The LoRA adapters that `engram erase --lora` writes, one per erased concept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..editing.live_edit import LiveEdit
from ..errors import EngramError
from ..language import adapter_folders, save_lora
from ..language.lora import check_lora
from .printing import out_console
from .tables import print_table

__all__ = ["Adapter", "check_adapters", "print_adapters", "save_adapters"]


@dataclass(frozen=True)
class Adapter:
    """One concept's adapter on disk.

    Attributes:
        concept: whose engram it takes away.
        strength: α.
        folder: where it lies.
        layers: layer, rank, error (see `language.save_lora`).
    """

    concept: str
    strength: float
    folder: Path
    layers: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return what --json prints."""
        return {
            "concept": self.concept,
            "strength": self.strength,
            "folder": str(self.folder),
            "layers": self.layers.to_dict("records"),
        }


def check_adapters(control: LiveEdit, rank: int | None) -> None:
    """Refuse an edit that is no set of adapters, before anything is measured or written."""
    if control.edit.scaling != "plain":
        raise EngramError("--lora holds an engram at one strength in all its layers: use plain scaling.")
    for _, strength in control.edit.erase:
        check_lora(control.atlas, strength=strength, rank=rank, layers=list(control.edit.layers))


def save_adapters(control: LiveEdit, place: Path, *, rank: int | None, base_model: str) -> list[Adapter]:
    """Write every erased concept's adapter into a folder of its own below `place`.

    Args:
        control: of the edited view.
        place: the folder around them; made if missing.
        rank: see `language.save_lora`.
        base_model: what the adapters name as their base: as the user named it.

    Returns:
        What was written, one entry per erased concept.
    """
    folders = adapter_folders(control.atlas.concepts)
    written = []
    for name, strength in control.edit.erase:
        folder = place / folders[name]
        table = save_lora(
            control.atlas, name, folder, strength=strength, rank=rank, layers=list(control.edit.layers),
            base_model=base_model,
        )  # fmt: skip
        written.append(Adapter(name, strength, folder, table))
    return written


def print_adapters(adapters: list[Adapter], rank: int | None) -> None:
    """Say which concept went where, and what a rank cost in every layer."""
    for adapter in adapters:
        ranks = adapter.layers["rank"]
        out_console.print(
            f"wrote {adapter.folder}: adapter of {adapter.concept!r}, α = {adapter.strength:g}, "
            f"{len(ranks)} layers, rank {ranks.min()}–{ranks.max()}",
            soft_wrap=True,
        )
        if rank is not None:
            print_table(
                f"What rank {rank} costs {adapter.concept}",
                ["layer", "rank", "error"],
                adapter.layers.to_numpy(object).tolist(),
                caption="error: ‖E − E_rank‖ / ‖E‖ in this layer; 0 is the whole engram",
                digits=4,
            )
