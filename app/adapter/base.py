"""A model that is loaded, with its engrams: shared by all visitors and written by none."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype
from torch import nn

import engram_core as ec
from engram_core.samples import Sample, load_sample
from engram_core.tasks import Scores, Subject

from ..choice import Facts, start_values
from ..search import STRONGEST
from . import memory
from .about import start_of
from .turns import Turns

__all__ = ["HEAVY", "Base", "Loading", "Remembered", "parts", "portions", "size_of"]

# Once per process: changing it later makes every pool start again, and sessions would fight over it. On two
# cores one thread is faster: the browser needs the other, and two threads that wait for each other's turn
# took 92 s for what one does in 42 s.
torch.set_num_threads(1 if (os.cpu_count() or 1) <= 2 else 2)

# Every operation of torch lets Python's lock go and then waits for it again: up to 5 ms beside a thread that
# draws a figure. A forward pass has hundreds of them.
sys.setswitchinterval(0.0005)

# Held only while one portion is computed, so that visitors take turns instead of waiting for a whole run.
HEAVY = Turns()

_REMEMBERED = 4096  # results per model, most of them one row or one layer of a table
_BYTES = 256 * 2**20  # of results per model; beyond that the oldest go
_TRIALS, _TRIAL_BYTES = 20_000, 32 * 2**20
# Inputs per turn for a model of a million parameters: some 50 ms, after which a click is heard.
_PORTION = {"image": 400, "text": 80}
_LARGE = 20_000_000  # parameters
_MOST_VARIANTS = 4  # sharpened atlases; each of a large model takes hundreds of megabytes


class Remembered:
    """The most recent results by key, bounded in number and in bytes; safe between threads."""

    def __init__(self, size: int = _REMEMBERED, most_bytes: int = _BYTES) -> None:
        self._size = size
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()  # with its bytes
        self._bytes = 0

    def get(self, key: Hashable) -> Any | None:
        """Return the result, or None."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key, (None, 0))[0]

    def put(self, key: Hashable, value: Any) -> None:
        """Keep a result, and let the oldest go; what has grown since is put again, to be weighed again."""
        size = size_of(value)
        with self._lock:
            self._bytes += size - self._values.pop(key, (None, 0))[1]
            self._values[key] = value, size
            while len(self._values) > 1 and (
                len(self._values) > self._size or self._bytes > self._most_bytes
            ):
                self._bytes -= self._values.popitem(last=False)[1][1]

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

    def each(
        self, keys: Mapping[str, Hashable], make: Callable[[str], Any], doing: str
    ) -> Iterator[tuple[float, str, dict[str, Any]]]:
        """Make the result of every name that is not there yet.

        Yields the share done, what is being done, and the results so far by name.
        """
        found: dict[str, Any] = {}
        for name, key in keys.items():
            if self.get(key) is None:
                yield len(found) / len(keys), f"{doing} {name}", found
            found[name] = self.made(key, partial(make, name))
        yield 1.0, "", found

    def steps(
        self, key: Hashable, work: Callable[[], Iterator[tuple[float, Any]]]
    ) -> Iterator[tuple[float, Any]]:
        """Yield the share done and what is known of a result, at the end the whole; only that is kept.

        A page can stop between two steps when its visitor has moved on.
        """
        found = self.get(key)
        if found is None:
            for share, found in work():
                if share < 1:
                    yield share, found
            self.put(key, found)
        yield 1.0, found


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
        return 64 + sum(size_of(part) for part in value.values())
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
        trials: what single edits of a search did; they are many and small.
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
    trials: Remembered = field(default_factory=lambda: Remembered(_TRIALS, _TRIAL_BYTES))
    pace: float = 0.0
    _variants: dict[tuple[float, bool], ec.Atlas] = field(default_factory=dict)

    @property
    def load_code(self) -> str:
        """The line of Python that makes `sample` again."""
        return self.explorer.get("load_code") or f"sample = ec.load_sample({self.facts.name!r})"

    @property
    def of_text(self) -> bool:
        """Whether this is a language model."""
        return self.facts.kind == "text"

    @property
    def probe(self) -> str:
        """What one held-out input is called."""
        return "question" if self.of_text else "held-out image"

    @property
    def mean_score(self) -> str:
        """The score of the base model over all concepts, in words."""
        mean = sum(self.scores.values()) / len(self.scores)
        return f"{self.sample.task.unit} {mean:.1%}"

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

        def solved(done: int, total: int | None, _what: str) -> None:
            self.fraction = 0.65 + 0.2 * (done / total if total else 0.0)
            self.doing = f"Solving for the engrams of all concepts ({done} of {total} layer inputs)"

        self.fraction = 0.05
        recording = ec.record(sample.model, sample.concepts, progress=recorded)
        self.fraction, self.doing = 0.65, "Solving for the engrams of all concepts"
        atlas = ec.extract(sample.model, recording, progress=solved)
        del recording
        base = self._prepare(sample, atlas)
        memory.settle()
        return base

    def _prepare(self, sample: Sample, atlas: ec.Atlas) -> Base:
        """Compute what the first switch would otherwise wait for."""
        text = sample.image_shape is None
        start = start_of(sample.name) if self._start is None else self._start
        facts = _facts(sample, atlas, text, start)
        if not text:
            for done, concept in enumerate(facts.classes):
                self.fraction = 0.85 + 0.05 * done / len(facts.classes)
                self.doing = f"Preparing the switch for {concept}"
                for layer in atlas.layers:
                    atlas.dense(layer, concept)
        self.fraction, self.doing = 0.9, "Scoring the base model"
        scores: dict[str, float] = {}
        began = time.perf_counter()
        for found in portions(facts, sample, sample.model, facts.classes):
            scores |= found.score
            self.fraction = 0.9 + 0.1 * len(scores) / len(facts.classes)
            self.doing = f"Scoring the base model ({len(scores)} of {len(facts.classes)} concepts)"
        pace = (time.perf_counter() - began) / max(1, sum(facts.held_out.values()))
        # Also wakes the thread pool for inputs of one, the size of every switch.
        atlas.apply(sample.model, erase={atlas.concepts[0]: 1.0})
        return Base(
            sample=sample,
            atlas=atlas,
            facts=facts,
            digest=ec.model_hash(sample.model),
            scores=scores,
            skipped=tuple((info.name, info.reason) for info in atlas.coverage if not info.covered),
            explorer=start,
            pace=pace,
        )


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
        strongest=STRONGEST,
        found=str(start.get("found", "")),
        portion=max(4, int(_PORTION[kind] * min(1.0, 2e6 / parameters))),
        large=parameters > _LARGE,
        **start_values(start),
    )


def portions(facts: Facts, subject: Subject, model: nn.Module, names: Iterable[str]) -> Iterator[Scores]:
    """Score a model on some concepts, as many in one turn as take a fraction of a second."""
    for part in parts(facts, names):
        with HEAVY:
            scores = subject.task.measure(model, subject.concepts, part)
        yield scores


def parts(facts: Facts, names: Iterable[str]) -> Iterator[list[str]]:
    """Divide concepts into as many as are scored in one turn."""
    left = list(names)
    while left:
        part = [left.pop(0)]
        while left and sum(facts.held_out[name] for name in part) < facts.portion:
            part.append(left.pop(0))
        yield part
