"""The only door to the core: choices go in, numpy arrays and plain numbers come out.

Nothing here knows of the screen. What visitors share is the base, which is never written, and
remembered numbers, keyed by the whole edit. The edited model is a view that one visitor owns.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

import engram_core as ec
from engram_core.errors import EngramError
from engram_core.samples import Sample, load_sample

from .choice import KEEP, Choice, Facts

try:
    from engram_core.controls import gaussian_view
except ImportError:  # the core is older than its controls
    gaussian_view = None  # type: ignore[assignment]

__all__ = ["Answer", "Base", "Loading", "Proof", "Visitor", "control_steps", "score_steps"]

# Once per process: changing it later makes every pool start again, and sessions would fight over it. On two
# cores one thread is faster: the browser needs the other, and two threads that wait for each other's turn
# took 92 s for what one does in 42 s.
torch.set_num_threads(1 if (os.cpu_count() or 1) <= 2 else 2)

# Held only while one portion is computed, so that visitors take turns instead of waiting for a whole run.
HEAVY = threading.RLock()

CONTROL_SEEDS = 5
_CHUNK = 400  # inputs per turn: some 50 ms
_REMEMBERED = 512


class _Remembered:
    """The most recent numbers by key; safe between threads."""

    def __init__(self, size: int = _REMEMBERED) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, dict[str, float]] = OrderedDict()

    def get(self, key: Hashable) -> dict[str, float] | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: dict[str, float]) -> None:
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._size:
                self._values.popitem(last=False)


@dataclass
class Base:
    """A sample with its atlas: shared by all visitors and written by none.

    Attributes:
        sample: the model, its concepts and its task.
        atlas: the engrams of all concepts.
        facts: what a page has to know to offer choices.
        digest: SHA-256 of the model.
        scores: accuracy per class of the base model on held-out images.
        skipped: (layer, reason) of every layer that holds no engram.
        remembered: scores by edit.
    """

    sample: Sample
    atlas: ec.Atlas
    facts: Facts
    digest: str
    scores: dict[str, float]
    skipped: tuple[tuple[str, str], ...]
    remembered: _Remembered = field(default_factory=_Remembered)
    _variants: dict[tuple[float, bool], ec.Atlas] = field(default_factory=dict)

    def variant(self, power: float, clip: bool) -> ec.Atlas:
        """Return the atlas under a sharpness; nothing is solved again."""
        with HEAVY:
            if (power, clip) not in self._variants:
                self._variants[power, clip] = self.atlas.sharpen(power, clip=clip)
            return self._variants[power, clip]

    def pixels(self, concept: str, number: int) -> np.ndarray:
        """Return one held-out image, (height, width), scaled to 0–1; `number` counts from 1."""
        low, high = self.sample.value_range or (0.0, 1.0)
        image = self.sample.concepts[concept].probe[number - 1, 0]  # type: ignore[index]
        return ((image.numpy() - low) / (high - low)).clip(0.0, 1.0)


class Loading:
    """A base on its way: the work goes on in a thread of its own, whoever watches or leaves.

    A page that is reloaded in the middle finds the same work going on, not a second one.
    """

    def __init__(self, name: str) -> None:
        self.fraction = 0.0
        self.doing = "Reading the model and its images"
        self._base: Base | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(name,), name=f"load {name}", daemon=True)
        self._thread.start()

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

    def _run(self, name: str) -> None:
        try:
            self._base = self._load(name)
        except Exception as error:  # kept for the page that asks
            self._error = error

    def _load(self, name: str) -> Base:
        sample = load_sample(name)

        def recorded(done: int, total: int | None, _what: str) -> None:
            share = done / total if total else 0.0
            self.fraction = 0.05 + 0.6 * share
            self.doing = f"Recording what every image leaves in each layer ({done:,} inputs)"

        self.fraction = 0.05
        recording = ec.record(sample.model, sample.concepts, progress=recorded)
        self.fraction, self.doing = 0.65, "Solving for the engram of every concept"
        atlas = ec.extract(sample.model, recording)
        return self._prepare(sample, atlas)

    def _prepare(self, sample: Sample, atlas: ec.Atlas) -> Base:
        """Compute what the first switch would otherwise wait for."""
        for number, concept in enumerate(atlas.concepts):
            self.fraction = 0.85 + 0.1 * number / len(atlas.concepts)
            self.doing = f"Preparing the switch for {concept}"
            for layer in atlas.layers:
                atlas.dense(layer, concept)
        self.fraction, self.doing = 0.95, "Scoring the base model on held-out images"
        scores = sample.task.measure(sample.model, sample.concepts).score
        # Also wakes the thread pool for inputs of one, the size of every switch.
        atlas.apply(sample.model, erase={atlas.concepts[0]: 1.0})
        counts = {name: len(sample.concepts[name].probe) for name in atlas.concepts}  # type: ignore[arg-type]
        base = Base(
            sample=sample,
            atlas=atlas,
            facts=Facts(sample.name, tuple(sample.task.classes), counts, tuple(atlas.layers)),  # type: ignore[attr-defined]
            digest=ec.model_hash(sample.model),
            scores=scores,
            skipped=tuple((info.name, info.reason) for info in atlas.coverage if not info.covered),
        )
        base._variants[1.0, False] = atlas
        return base


@dataclass(frozen=True)
class Answer:
    """What base and edited model say to one image.

    Attributes:
        classes: class names.
        truth: the image's own class.
        pixels: the image, (height, width), 0–1.
        base: probability per class of the base model.
        edited: the same of the edited view.
    """

    classes: tuple[str, ...]
    truth: str
    pixels: np.ndarray
    base: np.ndarray
    edited: np.ndarray


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
    """One visitor's edited view of one base; never shared, never cached."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self._lock = threading.RLock()
        self._atlas: ec.Atlas | None = None
        self._view: nn.Module | None = None

    def put(self, choice: Choice) -> Proof:
        """Put a choice in force and return the proof of it.

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
                control.set(_edit(atlas, choice))
            except EngramError:
                control.off()
                raise
            report = control.report()
            return Proof(
                report.on, report.relative, report.per_layer, report.factors, self.base.digest, self._intact()
            )

    def _intact(self) -> bool:
        # The hash is remembered until a weight changes, so asking costs nothing while nothing did.
        return ec.model_hash(self.base.sample.model) == self.base.digest

    def answer(self, choice: Choice) -> Answer:
        """Return what base and view say to the chosen image."""
        sample = self.base.sample
        inputs = sample.concepts[choice.shown].probe[choice.image - 1 : choice.image]  # type: ignore[index]
        with self._lock:
            assert self._view is not None
            base, edited = (
                sample.task.probabilities(model, inputs)[0].double().numpy()  # type: ignore[attr-defined]
                for model in (sample.model, self._view)
            )
        return Answer(
            self.base.facts.classes,
            choice.shown,
            self.base.pixels(choice.shown, choice.image),
            base,
            edited,
        )

    def scores(self, choice: Choice) -> Iterator[tuple[float, dict[str, float]]]:
        """Score the view, class by class; see `score_steps`."""
        assert self._view is not None and self._atlas is not None
        if not choice.changes:
            return iter([(1.0, self.base.scores)])
        return score_steps(self.base, self._view, _key(self._atlas, choice))


def _edit(atlas: ec.Atlas, choice: Choice) -> ec.Edit:
    options: dict[str, Any] = {"layers": list(choice.layers)}
    if choice.from_nothing:
        # Adaptive scaling weighs what is taken away; from nothing, everything is.
        return ec.Edit.of(atlas, keep=dict.fromkeys(choice.concepts, choice.strength), **options)
    taken = [name for name in atlas.concepts if (name in choice.concepts) != (choice.mode == KEEP)]
    if not choice.concepts:
        taken = []
    # Keeping in place is erasing all others; written so, strength 0 is the base here too.
    return ec.Edit.of(atlas, erase=dict.fromkeys(taken, choice.strength), scaling=choice.scaling, **options)


def _key(atlas: ec.Atlas, choice: Choice) -> Hashable:
    return (_edit(atlas, choice), atlas.sharpness)


def score_steps(base: Base, model: nn.Module, key: Hashable) -> Iterator[tuple[float, dict[str, float]]]:
    """Score a model on every class in portions; yield the share done and what is known so far.

    A page can stop between portions when its visitor has moved on. Only whole results are remembered.
    """
    scores = base.remembered.get(key)
    if scores is None:
        scores = {}
        yield 0.0, scores
        for names in _chunks(base.facts):
            with HEAVY:
                scores |= base.sample.task.measure(model, base.sample.concepts, names).score
            if len(scores) < len(base.facts.classes):
                yield len(scores) / len(base.facts.classes), scores
        base.remembered.put(key, scores)
    yield 1.0, scores


def _chunks(facts: Facts) -> Iterator[list[str]]:
    names: list[str] = []
    for name in facts.classes:
        names.append(name)
        if sum(facts.held_out[n] for n in names) >= _CHUNK:
            yield names
            names = []
    if names:
        yield names


def control_steps(base: Base, choice: Choice) -> Iterator[tuple[float, list[dict[str, float]]]]:
    """Score sham edits: random (Gaussian) changes as large as the edit in every layer.

    Yields the share done and the scores of every finished seed; nothing if there is no control.
    """
    if gaussian_view is None or not choice.changes:
        return
    atlas = base.variant(choice.power, choice.clip)
    edit, done = _edit(atlas, choice), []  # type: ec.Edit, list[dict[str, float]]
    for seed in range(CONTROL_SEEDS):
        key = (_key(atlas, choice), "gaussian", seed)
        scores = base.remembered.get(key)
        if scores is None:
            with HEAVY:
                sham = gaussian_view(atlas, edit, seed)
            for share, scores in score_steps(base, sham, key):  # noqa: B007
                if share < 1:
                    yield (seed + share) / CONTROL_SEEDS, done
        assert scores is not None
        done = [*done, scores]
        if seed + 1 < CONTROL_SEEDS:
            yield (seed + 1) / CONTROL_SEEDS, done
    yield 1.0, done
