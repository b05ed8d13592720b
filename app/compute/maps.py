"""Maps: inputs measured step by step, laid out at once by PCA and behind the scenes by UMAP."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from engram_core.atlas import Atlas
from engram_core.mapping.inputs import MapInputs, draw_inputs, some_concepts
from engram_core.mapping.projection import JointProjection, Projection, joint_projection, project, warm_up
from engram_core.mapping.strengths import Points, points_steps
from engram_core.mapping.trace_meter import TraceMeter
from engram_core.progress import Step, Steps, nested, once
from engram_core.solving.similarity import EngramCosines, engram_cosines_steps

from ..choice.choice import Choice
from ..server import memory
from ..server.base import Base
from ..server.fair_lock import COMPUTE_LOCK, lock_each_step
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

_AT_ONCE = 48  # inputs in a step
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
        base: their points in the base model.
        edited: their points in the edited one.
    """

    inputs: MapInputs
    recorded: bool
    base: Points
    edited: Points


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
        if len(held) >= _FEW * len(names) or not base.is_text:
            return held, False
        return draw_inputs(base.sample, names, recorded=True), True

    return base.remembered.made(("map inputs", names), make)


def _measured(base: Base, make: Callable[[], nn.Module], inputs: MapInputs, layer: str) -> Steps[Points]:
    """Measure the inputs in one model."""
    yield Step(0, len(inputs), "editing", long=True)
    model = make()
    ruler: TraceMeter | tuple[Atlas, str] = (base.atlas, layer)
    if not layer:
        ruler = base.remembered.made(
            ("map meter", inputs.names), lambda: TraceMeter(base.atlas, concepts=inputs.names)
        )
    return (yield from points_steps(base.sample, model, inputs, ruler, at_once=_AT_ONCE))


def measure_inputs(base: Base, choice: Choice, layer: str) -> Generator[Step[Any], None, Measured]:
    """Measure the inputs of the map in base and edited model.

    Args:
        base: the model.
        choice: the edit.
        layer: hidden states of this layer; "": trace strengths of all layers.

    Returns:
        What both models make of the inputs.

    Yields:
        Where the work stands.
    """
    inputs, recorded = _inputs(base, shown_concepts(base, choice))
    key = ("map", inputs.names, layer)
    # The same for the base and for an edit; where nothing is edited, the base stands for both.
    makers: dict[Hashable, Callable[[], nn.Module]] = {key: lambda: base.sample.model}
    if choice.changes:
        makers[*key, edit_key(base, choice)] = partial(edited_view, base, choice)
    found: list[Points] = []
    for place, make in makers.items():
        work = once(base.remembered, place, partial(_measured, base, make, inputs, layer))
        found.append((yield from nested(lock_each_step(work), done=len(found), total=len(makers))))
    return Measured(inputs, recorded, found[0], found[-1])


def compare_engrams(base: Base, names: tuple[str, ...], layer: str) -> Steps[EngramCosines]:
    """Compare engrams in one layer, or over all layers for "": their cosines."""

    def work() -> Steps[EngramCosines]:
        doing = engram_cosines_steps(base.atlas, layer or None, concepts=names)
        return nested(doing, what=f"Comparing {len(names)} engrams, every two")

    return (yield from lock_each_step(once(base.remembered, ("map cosines", names, layer), work)))


def _job(base: Base, key: Hashable, make: Any, method: str) -> Future[Any]:
    found = base.remembered.get(key)
    if found is not None and not (found.done() and found.exception() is not None):
        return found
    if method == "umap":
        job: Future[Any] = _WORKER.submit(make)
    else:
        job = Future()
        with COMPUTE_LOCK:
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
    return _job(
        base,
        key,
        lambda: joint_projection(measured.base.features, measured.edited.features, **options),
        method,
    )


def plain_job(
    base: Base, found: EngramCosines, layer: str, method: str, dimensions: int
) -> Future[Projection]:
    """Return the map of engrams."""
    key = ("map engrams", found.concepts, layer, method, dimensions)
    options: dict[str, Any] = {"method": method, "dimensions": dimensions}
    return _job(base, key, lambda: project(found.matrix, **options), method)
