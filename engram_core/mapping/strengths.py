"""Trace strengths of the inputs of a map, and the points that they make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import nn

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..numerics.precision import exactly
from ..progress import Progress, Step, Steps, drain
from .hidden_states import HiddenStates, hidden_states
from .inputs import MapInputs, answers
from .trace_meter import TraceMeter, TraceStrengths

__all__ = [
    "HiddenStates",
    "Points",
    "TraceMeter",
    "TraceStrengths",
    "hidden_states",
    "points_steps",
    "trace_strengths",
    "trace_strengths_steps",
]

_AT_ONCE = 96  # inputs in a step


@exactly
def trace_strengths(
    model: nn.Module,
    atlas: Atlas,
    inputs: MapInputs,
    *,
    concepts: Iterable[str] | None = None,
    layers: str | Iterable[str] | None = None,
    progress: Progress | None = None,
) -> TraceStrengths:
    """Measure how strongly the engrams answer single inputs (see `TraceMeter`).

    Args:
        model: the base, or an edited view of it.
        atlas: the engrams that measure.
        inputs: from `draw_inputs`.
        concepts: whose engrams; default those that the inputs are drawn from.
        layers: which layers (see `layers.select_layers`).
        progress: called with (done, total, text).

    Returns:
        Strengths, one row per input.
    """
    meter = TraceMeter(atlas, concepts=inputs.names if concepts is None else concepts, layers=layers)
    return drain(trace_strengths_steps(model, meter, inputs), progress)


@exactly
def trace_strengths_steps(
    model: nn.Module, meter: TraceMeter, inputs: MapInputs, *, at_once: int = _AT_ONCE
) -> Steps[TraceStrengths]:
    """Do what `trace_strengths` does in steps.

    Args:
        model: the base, or an edited view of it.
        meter: measures; the same for base and edited model.
        inputs: from `draw_inputs`.
        at_once: inputs in every step.

    Yields:
        The strengths of the first inputs.

    Returns:
        The result of `trace_strengths`.
    """
    values = np.zeros((0, len(meter.layers), len(meter.concepts)), np.float32)
    parts: list[np.ndarray] = []
    for part in inputs.portions(at_once):
        partial = TraceStrengths(values, meter.layers, meter.concepts, inputs.first(len(values)))
        yield Step(len(values), len(inputs), "measuring traces", partial)
        parts.append(meter.measure(model, part).values)
        values = np.concatenate(parts)
    found = TraceStrengths(values, meter.layers, meter.concepts, inputs)
    yield Step(len(inputs), len(inputs), "measuring traces", found)
    return found


@dataclass(frozen=True)
class Points:
    """Inputs as the points of a map, in one model.

    Attributes:
        features: (inputs, features).
        answers: what the model says to each input; see `inputs.answers`.
        specificity: own trace minus the strongest other's; NaN for hidden states.
    """

    features: np.ndarray
    answers: tuple[str, ...]
    specificity: np.ndarray


@exactly
def points_steps(
    subject: Subject,
    model: nn.Module,
    inputs: MapInputs,
    ruler: TraceMeter | tuple[Atlas, str],
    *,
    at_once: int = _AT_ONCE,
) -> Steps[Points]:
    """Measure inputs as the points of a map, and ask the model about each, in steps.

    Args:
        subject: whose task reads the outputs.
        model: the subject's model, or an edited view of it.
        inputs: from `draw_inputs`.
        ruler: measures trace strengths in all layers; or an atlas and a layer, whose hidden states are read.
        at_once: inputs in every step.

    Yields:
        The points of the first inputs.

    Returns:
        The points.
    """
    found = Points(np.zeros((0, 0)), (), np.zeros(0))
    for part in inputs.portions(at_once):
        yield Step(len(found.answers), len(inputs), "measuring inputs", found)
        if isinstance(ruler, TraceMeter):
            strengths = ruler.measure(model, part)
            features, specificity = strengths.matrix, strengths.specificity
        else:
            features = hidden_states(model, ruler[0], part, ruler[1]).matrix
            specificity = np.full(len(part), np.nan)
        said = (*found.answers, *answers(subject, part, model))
        if found.answers:
            features = np.concatenate([found.features, features])
            specificity = np.concatenate([found.specificity, specificity])
        found = Points(features, said, specificity)
    return found
