"""A model that is loaded, with its engrams: shared by all visitors and written by none."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype

import engram_core as ec
from engram_core.samples import Sample, load_sample
from engram_core.tasks import Subject

from ..choice import Facts
from .about import start_of
from .turns import Turns

__all__ = ["HEAVY", "Base", "Loading", "Remembered", "chunks", "size_of"]

# Once per process: changing it later makes every pool start again, and sessions would fight over it. On two
# cores one thread is faster: the browser needs the other, and two threads that wait for each other's turn
# took 92 s for what one does in 42 s.
torch.set_num_threads(1 if (os.cpu_count() or 1) <= 2 else 2)

# Every operation of torch lets Python's lock go and then waits for it again: up to 5 ms beside a thread that
# draws a figure. A forward pass has hundreds of them.
sys.setswitchinterval(0.0005)

# Held only while one portion is computed, so that visitors take turns instead of waiting for a whole run.
HEAVY = Turns()

_REMEMBERED = 512
_BYTES = 256 * 2**20  # of results per model; beyond that the oldest go
# Inputs per turn for a model of a million parameters: some 50 ms of pictures, some 150 ms of questions.
_PORTION = {"image": 400, "text": 240}
_LARGE = 20_000_000  # parameters
_MOST_VARIANTS = 4  # sharpened atlases; each of a large model takes hundreds of megabytes


class Remembered:
    """The most recent results by key, bounded in number and in bytes; safe between threads."""

    def __init__(self, size: int = _REMEMBERED, most_bytes: int = _BYTES) -> None:
        self._size = size
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._bytes: dict[Hashable, int] = {}

    def get(self, key: Hashable) -> Any | None:
        """Return the result, or None."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        """Keep a result, and let the oldest go."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            self._bytes[key] = size_of(value)
            for known, kept in self._values.items():
                if isinstance(kept, dict):  # filled after it was put here
                    self._bytes[known] = size_of(kept)
            while len(self._values) > 1 and (
                len(self._values) > self._size or sum(self._bytes.values()) > self._most_bytes
            ):
                del self._bytes[self._values.popitem(last=False)[0]]

    def made(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the result of a key, made now, alone on the machine, if it is not there yet."""
        value = self.get(key)
        if value is None:
            with HEAVY:
                value = self.get(key)
                if value is None:
                    value = make()
                    self.put(key, value)
        return value


def size_of(value: Any) -> int:
    """Return about how many bytes a result takes; models and inputs are the base's own and count nothing."""
    if isinstance(value, Subject | ec.Concept | ec.ConceptSet):
        return 0
    if isinstance(value, pd.DataFrame):
        # A cell of text is a pointer and, by and large, a short string.
        return sum((8 if is_numeric_dtype(kind) else 70) * len(value) for kind in value.dtypes)
    if isinstance(value, Future):
        return size_of(value.result()) if value.done() and value.exception() is None else 0
    if isinstance(value, str | bytes):
        return 50 + len(value)
    if isinstance(value, dict):
        return 64 + sum(size_of(part) for part in list(value.values()))
    if isinstance(value, list | tuple):
        return 64 + sum(size_of(part) for part in value)
    own = getattr(value, "nbytes", None)  # arrays, tensors, atlases
    if isinstance(own, int):
        return own
    if is_dataclass(value) and not isinstance(value, type):
        return 64 + sum(size_of(getattr(value, part.name)) for part in fields(value))
    return 64


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
    """

    sample: Sample
    atlas: ec.Atlas
    facts: Facts
    digest: str
    scores: dict[str, float]
    skipped: tuple[tuple[str, str], ...]
    explorer: Mapping[str, Any] = field(default_factory=dict)
    remembered: Remembered = field(default_factory=Remembered)
    _variants: dict[tuple[float, bool], ec.Atlas] = field(default_factory=dict)

    @property
    def load_code(self) -> str:
        """The line of Python that makes `sample` again."""
        return self.explorer.get("load_code") or f"sample = ec.load_sample({self.facts.name!r})"

    @property
    def of_text(self) -> bool:
        """Whether this is a language model."""
        return self.facts.kind == "text"

    def variant(self, power: float, clip: bool) -> ec.Atlas:
        """Return the atlas under a sharpness; nothing is solved again. The last few are kept."""
        if (power, clip) == (1.0, False):
            return self.atlas
        with HEAVY:
            atlas = self._variants.pop((power, clip), None) or self.atlas.sharpen(power, clip=clip)
            self._variants[power, clip] = atlas
            while len(self._variants) > _MOST_VARIANTS:
                self._variants.pop(next(iter(self._variants)))
            return atlas

    def intact(self) -> bool:
        """Return whether the base's weights are those that were loaded."""
        # The hash is remembered until a weight changes, so asking costs nothing while nothing did.
        return ec.model_hash(self.sample.model) == self.digest


class Loading:
    """A base on its way: the work goes on in a thread of its own, whoever watches or leaves.

    A page that is reloaded in the middle finds the same work going on, not a second one.

    Args:
        load: makes the subject; called in the thread.
        start: what the pages start with; default, what comes with a sample of that name.
    """

    def __init__(self, load: Callable[[], Sample], *, start: Mapping[str, Any] | None = None) -> None:
        self._start = start
        self.fraction = 0.0
        self.doing = "Reading the model and its data"
        self._base: Base | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(load,), name="load", daemon=True)
        self._thread.start()

    @classmethod
    def of_sample(cls, name: str) -> Loading:
        """Load a sample model by name."""
        return cls(lambda: load_sample(name))

    def wait(self, seconds: float) -> bool:
        """Wait for the end, but no longer than `seconds`; return whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether the work ended in an error."""
        return self._error is not None

    def base(self) -> Base:
        """Return what was loaded, or raise what went wrong."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._base is not None
        return self._base

    def _run(self, load: Callable[[], Sample]) -> None:
        try:
            self._base = self._load(load)
        except Exception as error:  # kept for the page that asks
            self._error = error

    def _load(self, load: Callable[[], Sample]) -> Base:
        sample = load()

        def recorded(done: int, total: int | None, _what: str) -> None:
            share = done / total if total else 0.0
            self.fraction = 0.05 + 0.6 * share
            self.doing = f"Recording what every input leaves in each layer ({done:,} done)"

        self.fraction = 0.05
        recording = ec.record(sample.model, sample.concepts, progress=recorded)
        self.fraction, self.doing = 0.65, "Solving for the engram of every concept"
        atlas = ec.extract(sample.model, recording)
        return self._prepare(sample, atlas)

    def _prepare(self, sample: Sample, atlas: ec.Atlas) -> Base:
        """Compute what the first switch would otherwise wait for."""
        text = sample.image_shape is None
        start = start_of(sample.name) if self._start is None else self._start
        facts = _facts(sample, atlas, text, start)
        if not text:
            with self._step(0.85, 0.1, facts.classes) as step:
                for concept in facts.classes:
                    step(f"Preparing the switch for {concept}")
                    for layer in atlas.layers:
                        atlas.dense(layer, concept)
        scores: dict[str, float] = {}
        for names in chunks(facts):
            self.fraction = 0.9 + 0.1 * len(scores) / len(facts.classes)
            self.doing = f"Scoring the base model ({len(scores)} of {len(facts.classes)} concepts)"
            scores |= sample.task.measure(sample.model, sample.concepts, names).score
        # Also wakes the thread pool for inputs of one, the size of every switch.
        atlas.apply(sample.model, erase={atlas.concepts[0]: 1.0})
        base = Base(
            sample=sample,
            atlas=atlas,
            facts=facts,
            digest=ec.model_hash(sample.model),
            scores=scores,
            skipped=tuple((info.name, info.reason) for info in atlas.coverage if not info.covered),
            explorer=start,
        )
        return base

    @contextmanager
    def _step(self, start: float, share: float, names: tuple[str, ...]) -> Iterator[Callable[[str], None]]:
        done = 0

        def step(doing: str) -> None:
            nonlocal done
            self.fraction, self.doing = start + share * done / len(names), doing
            done += 1

        yield step


def _facts(sample: Sample, atlas: ec.Atlas, text: bool, start: Mapping[str, Any]) -> Facts:
    # In the order of the outputs; a model may have classes that are no concept here.
    order = atlas.concepts if text else sample.task.classes  # type: ignore[attr-defined]
    classes = tuple(name for name in order if name in atlas.concepts)
    counts = {}
    for name in classes:
        concept = sample.concepts[name]
        counts[name] = len(concept.probe or ()) + len(concept.record) if text else len(concept.probe)  # type: ignore[arg-type]
    kind = "text" if text else "image"
    parameters = sum(p.numel() for p in sample.model.parameters())
    return Facts(
        name=sample.name,
        classes=classes,
        held_out=counts,
        layers=tuple(atlas.layers),
        kind=kind,
        strengths=tuple(start.get("strengths", (-1.0, 4.0) if text else (-1.0, 2.0))),
        strength=float(start.get("strength", 1.0)),
        power=str(start.get("power", "1")),
        clip=bool(start.get("clip", False)),
        found=str(start.get("found", "")),
        portion=max(4, int(_PORTION[kind] * min(1.0, 2e6 / parameters))),
        large=parameters > _LARGE,
    )


def chunks(facts: Facts) -> Iterator[list[str]]:
    """Yield the concepts in portions that take a fraction of a second each."""
    names: list[str] = []
    for name in facts.classes:
        names.append(name)
        if sum(facts.held_out[n] for n in names) >= facts.portion:
            yield names
            names = []
    if names:
        yield names
