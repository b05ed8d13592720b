"""Sufficiency where it can hold: concepts kept alone in every layer, and in one layer at a time.

In a deep language model keeping from nothing in all layers fails (docs/science.md section 4): the layers that
follow no longer get what they need to answer anything. Keeping in one layer, the others untouched, asks
of each layer whether its part of the memory is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..atlas import Atlas
from ..concepts.tasks import Scores, Subject
from ..editing.edit import Edit
from ..errors import DataError
from ..models.groups import choose_groups
from ..numerics.precision import exactly
from ..progress import Memory, Progress, Step, Steps, drain, nested
from ..solving.choosing import chosen_concepts
from .options import draw_others
from .scores import Parts, Scorer

__all__ = ["ALL_LAYERS", "sufficiency_by_layer", "sufficiency_by_layer_steps"]

ALL_LAYERS = "(all)"
"""What stands in the column "layer" for keeping in every layer at once."""

NULLS: tuple[Literal["nothing", "in place"], ...] = ("nothing", "in place")


@exactly
def sufficiency_by_layer(
    subject: Subject,
    atlas: Atlas,
    *,
    concepts: Iterable[str] | None = None,
    sizes: Iterable[int] = (1,),
    draws: int = 5,
    nulls: Iterable[Literal["nothing", "in place"]] = NULLS,
    strength: float = 1.0,
    layers: str | Iterable[str] | None = None,
    groups: Mapping[str, Iterable[str]] | Iterable[str] | str | None = None,
    whole: bool = True,
    others: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Keep sets of concepts alone: in all layers, then in one layer at a time with the others untouched.

    Args:
        subject: model, concepts, task.
        atlas: the engrams; its sharpness applies.
        concepts: whose engrams to keep, for sets of one; larger sets are drawn from them. Default all.
        sizes: how many concepts are kept together. With 1, every one of `concepts` is kept once.
        draws: random sets for every size above 1.
        nulls: what keeping starts from, ``"nothing"`` or ``"in place"`` (docs/science.md section 1).
        strength: of keeping; 1 is the engram itself.
        layers: which layers (see `layers.select_layers`).
        groups: groups of layers (see `groups.choose_groups`) to keep in, instead of single layers.
        whole: begin with all layers together.
        others: how many concepts outside the set are scored, drawn at random for each set; default all.
        seed: of the draws.
        progress: called with (done, total, text).

    Returns:
        One row per layer (with `whole`, `ALL_LAYERS` first), null and size: ``kept``, mean score of the kept
        concepts; ``others``, mean score of those that were not kept; ``selective`` = kept − others; ``base``,
        the kept concepts' score in the base model; ``sets``, how many sets this is the mean of.

    Raises:
        DataError: if a size leaves nobody out, or there is nothing to keep.
    """
    work = sufficiency_by_layer_steps(
        subject, atlas, concepts=concepts, sizes=sizes, draws=draws, nulls=nulls, strength=strength,
        layers=layers, groups=groups, whole=whole, others=others, seed=seed,
    )  # fmt: skip
    return drain(work, progress)


@exactly
def sufficiency_by_layer_steps(
    subject: Subject,
    atlas: Atlas,
    *,
    concepts: Iterable[str] | None = None,
    sizes: Iterable[int] = (1,),
    draws: int = 5,
    nulls: Iterable[Literal["nothing", "in place"]] = NULLS,
    strength: float = 1.0,
    layers: str | Iterable[str] | None = None,
    groups: Mapping[str, Iterable[str]] | Iterable[str] | str | None = None,
    whole: bool = True,
    others: int | None = None,
    seed: int = 0,
    parts: Parts | None = None,
    memory: Memory | None = None,
) -> Steps[pd.DataFrame]:
    """Do what `sufficiency_by_layer` does in steps.

    Args:
        subject: as in `sufficiency_by_layer`, and so on to `seed`.
        atlas: the engrams.
        concepts: whose engrams.
        sizes: how many are kept together.
        draws: random sets.
        nulls: what keeping starts from.
        strength: of keeping.
        layers: which layers.
        groups: of layers.
        whole: begin with all layers.
        others: how many are scored beside a set.
        seed: of the draws.
        parts: as in `scores.Scorer`.
        memory: as in `scores.Scorer`.

    Yields:
        The rows so far, as a table.

    Returns:
        The table of `sufficiency_by_layer`.
    """
    scorer = Scorer(subject, atlas, parts=parts, memory=memory)
    names = chosen_concepts(atlas, concepts)
    chosen = atlas.select(layers)
    places = ({ALL_LAYERS: chosen} if whole else {}) | (
        {layer: [layer] for layer in chosen}
        if groups is None
        else {name: list(members) for name, members in choose_groups(chosen, groups).items()}
    )
    states = list(nulls)
    sets = {size: _sets(names, size, draws, seed) for size in sizes}
    asked = [
        (size, kept, _outside(subject, kept, others, seed + place))
        for size, drawn in sets.items()
        for place, kept in enumerate(drawn)
    ]
    if not (asked and states):
        raise DataError("There is nothing to keep: name at least one size, concept and null state.")
    edits = {
        (layer, null): Edit.of(atlas, keep=asked[0][1], null=null, layers=members)
        for layer, members in places.items()
        for null in states
    }
    done, total = 0, len(edits) * len(asked)
    probes = list(dict.fromkeys(name for _, kept, _ in asked for name in kept))
    base = yield from nested(scorer.base(probes), size=0, total=total, what="scoring the base model")
    rows: list[tuple[Any, ...]] = []
    table = _table(rows)
    for (layer, null), edit in edits.items():
        found: dict[int, list[tuple[float, float, float]]] = {}
        for size, kept, outside in asked:
            pairs = tuple((name, float(strength)) for name in kept)
            scores = yield from nested(
                scorer.edit(replace(edit, keep=pairs), [*kept, *outside]), done=done, total=total,
                what=f"keeping {size} in {layer}, {null}", partial=table,
            )  # fmt: skip
            done += 1
            found.setdefault(size, []).append(
                (_mean(scores, kept), _mean(scores, outside), _mean(base, kept))
            )
        for size, values in found.items():
            mine, rest, before = np.mean(values, axis=0)
            rows.append((layer, null, size, mine, rest, mine - rest, before, len(values)))
        table = _table(rows)
    yield Step(total, total, "measured", table)
    return table


def _table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    columns = ["layer", "null", "size", "kept", "others", "selective", "base", "sets"]
    return pd.DataFrame(rows, columns=columns)


def _sets(names: Sequence[str], size: int, draws: int, seed: int) -> list[list[str]]:
    if not 1 <= size <= len(names):
        raise DataError(f"Cannot keep {size} of {len(names)} concepts.")
    if size == 1:
        return [[name] for name in names]
    random = np.random.default_rng([seed, size])
    return [[names[i] for i in sorted(random.choice(len(names), size, replace=False))] for _ in range(draws)]


def _outside(subject: Subject, kept: Sequence[str], others: int | None, seed: int) -> list[str]:
    rest = draw_others(subject.concepts, kept, others, seed=seed)
    if not rest:
        raise DataError(
            "All concepts are kept; leave some out, so that there is something to tell them from."
        )
    return rest


def _mean(scores: Scores, names: Sequence[str]) -> float:
    return sum(scores.score[name] for name in names) / len(names)
