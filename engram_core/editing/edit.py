"""What is to be done to a model, and the proof of what is on: pure data.

Every edit has the form ``W' = w₀ W − f_l Σ_c s_c E_c``: erasing has ``w₀ = 1`` and ``s_c = α_c``; keeping
from nothing has ``w₀ = 0`` and ``s_c = −1``; keeping in place erases all the others
(docs/science.md section 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..errors import DataError, suggest

if TYPE_CHECKING:
    from ..solving.solved import SolvedAtlas

__all__ = ["Edit", "EditReport", "Scaling"]

Scaling = Literal["plain", "adaptive"]


@dataclass(frozen=True)
class Edit:
    """What is to be done to a model: pure data, the same for every model of one atlas.

    Attributes:
        erase: concept and strength α; 1 is the engram itself, negative amplifies.
        keep: concept and strength of those that stay, or None to keep everything.
        null: what "keep" starts from: ``"nothing"`` (every chosen layer holds the kept concepts alone)
            or ``"in place"`` (everything that is no concept stays too). Engrams of a fine-tune are parts of
            what it wrote: nothing of that is the pretrained model, and ``"base"`` is another word for it.
        scaling: ``"plain"`` or ``"adaptive"``, ``f_l = (rel_l / max rel)^p`` with ``rel = ‖E‖/‖W‖``.
        adaptive_power: that p.
        layers: the layers it acts on.
    """

    erase: tuple[tuple[str, float], ...]
    keep: tuple[tuple[str, float], ...] | None
    null: Literal["nothing", "in place"]
    scaling: Scaling
    adaptive_power: float
    layers: tuple[str, ...]

    @classmethod
    def of(
        cls,
        atlas: SolvedAtlas,
        *,
        erase: Mapping[str, float] | Iterable[str] | str | None = None,
        keep: Mapping[str, float] | Iterable[str] | str | None = None,
        null: str = "nothing",
        scaling: str = "plain",
        adaptive_power: float = 1.0,
        layers: str | Iterable[str] | None = None,
        blocks: Iterable[int] | None = None,
    ) -> Edit:
        """Check every name and number against `atlas` and build the edit.

        Returns:
            The edit.

        Raises:
            UnknownNameError: for a concept or layer that the atlas does not have.
            DataError: for a strength that is not a finite number, or an unknown null or scaling.
        """
        if null == "base" and atlas.pretrained is not None:
            null = "nothing"
        if null == "base":
            raise DataError(
                "null='base' starts from a pretrained model, and these engrams are parts of all weights. "
                "Use null='nothing' or 'in place', or extract with base=… for the engrams of a fine-tune."
            )
        if null not in ("nothing", "in place"):
            raise DataError(f"null must be 'nothing' or 'in place'; found {null!r}.")
        if scaling not in ("plain", "adaptive"):
            raise DataError(f"scaling must be 'plain' or 'adaptive'; found {scaling!r}.")
        if not math.isfinite(adaptive_power) or adaptive_power < 0:
            raise DataError(f"The power of adaptive scaling must be 0 or more; found {adaptive_power}.")
        kept = None if keep is None else _strengths(atlas, keep)
        if kept is not None and not kept:
            raise DataError("keep names no concept; leave it out to keep everything.")
        if scaling == "adaptive" and kept is not None and null == "nothing":
            raise DataError(
                "Adaptive scaling weighs what is taken away, layer by layer; keeping from nothing takes "
                "everything away. Use scaling='plain', or null='in place'."
            )
        return cls(
            _strengths(atlas, erase or ()), kept, null, scaling, float(adaptive_power),  # type: ignore[arg-type]
            tuple(atlas.select(layers, blocks)),
        )  # fmt: skip

    @property
    def from_nothing(self) -> bool:
        """Whether the chosen layers start empty."""
        return self.keep is not None and self.null == "nothing"

    def taken(self, concepts: Iterable[str]) -> dict[str, float]:
        """Return ``s_c`` for every concept that the edit takes away (negative: adds)."""
        taken: dict[str, float] = {}
        if self.keep is not None:
            kept = dict(self.keep)
            for name in concepts:
                share = (0.0 if self.null == "nothing" else 1.0) - kept.get(name, 0.0)
                if share:
                    taken[name] = share
        for name, strength in self.erase:
            taken[name] = taken.get(name, 0.0) + strength
        return {name: s for name, s in taken.items() if s}

    @property
    def changes(self) -> bool:
        """Whether it does anything at all."""
        return self.keep is not None or any(strength for _, strength in self.erase)


def _strengths(
    atlas: SolvedAtlas, given: Mapping[str, float] | Iterable[str] | str
) -> tuple[tuple[str, float], ...]:
    if isinstance(given, str):
        given = {given: 1.0}
    elif not isinstance(given, Mapping):
        given = dict.fromkeys(given, 1.0)
    pairs = []
    for name, strength in given.items():
        if name not in atlas.concepts:
            raise suggest("concept", name, atlas.concepts)
        try:
            value = float(strength)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"The strength of concept {name!r} must be a finite number; found {strength!r}.")
        pairs.append((name, value))
    return tuple(pairs)


@dataclass(frozen=True)
class EditReport:
    """The proof of what is on.

    Attributes:
        on: whether the view differs from the base.
        erased: concept → strength taken away (for keeping in place: every concept not kept).
        kept: the kept concepts, or None.
        layers: the layers whose maps are changed.
        relative: ``‖W − W'‖ / ‖W‖`` over those layers together.
        per_layer: the same for each layer.
        factors: f_l of each layer.
    """

    on: bool
    erased: dict[str, float]
    kept: tuple[str, ...] | None
    layers: tuple[str, ...]
    relative: float
    per_layer: dict[str, float]
    factors: dict[str, float]
