"""Python that reproduces what a page shows, by the core's own names."""

from __future__ import annotations

from collections.abc import Sequence

from .choice import Choice

__all__ = ["edit_code", "model_code", "subset_code"]


def model_code(load: str, choice: Choice) -> str:
    """Return the lines that load a model and solve for its engrams.

    Args:
        load: the line that makes `sample`.
        choice: its sharpness counts.
    """
    lines = [
        "import engram_core as ec",
        "",
        load,
        "recording = ec.record(sample.model, sample.concepts)",
        "atlas = ec.extract(sample.model, recording)",
    ]
    if choice.power != 1 or choice.clip:
        lines.append(f"atlas = atlas.sharpen({choice.power:g}{', clip=True' if choice.clip else ''})")
    return "\n".join(lines)


def subset_code(names: Sequence[str], classes: Sequence[str]) -> str:
    """Return the line that makes `some`: the sample, or only some of its concepts."""
    if len(names) == len(classes):
        return "some = sample"
    return f"some = ec.Subject(sample.model, sample.concepts.subset({list(names)!r}), sample.task)"


def edit_code(load: str, choice: Choice, classes: Sequence[str]) -> str:
    """Return the lines that make `edited`, the edited view of a choice."""
    code = model_code(load, choice)
    if not choice.changes:
        return f"{code}\nedited = sample.model  # nothing is switched off"
    layers = "" if choice.everywhere else f", layers={list(choice.layers)!r}"
    if choice.from_nothing:
        return f"{code}\nedited = atlas.apply(sample.model, keep={choice.strengths!r}{layers})"
    scaling = "" if choice.scaling == "plain" else f", scaling={choice.scaling!r}"
    if choice.keeps:
        strengths = dict.fromkeys((name for name in classes if name not in choice.concepts), choice.strength)
    else:
        strengths = choice.strengths
    return f"{code}\nedited = atlas.apply(sample.model, erase={strengths!r}{layers}{scaling})"
