"""Maps: inputs measured step by step, laid out at once by PCA and behind the scenes by UMAP."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from engram_core.mapping.inputs import MapInputs, answers, draw_inputs, some_concepts
from engram_core.mapping.projection import JointProjection, Projection, joint_projection, project, warm_up
from engram_core.mapping.strengths import TraceMeter, hidden_states
from engram_core.progress import Step, Steps, nested, once
from engram_core.solving.similarity import EngramCosines, engram_cosines_steps

from ..choice.choice import Choice
from ..server import memory
from ..server.base import Base
from ..server.turns import HEAVY, in_turns
from .visitor import edit_key, edited_view

__all__ = [
    "Measured",
    "compare_engrams",
    "joint_job",
    "measure_inputs",
    "plain_job",
    "shown_concepts",
    "warm",
]

_PORTION = 48
_FEW = 5  # held-out inputs per concept below which the recorded ones are drawn
_ENGRAMS = 120  # engrams on one map

# One thread for all visitors: numba may not be entered twice at once, and pages go on meanwhile.
_WORKER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="umap")
_WARM: list[Future[None]] = []


@dataclass(frozen=True)
class Measured:
    """Inputs as points with features, for the base and for the edited model.

    Attributes:
        inputs: which they are.
        recorded: whether they are recorded ones, because too few are held out.
        base: (inputs, features).
        edited: the same of the edited model.
        base_says: answer of the base to each input.
        edited_says: answer of the edited model.
        specificity: base's own trace minus the strongest other; NaN for hidden states.
        edited_specificity: the same of the edited model.
    """

    inputs: MapInputs
    recorded: bool
    base: np.ndarray
    edited: np.ndarray
    base_says: tuple[str, ...]
    edited_says: tuple[str, ...]
    specificity: np.ndarray
    edited_specificity: np.ndarray


def shown_concepts(base: Base, choice: Choice, *, engrams: bool = False) -> tuple[str, ...]:
    """Return the concepts on the map: all, or those chosen and a seeded few."""
    if engrams:
        return some_concepts(base.facts.classes, choice.concepts, most=_ENGRAMS)
    return some_concepts(base.facts.classes, choice.concepts)


def warm() -> None:
    """Let UMAP compile in the background, once per process."""
    if not _WARM:
        _WARM.append(_WORKER.submit(warm_up))
        _WORKER.submit(memory.settle)


def _inputs(base: Base, names: tuple[str, ...]) -> tuple[MapInputs, bool]:
    def make() -> tuple[MapInputs, bool]:
        held = draw_inputs(base.sample, names)
        if len(held) >= _FEW * len(names) or not base.of_text:
            return held, False
        return draw_inputs(base.sample, names, recorded=True), True

    return base.remembered.made(("map inputs", names), make)


def _measured(base: Base, make: Callable[[], Any], inputs: MapInputs, layer: str) -> Steps[Any]:
    """Measure (features, answers, specificity) of one model."""
    what = "Measuring what every input leaves in the layers"
    yield Step(0, len(inputs), what, long=True)
    model, meter = make(), None
    if not layer:
        meter = base.remembered.made(
            ("map meter", inputs.names), lambda: TraceMeter(base.atlas, concepts=inputs.names)
        )
    features: list[np.ndarray] = []
    says: list[str] = []
    special: list[np.ndarray] = []
    for part in inputs.portions(_PORTION):
        yield Step(len(says), len(inputs), what)
        if meter is None:
            features.append(hidden_states(model, base.atlas, part, layer).matrix)
            special.append(np.full(len(part), np.nan))
        else:
            traces = meter.measure(model, part)
            features.append(traces.matrix)
            special.append(traces.specificity)
        says += answers(base.sample, part, model)
    return np.concatenate(features), tuple(says), np.concatenate(special)


def measure_inputs(base: Base, choice: Choice, layer: str) -> Generator[Step[Any], None, Measured]:
    """Measure the inputs of the map in base and edited model.

    Args:
        base: the model.
        choice: the edit.
        layer: hidden states of this layer; "": trace strengths of all layers.
    """
    inputs, recorded = _inputs(base, shown_concepts(base, choice))
    key = ("map", inputs.names, layer)
    # The same for the base and for an edit; where nothing is edited, the base stands for both.
    makers: dict[Hashable, Callable[[], Any]] = {key: lambda: base.sample.model}
    if choice.changes:
        makers[*key, edit_key(base, choice)] = partial(edited_view, base, choice)
    found: list[Any] = []
    for place, make in makers.items():
        work = once(base.remembered, place, partial(_measured, base, make, inputs, layer))
        found.append((yield from nested(in_turns(work), done=len(found), total=len(makers))))
    before, after = found[0], found[-1]
    return Measured(inputs, recorded, before[0], after[0], before[1], after[1], before[2], after[2])


def compare_engrams(base: Base, names: tuple[str, ...], layer: str) -> Steps[EngramCosines]:
    """Compare engrams in one layer, or over all layers for "": their cosines."""

    def work() -> Steps[EngramCosines]:
        doing = engram_cosines_steps(base.atlas, layer or None, concepts=names)
        return nested(doing, what=f"Comparing {len(names)} engrams, every two")

    return (yield from in_turns(once(base.remembered, ("map cosines", names, layer), work)))


def _job(base: Base, key: Hashable, make: Any, method: str) -> Future[Any]:
    found = base.remembered.get(key)
    if found is not None and not (found.done() and found.exception() is not None):
        return found
    if method == "umap":
        job: Future[Any] = _WORKER.submit(make)
    else:
        job = Future()
        with HEAVY:
            job.set_result(make())
    base.remembered.put(key, job)
    job.add_done_callback(partial(base.remembered.put, key))  # again: only now has it a size
    return job


def joint_job(
    base: Base, measured: Measured, choice: Choice, layer: str, method: str, dimensions: int, fit: str
) -> Future[JointProjection]:
    """Return the map of base and edited inputs: done at once for PCA, on its way for UMAP."""
    edit = edit_key(base, choice) if choice.changes else None
    key = ("map joint", measured.inputs.names, layer, edit, method, dimensions, fit)
    options: dict[str, Any] = {"method": method, "dimensions": dimensions, "fit": fit}
    return _job(base, key, lambda: joint_projection(measured.base, measured.edited, **options), method)


def plain_job(
    base: Base, found: EngramCosines, layer: str, method: str, dimensions: int
) -> Future[Projection]:
    """Return the map of engrams."""
    key = ("map engrams", found.concepts, layer, method, dimensions)
    options: dict[str, Any] = {"method": method, "dimensions": dimensions}
    return _job(base, key, lambda: project(found.matrix, **options), method)
