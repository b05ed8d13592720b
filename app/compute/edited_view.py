"""One visitor's edited view of one base; never shared, never cached."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

import engram_core as ec
from engram_core.editing.live_edit import apply_edit
from engram_core.errors import EngramError

from ..choice.choice import KEEP, Choice
from ..server.base import Base

__all__ = ["Proof", "Visitor", "edit_key", "edit_of", "edited_view"]


@dataclass(frozen=True)
class Proof:
    """What is on, measured from the edited view itself.

    Attributes:
        on: whether the view differs from the base.
        relative: ``‖ΔW‖ / ‖W‖`` over the edited layers together.
        per_layer: the same for each layer.
        factors: scaling of each layer.
        digest: SHA-256 of the base model, taken when it was loaded.
        intact: whether the base's weights are still those.
    """

    on: bool
    relative: float
    per_layer: Mapping[str, float]
    factors: Mapping[str, float]
    digest: str
    intact: bool


class Visitor:
    """One visitor's edited view of one base."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self._lock = threading.RLock()
        self._atlas: ec.Atlas | None = None
        self._view: nn.Module | None = None

    def put(self, choice: Choice) -> Proof:
        """Put a choice in force and return the proof of it.

        Returns:
            How the edit was seen to act.

        Raises:
            EngramError: if the core refuses the edit; the view is then the base.
        """
        with self._lock:
            atlas = self.base.variant(choice.power, choice.clip)
            if self._atlas is not atlas:
                self._atlas, self._view = atlas, atlas.apply(self.base.sample.model)
            assert self._view is not None
            control = ec.live_edit(self._view)
            try:
                control.set(edit_of(atlas, choice))
            except EngramError:
                control.off()
                raise
            report = control.report()
            return Proof(
                report.on,
                report.relative,
                report.per_layer,
                report.factors,
                self.base.digest,
                self.base.intact(),
            )

    @contextmanager
    def view(self) -> Iterator[nn.Module]:
        """Lend the edited view; the same visitor's other tab waits until it is back."""
        with self._lock:
            assert self._view is not None, "put() first"
            yield self._view


def edit_of(atlas: ec.Atlas, choice: Choice) -> ec.Edit:
    """Return the core's form of a choice."""
    options: dict[str, Any] = {"layers": list(choice.layers)}
    if choice.from_nothing:
        # Adaptive scaling weighs what is taken away; from nothing, everything is.
        return ec.Edit.of(atlas, keep=choice.strengths, **options)
    if choice.mode == KEEP:
        taken = [name for name in atlas.concepts if name not in choice.concepts] if choice.concepts else []
        # Keeping in place is erasing all others; written so, strength 0 is the base here too.
        erase = dict.fromkeys(taken, choice.strength)
    else:
        erase = choice.strengths
    return ec.Edit.of(atlas, erase=erase, scaling=choice.scaling, **options)


def edit_key(base: Base, choice: Choice) -> Hashable:
    """Return what results of an edit are remembered under."""
    atlas = base.variant(choice.power, choice.clip)
    return (edit_of(atlas, choice), atlas.sharpness)


def edited_view(base: Base, choice: Choice) -> nn.Module:
    """Return a fresh view with a choice in force, for work that outlives the next click."""
    atlas = base.variant(choice.power, choice.clip)
    return apply_edit(atlas, edit_of(atlas, choice), base.sample.model)
