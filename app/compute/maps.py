"""Maps: inputs measured step by step, laid out at once by PCA and behind the scenes by UMAP."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from engram_core.atlas import Atlas
from engram_core.mapping.inputs import CONCEPTS, MapInputs, draw_inputs, some_concepts
from engram_core.mapping.projection import JointProjection, Projection, joint_projection, project, warm_up
from engram_core.mapping.strengths import Points, points_steps
from engram_core.mapping.trace_meter import TraceMeter
from engram_core.progress import Step, Steps, nested, once
from engram_core.solving.similarity import EngramCosines, engram_cosines_steps

from ..choice.choice import Choice
from ..choice.picture import Picture
from ..server import memory
from ..server.base import Base
from ..server.fair_lock import COMPUTE_LOCK, lock_each_step
from .edited_view import edit_key, edited_view
from .images import pixels

__all__ = [
    "Measured",
    "Sprite",
    "compare_engrams",
    "joint_job",
    "measure_inputs",
    "neighbours",
    "plain_job",
    "shown_concepts",
    "sprite_of",
    "warm",
]

_AT_ONCE = 48  # inputs in a step
_FEW = 5  # held-out inputs per concept below which the recorded ones are drawn
_THUMBNAIL = 32  # pixels of the longer side of a picture under the mouse
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


def shown_concepts(
    base: Base, choice: Choice, *, selected: str = "", engrams: bool = False
) -> tuple[str, ...]:
    """Return the concepts on the map: all, or those chosen and a seeded few; the selected one is there."""
    most = _ENGRAMS if engrams else CONCEPTS
    names = some_concepts(base.facts.classes, choice.concepts, most=most)
    if selected and selected not in names:
        names = some_concepts(base.facts.classes, (selected, *choice.concepts), most=most)
    return names


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


def measure_inputs(
    base: Base, choice: Choice, layer: str, selected: str = ""
) -> Generator[Step[Any], None, Measured]:
    """Measure the inputs of the map in base and edited model.

    Args:
        base: the model.
        choice: the edit.
        layer: hidden states of this layer; "": trace strengths of all layers.
        selected: a concept that is to be among those on the map; "" for none.

    Returns:
        What both models make of the inputs.

    Yields:
        Where the work stands.
    """
    inputs, recorded = _inputs(base, shown_concepts(base, choice, selected=selected))
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


def neighbours(found: EngramCosines, erased: Sequence[str], most: int) -> tuple[str, ...]:
    """Return the concepts whose engrams are nearest to an erased one's, in falling order of their cosine.

    Args:
        found: cosines of all concepts on the map.
        erased: some of them.
        most: so many for each erased one.
    """
    near: dict[str, float] = {}
    for name in erased:
        row = found.cosines[found.concepts.index(name)]
        order = [i for i in np.argsort(-row, kind="stable") if found.concepts[i] not in erased]
        for i in order[:most]:
            near[found.concepts[i]] = max(near.get(found.concepts[i], -np.inf), float(row[i]))
    return tuple(sorted(near, key=lambda name: -near[name]))


@dataclass(frozen=True)
class Sprite:
    """All pictures of a map in one, row by row.

    Attributes:
        pixels: the one picture, (height, width) or (height, width, 3), 0–1.
        shape: height and width of each.
        columns: pictures in a row.
        count: how many there are.
    """

    pixels: np.ndarray
    shape: tuple[int, int]
    columns: int
    count: int


def sprite_of(base: Base, inputs: MapInputs) -> Sprite:
    """Return the pictures of a map's inputs, none larger than a thumbnail."""

    def make() -> Sprite:
        found = [
            pixels(base, Picture(concept, number))
            for concept, number in zip(inputs.concept, inputs.number, strict=True)
        ]
        step = max(1, -(-max(found[0].shape[:2]) // _THUMBNAIL))
        few = [picture[::step, ::step] for picture in found]
        height, width = few[0].shape[:2]
        columns = int(np.ceil(np.sqrt(len(few))))
        sheet = np.zeros((-(-len(few) // columns) * height, columns * width, *few[0].shape[2:]), np.float32)
        for place, picture in enumerate(few):
            row, column = divmod(place, columns)
            sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture
        return Sprite(sheet, (height, width), columns, len(few))

    return base.remembered.made(("map sprite", inputs.names), make)


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
