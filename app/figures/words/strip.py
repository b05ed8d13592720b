"""Four numbers that say whether an edit did what it was meant to do, each with the sentence that reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .as_text import Markdown

__all__ = ["HOW_STRIP", "Cell", "Span", "Strip", "cells"]

HOW_STRIP: Markdown = (
    "**How to read this.** Four numbers, each a share of what the base model answers right.\n\n"
    "* **Forgotten**: of what the edit is meant to erase, the share that is no longer answered right.\n"
    "* **Kept**: of everything else, the share that still is.\n"
    "* **Worst neighbour**: the concept among everything else that keeps least.\n"
    "* **Random edit of the same size**: what a random change with the same norm in every layer makes the "
    "model forget and keep of the same concepts. The intervals are from the lowest to the highest of the "
    "seeds. Noise that does nothing forgets nothing; noise that destroys the model forgets everything and "
    "keeps nothing. An edit is about its concept if it forgets more than noise does while it keeps as much, "
    "or keeps more while it forgets as much.\n\n"
    "Every number says how many concepts and held-out inputs stand behind it. Of a model with many concepts "
    "a few are asked first: those that are erased, some drawn at random, on which “kept” is measured, and "
    "those whose engrams are most like the erased ones, among which the worst neighbour is looked for. Once "
    "all have been asked, for the figure further down, the numbers are about all of them."
)


@dataclass(frozen=True)
class Span:
    """A share under several random edits: its mean, and the interval from the lowest to the highest."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Write the interval as it is read."""
        return f"{_percent(self.low)} to {_percent(self.high)}"


@dataclass(frozen=True)
class Strip:
    """What an edit did, on the concepts that were asked.

    Attributes:
        base: score of the base model, a share of 1, by concept that was asked.
        edited: score of the edited model.
        runs: scores of random edits of the same size, a seed each, on these or some of these concepts.
        gone: concepts that the edit is meant to take away, whether they were asked or not.
        concepts: how many concepts the model has.
        counts: held-out inputs by concept.
        wanted: random edits that are to be measured in all; 0 if none is.
        what: what a concept is called.
        probe: what a held-out input is called.
        unit: what a score is called.
        drawn: those of the others that were drawn at random; None if all were asked.
    """

    base: Mapping[str, float]
    edited: Mapping[str, float]
    runs: Sequence[Mapping[str, float]]
    gone: tuple[str, ...]
    concepts: int
    counts: Mapping[str, int]
    wanted: int
    what: str
    probe: str
    unit: str
    drawn: tuple[str, ...] | None = None

    @property
    def fair(self) -> tuple[str, ...]:
        """Those meant to stay that stand for all of them: neighbours that were looked for do not."""
        return self.rest if self.drawn is None else tuple(name for name in self.rest if name in self.drawn)

    @property
    def taken(self) -> tuple[str, ...]:
        """Those that are meant to go and were asked."""
        return tuple(name for name in self.base if name in set(self.gone))

    @property
    def rest(self) -> tuple[str, ...]:
        """Those that are meant to stay and were asked."""
        gone = set(self.gone)
        return tuple(name for name in self.base if name not in gone)

    def kept(self, names: Sequence[str], scores: Mapping[str, float] | None = None) -> float | None:
        """Return which share of what the base answers right is still answered right; None if it is nothing.

        Args:
            names: about these concepts.
            scores: after the edit; default those of the edited model.
        """
        after = self.edited if scores is None else scores
        weights = np.array([self.counts[name] for name in names], float)
        before = float(weights @ [self.base[name] for name in names]) if len(names) else 0.0
        if before <= 0:
            return None
        return min(1.0, float(weights @ [after[name] for name in names]) / before)

    @property
    def worst(self) -> tuple[str, float] | None:
        """The concept among those meant to stay that keeps least, with its share; None if none was known."""
        found = [(name, share) for name in self.rest if (share := self.kept([name])) is not None]
        return min(found, key=lambda pair: pair[1], default=None)

    @property
    def sham_forgets(self) -> Span | None:
        """What the random edits make the model forget of what is meant to go."""
        found = self._shams(self.taken)
        return None if found is None else Span(1 - found.mean, 1 - found.high, 1 - found.low)

    @property
    def sham_keeps(self) -> Span | None:
        """What the random edits leave of everything else."""
        return self._shams(self.fair)

    def _shams(self, names: Sequence[str]) -> Span | None:
        kept = [share for run in self.runs if (share := self.kept(names, run)) is not None]
        return Span(float(np.mean(kept)), min(kept), max(kept)) if kept else None


