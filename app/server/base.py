"""A model that is loaded, with its engrams: shared by all visitors and written by none."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import engram_core as ec
from engram_core.concepts.sample import Sample
from engram_core.concepts.tasks import Scores, Subject, Task
from engram_core.libraries import first_line, map_weights
from engram_core.opening.prepared import Prepared, prepared
from engram_core.opening.samples import load_sample

from ..choice.choice import Facts, start_values
from ..choice.search import STRONGEST
from . import memory
from .model_facts import start_of
from .results import Remembered, size_of
from .turns import HEAVY, Report
from .warm_up import warm_up

__all__ = ["HEAVY", "Base", "Loading", "Remembered", "parts", "pausing", "portions", "size_of"]

# Once per process: changing it later makes every pool start again, and sessions would fight over it. On two
# cores one thread is faster: the browser needs the other, and two threads that wait for each other's turn
# took 92 s for what one does in 42 s.
torch.set_num_threads(1 if (os.cpu_count() or 1) <= 2 else 2)

# Every operation of torch lets Python's lock go and then waits for it again: up to 5 ms beside a thread that
# draws a figure. A forward pass has hundreds of them.
sys.setswitchinterval(0.0005)

_LOG = logging.getLogger(__name__)
# Whoever cuts a mapped file short would end the server, and with it everybody's visit.
map_weights(False)

_TRIALS, _TRIAL_BYTES = 20_000, 32 * 2**20
# Inputs per turn for a model of a million parameters: some 50 ms, after which a click is heard.
_PORTION = {"image": 400, "text": 80}
_LARGE = 20_000_000  # parameters
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
        told: whether `load` takes a function that it tells how far it is.
    """

    def __init__(
        self, load: Callable[..., Sample], *, start: Mapping[str, Any] | None = None, told: bool = False
    ) -> None:
        self._start, self._told = start, told
        self.fraction = 0.0
        self.doing = "Reading the model and its data"
        self._base: Base | None = None
        self._error: Exception | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(load,), name="load", daemon=True)
        self._thread.start()

    @classmethod
    def of_sample(cls, name: str) -> Loading:
        """Load a sample model by name."""
        return cls(lambda progress: load_sample(name, progress=progress), told=True)

    def wait(self, seconds: float) -> bool:
        """Wait for the base, but no longer than `seconds`; return whether it is there, or an error."""
        return self._ready.wait(seconds)

    def join(self) -> None:
        """Wait until the thread has ended: what was made is then in the cache too."""
        self._thread.join()

    @property
    def failed(self) -> bool:
        """Whether the work ended in an error."""
        return self._error is not None

    def base(self) -> Base:
        """Return what was loaded, or raise what went wrong."""
        self._ready.wait()
        if self._error is not None:
            raise self._error
        assert self._base is not None
        return self._base

    def _run(self, load: Callable[..., Sample]) -> None:
        try:
            self._load(load)
        except BaseException as error:  # a library's panic is no Exception
            if self._base is None:
                # Kept for the page that asks.
                self._error = error if isinstance(error, Exception) else RuntimeError(first_line(error))
            else:
                _LOG.warning("%s is not kept for the next start: %s", self._base.facts.name, error)
        finally:
            self._ready.set()

    def _load(self, load: Callable[..., Sample]) -> None:
        def read(done: int, total: int | None, what: str) -> None:
            self.fraction = 0.05 * (done / total if total else 0.0)
            self.doing = what[:1].upper() + what[1:]

        def worked(done: int, total: int | None, what: str) -> None:
            share = done / total if total else 0.0
            if what.startswith("recording"):
                self.fraction = 0.05 + 0.6 * share
                self.doing = f"Recording what every input leaves in each layer ({done:,} done)"
            elif what.startswith("solving"):
                self.fraction = 0.65 + 0.2 * share
                self.doing = f"Solving for the engrams of all concepts ({done} of {total} layer inputs)"
            else:
                self.doing = what[:1].upper() + what[1:]

        sample = load(read) if self._told else load()
        self.fraction = 0.05
        with prepared(sample, progress=worked) as found:
            base = self._prepare(sample, found)
            memory.settle()
            self._base = base
            self._ready.set()  # writing to the disk holds nobody up
            warm_up()
            found.keep()
            found.keep_scores(base.scores | {"": base.pace})

    def _prepare(self, sample: Sample, found: Prepared) -> Base:
        """Compute what the first switch would otherwise wait for."""
        atlas = found.atlas
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
        scores = found.scores() if found.kept else None
        pace = 0.0 if scores is None else scores.pop("", 0.0)
        if scores is None or not pace:
            scores, pace = self._scored(sample, facts)
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

    def _scored(self, sample: Sample, facts: Facts) -> tuple[dict[str, float], float]:
        """Return the base's score per concept, and the seconds it took per held-out input."""
        scores: dict[str, float] = {}
        began = time.perf_counter()
        for found in portions(facts, sample, sample.model, facts.classes):
            scores |= found.score
            self.fraction = 0.9 + 0.1 * len(scores) / len(facts.classes)
            self.doing = f"Scoring the base model ({len(scores)} of {len(facts.classes)} concepts)"
        return scores, (time.perf_counter() - began) / max(1, sum(facts.held_out.values()))


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
        strength_source=str(start.get("found", "")),
        portion=max(4, int(_PORTION[kind] * min(1.0, 2e6 / parameters))),
        slow=parameters > _LARGE,
        **start_values(start),
    )


@dataclass(frozen=True)
class PausingTask(Task):
    """A task that scores in portions: what the core measures in one go, and long, others can come between.

    Attributes:
        facts: of the model.
        task: its own task.
        report: where others have their turns.
    """

    facts: Facts
    task: Task
    report: Report

    @property
    def unit(self) -> str:
        """What a score is called."""
        return self.task.unit

    def measure(
        self, model: nn.Module, concepts: Mapping[str, Any], probes: Iterable[str] | None = None
    ) -> Scores:
        """Return the scores; as the task itself has them."""
        subject = Subject(model, concepts, self.task)  # type: ignore[arg-type]
        score: dict[str, float] = {}
        says: dict[str, dict[str, float]] = {}
        details: dict[str, dict[str, float]] = {}
        for part in portions(self.facts, subject, model, concepts if probes is None else probes):
            score |= part.score
            says |= part.says
            for kind, values in part.details.items():
                details.setdefault(kind, {}).update(values)
            self.report.pause()
        return Scores(score, says, details)


def pausing(base: Base, subject: Subject, report: Report) -> Subject:
    """Return a subject that scores in portions, for work `in_turns`."""
    return Subject(subject.model, subject.concepts, PausingTask(base.facts, subject.task, report))


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
