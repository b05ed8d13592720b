"""What a page has to know of a loaded model to offer choices, and how its scoring is divided into steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import engram_core as ec
from engram_core.concepts.sample import Sample

from ..choice.choice import Facts, start_values
from ..choice.search import STRONGEST

__all__ = ["choices_of", "parts_of"]

# Inputs per step for a model of a million parameters: some 50 ms, after which a click is heard.
_PORTION = {"image": 400, "text": 80, "values": 400}
_LARGE = 20_000_000  # parameters


def choices_of(sample: Sample, atlas: ec.Atlas, start: Mapping[str, Any]) -> Facts:
    """Return what the pages have to know of a model to offer choices."""
    text = sample.task.reads_text
    # In the order of the outputs; a model may have classes that are no concept here.
    order = getattr(sample.task, "classes", atlas.concepts)
    classes = tuple(name for name in order if name in atlas.concepts)
    kind = "text" if text else "image" if sample.image_shape else "values"
    if text:
        items = ((name, sample.concepts[name]) for name in classes)
        counts = {name: len(each.probe or ()) + len(each.record) for name, each in items}  # type: ignore[arg-type]
    else:
        counts = sample.concepts.subset(classes).held_out().sizes()
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
        features=() if sample.features is None else sample.features.names,
        **start_values(start),
    )


def parts_of(facts: Facts, names: Iterable[str]) -> Iterator[list[str]]:
    """Divide concepts into as many as are scored in one step."""
    left = list(names)
    while left:
        part = [left.pop(0)]
        while left and sum(facts.held_out[name] for name in part) < facts.portion:
            part.append(left.pop(0))
        yield part