@dataclass(frozen=True)
class Cell:
    """One number of the strip.

    Attributes:
        kind: "forgotten", "kept", "worst" or "random".
        title: what it is.
        number: the number as it is read; "–" if there is none.
        note: what stands behind it.
        share: the same in [0, 1] for its bar; None without.
        spans: what random edits forget and keep, for two bars with their intervals.
    """

    kind: str
    title: str
    number: str
    note: str
    share: float | None = None
    spans: tuple[Span | None, Span | None] = (None, None)


def cells(strip: Strip | None, *, why: str = "") -> tuple[Cell, Cell, Cell, Cell]:
    """Return the four numbers with what stands behind each.

    Args:
        strip: what was measured; None while nothing is.
        why: why there are no random edits, if there are none.
    """
    if strip is None:
        titles = zip(("forgotten", "kept", "worst", "random"), _TITLES, strict=True)
        return tuple(Cell(kind, title, "…", "being measured") for kind, title in titles)  # type: ignore[return-value]
    return _forgotten(strip), _kept(strip), _worst(strip), _random(strip, why)


_TITLES = ("Forgotten", "Kept", "Worst neighbour", "Random edit of the same size")


def _forgotten(strip: Strip) -> Cell:
    kept = strip.kept(strip.taken)
    if not strip.gone:
        return Cell("forgotten", _TITLES[0], "–", f"no {strip.what} is erased")
    if kept is None:
        return Cell("forgotten", _TITLES[0], "–", "the base answers nothing of it right")
    about = _behind(strip, strip.taken, strip.gone)
    return Cell("forgotten", _TITLES[0], _percent(1 - kept), about, 1 - kept)


def _kept(strip: Strip) -> Cell:
    kept = strip.kept(strip.fair)
    if kept is None:
        said = "nothing else is left" if strip.gone else "nothing is edited: base and edited are the same"
        return Cell("kept", _TITLES[1], "–", said)
    others, asked = strip.concepts - len(strip.gone), len(strip.fair)
    count = sum(strip.counts[name] for name in strip.fair)
    word = "other" if others == 1 else "others"
    of = f"{asked} of {others} {word} at random" if asked < others else f"{others} {word}"
    return Cell("kept", _TITLES[1], _percent(kept), f"{of}, {count:,} {strip.probe}s", kept)


def _worst(strip: Strip) -> Cell:
    worst = strip.worst
    if worst is None:
        return Cell("worst", _TITLES[2], "–", "no other was measured" if strip.gone else "nothing is edited")
    name, share = worst
    if share >= 1:
        return Cell("worst", _TITLES[2], "none", f"none of the {len(strip.rest)} loses anything", 1.0)
    change = f"{strip.unit} {strip.base[name]:.0%} → {strip.edited[name]:.0%}"
    return Cell(
        "worst", _TITLES[2], f"{name}: {_percent(share)}", f"{change}, least of {len(strip.rest)}", share
    )


def _random(strip: Strip, why: str) -> Cell:
    if not strip.gone:
        return Cell("random", _TITLES[3], "–", "nothing is edited")
    forgets, keeps = strip.sham_forgets, strip.sham_keeps
    if forgets is None and keeps is None:
        return Cell("random", _TITLES[3], "…" if strip.wanted else "–", why or "being measured")
    seeds = len(strip.runs)
    of = f"{seeds} seeds" if seeds >= strip.wanted else f"{seeds} of {strip.wanted} seeds"
    said = [("forgets", forgets), ("keeps", keeps)]
    number = ", ".join(f"{word} {_percent(span.mean)}" for word, span in said if span is not None)
    note = " and ".join(str(span) for _, span in said if span is not None)
    return Cell("random", _TITLES[3], number, f"{note}, {of}", spans=(forgets, keeps))


def _behind(strip: Strip, asked: Sequence[str], meant: Sequence[str]) -> str:
    count = sum(strip.counts[name] for name in asked)
    several = f"{strip.what}es" if strip.what.endswith("s") else f"{strip.what}s"
    if len(asked) < len(meant):
        of = f"{len(asked)} of {len(meant)} {several}"
    else:
        of = ", ".join(asked) if len(asked) <= 2 else f"{len(asked)} {several}"
    return f"{of}, {count:,} {strip.probe}s"


def _percent(share: float) -> str:
    """Write a share so that almost all and almost nothing are not written as all and nothing."""
    if 0 < share < 0.005:
        return "< 1%"
    if 0.995 <= share < 1:
        return "> 99%"
    return f"{max(share, 0.0):.0%}"
