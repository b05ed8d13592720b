"""A model on its way: read, its engrams solved and its scores measured, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import engram_core as ec
from engram_core.concepts.sample import Sample
from engram_core.concepts.tasks import Scores
from engram_core.libraries import first_line
from engram_core.measuring.scores import score_steps
from engram_core.opening.prepared import Prepared, prepared
from engram_core.opening.samples import load_sample
from engram_core.progress import Step, watch

from ..choice.choice import Facts
from . import memory
from .base import Base
from .choices import choices_of, parts_of
from .fair_lock import lock_each_step
from .model_facts import start_of
from .process import prepare_process
from .warm_up import warm_up

__all__ = ["BackgroundLoad"]

_LOG = logging.getLogger(__name__)

prepare_process()  # before the first weights are read


class BackgroundLoad:
    """A base on its way: the work goes on in a thread of its own, whoever watches or leaves.

    A page that is reloaded in the middle finds the same work going on, not a second one.

    Args:
        load: makes the subject; called in the thread.
        start: what the pages start with; default, what comes with a sample of that name.
        reports: whether `load` takes a function that it reports to.
    """

    def __init__(
        self, load: Callable[..., Sample], *, start: Mapping[str, Any] | None = None, reports: bool = False
    ) -> None:
        self._start, self._reports = start, reports
        self.fraction = 0.0
        self.doing = "Reading the model and its data"
        self._base: Base | None = None
        self._error: Exception | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(load,), name="load", daemon=True)
        self._thread.start()

    @classmethod
    def of_sample(cls, name: str) -> BackgroundLoad:
        """Load a sample model by name."""
        return cls(lambda progress: load_sample(name, progress=progress), reports=True)

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

        sample = load(read) if self._reports else load()
        self.fraction = 0.05
        with prepared(sample, progress=worked) as found:
            base = self._prepare(sample, found)
            memory.settle()
            self._base = base
            self._ready.set()  # writing to the disk holds nobody up
            warm_up()
            found.store()
            found.write_scores(base.scores | {"": base.pace})

    def _prepare(self, sample: Sample, found: Prepared) -> Base:
        """Compute what the first switch would otherwise wait for."""
        atlas = found.atlas
        start = start_of(sample.name) if self._start is None else self._start
        facts = choices_of(sample, atlas, start)
        if facts.kind != "text":
            for done, concept in enumerate(facts.classes):
                self.fraction = 0.85 + 0.05 * done / len(facts.classes)
                self.doing = f"Preparing the edit of {concept}"
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
        began = time.perf_counter()
        work = score_steps(sample, sample.model, facts.classes, parts=partial(parts_of, facts))

        def scored(step: Step[Scores]) -> None:
            self.fraction = 0.9 + 0.1 * step.share
            self.doing = f"Scoring the base model ({step.done:g} of {step.total} concepts)"

        found = watch(lock_each_step(work), scored)
        return found.score, (time.perf_counter() - began) / max(1, sum(facts.held_out.values()))
