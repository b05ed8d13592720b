"""A model that is loaded, with its engrams: shared by all visitors and written by none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import engram_core as ec
from engram_core.concepts.sample import Sample

from ..choice.choice import Facts
from .choices import parts_of
from .fair_lock import COMPUTE_LOCK
from .results import Remembered

__all__ = ["Base"]

_EDITS, _EDITS_BYTES = 20_000, 32 * 2**20
_MOST_VARIANTS = 4  # sharpened atlases; each of a large model takes hundreds of megabytes


@dataclass
class Base:
    """A model with its atlas.

    Attributes:
        sample: the model, its concepts and its task.
        atlas: the engrams of all concepts.
        facts: what a page has to know to offer choices.
        digest: SHA-256 of the model.
        scores: score per concept of the base model on held-out inputs, shares of 1.
        skipped: (layer, reason) of every layer that holds no engram.
        explorer: what the pages start with: strength, presets, where they come from (`explorer.json`).
        remembered: scores and tables by edit.
        searched: what single edits of a search did; they are many and small.
        pace: seconds that the base took for one held-out input when it was scored.
    """

    sample: Sample
    atlas: ec.Atlas
    facts: Facts
    digest: str
    scores: dict[str, float]
    skipped: tuple[tuple[str, str], ...]
    explorer: Mapping[str, Any] = field(default_factory=dict)
    remembered: Remembered = field(default_factory=Remembered)
    searched: Remembered = field(default_factory=lambda: Remembered(_EDITS, _EDITS_BYTES))
    pace: float = 0.0
    _variants: dict[tuple[float, bool], ec.Atlas] = field(default_factory=dict)

    @property
    def load_code(self) -> str:
        """The line of Python that makes `sample` again."""
        return self.explorer.get("load_code") or f"sample = ec.load_sample({self.facts.name!r})"

    @property
    def is_text(self) -> bool:
        """Whether this is a language model."""
        return self.facts.kind == "text"

    @property
    def of_images(self) -> bool:
        """Whether inputs can be shown as pictures."""
        return self.facts.kind == "image"

    @property
    def one(self) -> str:
        """What one input is called, recorded or held out."""
        return {"text": "text", "image": "image"}.get(self.facts.kind, "input")

    @property
    def probe(self) -> str:
        """What one held-out input is called."""
        return {"text": "question", "image": "held-out image"}.get(self.facts.kind, "held-out input")

    @property
    def mean_score(self) -> str:
        """The score of the base model over all concepts, in words."""
        mean = sum(self.scores.values()) / len(self.scores)
        return f"{self.sample.task.unit} {mean:.1%}"

    def variant(self, power: float, clip: bool) -> ec.Atlas:
        """Return the atlas under a sharpness; nothing is solved again. The last few are kept."""
        if (power, clip) == (1.0, False):
            return self.atlas
        with COMPUTE_LOCK:
            atlas = self._variants.pop((power, clip), None) or self.atlas.sharpen(power, clip=clip)
            self._variants[power, clip] = atlas
            while len(self._variants) > _MOST_VARIANTS:
                self._variants.pop(next(iter(self._variants)))
            return atlas

    def intact(self) -> bool:
        """Return whether the base's weights are those that were loaded."""
        # The hash is remembered until a weight changes, so asking costs nothing while nothing did.
        return ec.model_hash(self.sample.model) == self.digest

    def parts(self, names: Iterable[str]) -> Iterator[list[str]]:
        """Divide concepts into as many as are scored in one step."""
        return parts_of(self.facts, names)
