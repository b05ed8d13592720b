"""The edit that `engram erase` and `engram ask` are told to make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..errors import EngramError
from ..models.groups import choose_groups
from .engrams import EngramOptions
from .names import concept_strengths
from .options import (
    Blocks,
    Clip,
    Erased,
    Kept,
    Layers,
    NullName,
    Power,
    ScalingName,
    Strength,
    layer_names,
    numbers,
)
from .subject import check_known

__all__ = ["EditOptions", "layers_of"]


@dataclass(frozen=True)
class EditOptions:
    """What is erased or kept, how strongly, and in which layers."""

    concepts: Erased = None
    keep: Kept = None
    null: NullName = "nothing"
    strength: Strength = 1.0
    scaling: ScalingName = "plain"
    sharpness: Power = None
    clip: Clip = False
    layers: Layers = None
    blocks: Blocks = None

    def check(self) -> None:
        """Refuse an edit of nothing, before a model is loaded for it.

        Raises:
            EngramError: if no concept is named.
        """
        if not self.concepts and not self.keep:
            raise EngramError("Name a concept to erase, or one to isolate with --isolate NAME.")

    def view(self, subject: Subject, engrams: EngramOptions, bar: Any) -> nn.Module:
        """Return a view with this edit; see `EngramOptions.of`."""
        known = list(subject.concepts)
        erase = concept_strengths(self.concepts or [], self.strength, known)
        kept = check_known(self.keep, known)
        atlas = engrams.of(subject, bar, power=self.sharpness, clip=self.clip)
        return atlas.apply(
            subject.model, erase=erase, keep=kept or None, null=self.null, scaling=self.scaling,
            layers=layers_of(atlas, self.layers), blocks=numbers(self.blocks),
        )  # fmt: skip


def layers_of(atlas: Atlas, layers: str | None) -> str | list[str] | None:
    """Read the option --layers, with ``group:NAME`` looked up among the atlas's layers."""
    if layers is not None and layers.startswith("group:"):
        name = layers.removeprefix("group:")
        return list(choose_groups(atlas.layers, [name])[name])
    return layer_names(layers)
