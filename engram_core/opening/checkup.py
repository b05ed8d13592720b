"""A check-up before the work: what is covered, how many rows there will be, what it takes in memory and time.

Nothing is solved and nothing is kept: a few inputs (more where the model is fast) go through it by the
clock, and the rest is counted from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd
from torch import nn

from ..concepts.concepts import BACKGROUND, ConceptSet
from ..concepts.inspection import Inspection, inspect_concepts
from ..errors import CoverageError, EngramError
from ..models.layers import find_linear_maps
from ..models.view import base_of
from ..numerics.precision import exactly
from ..sandboxing.limits import free_bytes
from .estimate import NOT_CALLED, TimedRecording, estimated_layers, solve_seconds, timed_recording

__all__ = ["CheckUp", "check_up"]


@dataclass(frozen=True)
class CheckUp:
    """What is known of a model with its concepts before anything is recorded.

    Attributes:
        layers: one row per layer: layer, kind, covered, reason, width, outputs; and where it is covered an
            estimate of rows (in the total), form (``"dual"`` or ``"primal"``), bytes (statistics and
            solution; 0 where it shares them) and shares (the layer it shares them with, or "").
        concepts: one row per concept and for the background: concept, inputs, rows (those that a layer reads
            at every position; estimated), held_out (inputs to measure on).
        problems: what must be put right first; empty if nothing.
        notes: what is worth knowing.
        parameters: of the model.
        model_bytes: of its parameters.
        memory_bytes: beyond the model, estimated.
        forward_seconds: to record everything, estimated.
        solve_seconds: to extract all engrams, estimated.
    """

    layers: pd.DataFrame
    concepts: pd.DataFrame
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    parameters: int
    model_bytes: int
    memory_bytes: int
    forward_seconds: float
    solve_seconds: float

    @property
    def ok(self) -> bool:
        """Whether recording can start."""
        return not self.problems

    @property
    def seconds(self) -> float:
        """Time to record and extract, estimated."""
        return self.forward_seconds + self.solve_seconds

    def state(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in ("layers", "concepts"):
            table = found[name]
            rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
            found[name] = {"columns": list(table.columns), "rows": rows}
        return found

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> CheckUp:
        """Return what `state` was taken of.

        Args:
            state: from `state`.
        """
        found = {each.name: state[each.name] for each in fields(cls)}
        for name in ("layers", "concepts"):
            found[name] = pd.DataFrame(found[name]["rows"], columns=found[name]["columns"])
        for name in ("problems", "notes"):
            found[name] = tuple(map(str, found[name]))
        for name in ("parameters", "model_bytes", "memory_bytes"):
            found[name] = int(found[name])
        for name in ("forward_seconds", "solve_seconds"):
            found[name] = float(found[name])
        return cls(**found)


@exactly
def check_up(model: nn.Module, concepts: ConceptSet | Mapping[str, Any]) -> CheckUp:
    """Check a model and its concepts without recording them; no error is raised for what it finds.

    Args:
        model: any module; it runs a few inputs.
        concepts: a concept set (of texts too), or a mapping name → inputs.

    Returns:
        All that was found.

    Raises:
        DataError: if `concepts` is no set of concepts at all.
    """
    base, concepts = base_of(model), ConceptSet.of(concepts)
    held = inspect_concepts(base, concepts)
    problems = list(held.problems)
    try:
        find_linear_maps(base)
        covered = True
    except CoverageError as error:
        problems.append(str(error))
        covered = False
    timed = None
    if covered and any(held.rows.values()):
        try:
            timed = timed_recording(base, concepts, sum(held.inputs.values()))
        except EngramError as error:
            problems.append(str(error))
    table = estimated_layers(base, timed, held.rows)
    parameters = sum(p.numel() for p in base.parameters())
    model_bytes = sum(p.numel() * p.element_size() for p in base.parameters())
    memory = int(table["bytes"].sum())
    free = free_bytes()
    if free is not None and memory > free:
        problems.append(
            f"About {memory / 2**30:,.1f} GB are needed beside the model and {free / 2**30:,.1f} GB are "
            "free. Take fewer concepts, or only some layers (layers=…)."
        )
    total = sum(held.rows.values())
    return CheckUp(
        layers=table,
        concepts=pd.DataFrame(
            [(name, held.inputs[name], held.rows[name], held.held_out[name]) for name in held.inputs],
            columns=["concept", "inputs", "rows", "held_out"],
        ),
        problems=tuple(problems),
        notes=tuple(_notes(base, concepts, held, table, timed)),
        parameters=parameters,
        model_bytes=model_bytes,
        memory_bytes=memory,
        forward_seconds=timed.seconds * total / timed.rows if timed is not None else 0.0,
        solve_seconds=solve_seconds(table, len(concepts)),
    )


def _notes(
    model: nn.Module,
    concepts: ConceptSet,
    held: Inspection,
    table: pd.DataFrame,
    timed: TimedRecording | None,
) -> Iterator[str]:
    total = sum(held.rows.values())
    if timed is not None:
        yield from concepts.warnings(model)
    if len(held.rows) == 1:
        yield (
            "There is one concept and nothing else in the total, so its engram is the whole layer. Add "
            "concepts or a background."
        )
    for name, rows in held.rows.items():
        if name != BACKGROUND and len(held.rows) > 1 and total and rows / total > 0.5:
            yield (
                f"Concept {name!r} is {rows / total:.0%} of all rows; what is not in the total is not "
                "protected."
            )
    without = [name for name, count in held.held_out.items() if not count and name != BACKGROUND]
    if without:
        shown = ", ".join(map(repr, without[:3])) + (" …" if len(without) > 3 else "")
        yield (
            f"{len(without)} concepts have nothing held out to measure on ({shown}); they are measured on "
            "what was recorded."
        )
    skipped = table[~table["covered"].astype(bool)]
    if len(skipped):
        yield f"{len(skipped)} of {len(table)} layers hold no engram; the table says why."
    silent = table[table["reason"] == NOT_CALLED]
    if len(silent):
        yield (
            f"{len(silent)} layers were not called with the few inputs tried (experts that were not chosen, "
            "or branches)."
        )
