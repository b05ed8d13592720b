"""What an edit does to everything that should have stayed: one table, before and after."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from torch import nn

from ..editing.live_edit import live_edit
from ..progress import Progress, Step, Steps, drain, nested
from .decoding import Stop, stopper
from .degenerate import degenerate_rate_steps
from .exact_recall import POSITIONS, recall_steps
from .text_loss import perplexity_steps
from .texts import TextSet

__all__ = ["damage", "damage_steps"]


_PROMPTS = 64


def damage(
    base: nn.Module,
    edited: nn.Module,
    tokenizer: Any,
    texts: TextSet,
    *,
    erased: Iterable[str] | None = None,
    prompts: Sequence[str] | None = None,
    max_new_tokens: int = 48,
    template: bool = False,
    stop: Stop = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure what an edit takes and what it does to all the rest.

    Args:
        base: the model before.
        edited: the view.
        tokenizer: of both.
        texts: the concepts, and the background if there is one.
        erased: names that count as taken; default what the view's edit takes away.
        prompts: continued to find the degenerate rate; default the first question of up to 64 other concepts.
        max_new_tokens: length of these continuations.
        template: ask through the chat template.
        stop: a function that returns True, or an event; looked at between the measures.
        progress: called with (done, total, text).

    Returns:
        One row per measure that applies: measure, before, after, change, count (questions, texts or prompts).
        Measures: ``recall, erased``, ``recall, others`` (mean over concepts of exact answers), ``nll,
        erased``, ``nll, others`` (nats per answer token, mean over concepts), ``perplexity, background``,
        ``degenerate rate``.
    """
    work = damage_steps(
        base, edited, tokenizer, texts, erased=erased, prompts=prompts, max_new_tokens=max_new_tokens,
        template=template, stop=stop,
    )  # fmt: skip
    return drain(work, progress)


def damage_steps(
    base: nn.Module,
    edited: nn.Module,
    tokenizer: Any,
    texts: TextSet,
    *,
    erased: Iterable[str] | None = None,
    prompts: Sequence[str] | None = None,
    max_new_tokens: int = 48,
    template: bool = False,
    stop: Stop = None,
    positions: int = POSITIONS,
) -> Steps[pd.DataFrame]:
    """Do what `damage` does in steps.

    Args:
        base: as in `damage`, and so on to `stop`.
        edited: the view.
        tokenizer: of both.
        texts: the concepts.
        erased: names that count as taken.
        prompts: that are continued.
        max_new_tokens: length of these continuations.
        template: ask through the chat template.
        stop: looked at between the measures.
        positions: as in `exact_recall.recall_steps`.

    Yields:
        The table so far.

    Returns:
        The table of `damage`.
    """
    if erased is None:
        control = live_edit(edited)
        erased = [n for n, s in control.edit.taken(control.atlas.concepts).items() if s > 0 and n in texts]
    gone = list(erased)
    others = [name for name in texts if name not in set(gone)]
    sides = (base, edited)
    asked = {
        "erased": [n for n in gone if any(i.is_fact for i in (*texts[n].record, *texts[n].probe))],
        "others": [n for n in others if any(i.is_fact for i in (*texts[n].record, *texts[n].probe))],
    }
    if prompts is None:
        firsts = (next((i for i in texts[n].record if i.is_fact), None) for n in asked["others"])
        prompts = [item.prompt for item in firsts if item is not None][:_PROMPTS]

    def questions(group: str) -> _Measuring:
        tables = []
        for place, side in enumerate(sides):
            work = recall_steps(
                side, tokenizer, texts, concepts=asked[group], template=template, positions=positions
            )
            tables.append((yield from nested(work, done=place, total=len(sides))))
        means = [t.groupby("concept", sort=False)[["exact", "nll"]].mean().mean() for t in tables]
        count = len(tables[0])
        return [
            (f"recall, {group}", float(means[0]["exact"]), float(means[1]["exact"]), count),
            (f"nll, {group}", float(means[0]["nll"]), float(means[1]["nll"]), count),
        ]

    def background() -> _Measuring:
        values = []
        for place, side in enumerate(sides):
            work = perplexity_steps(side, tokenizer, texts.background, positions=positions)
            values.append((yield from nested(work, done=place, total=len(sides))))
        return [("perplexity, background", values[0], values[1], len(texts.background))]

    def degenerate() -> _Measuring:
        assert prompts is not None
        rates = []
        for place, side in enumerate(sides):
            work = degenerate_rate_steps(
                side, tokenizer, prompts, max_new_tokens=max_new_tokens, chat=template, stop=stop
            )
            rates.append((yield from nested(work, done=place, total=len(sides))))
        return [("degenerate rate", rates[0], rates[1], len(prompts))]

    measures: list[tuple[str, Callable[[], _Measuring]]] = []
    measures += [(f"asking the {group}", partial(questions, group)) for group in asked if asked[group]]
    measures += [("reading the background", background)] if texts.background else []
    measures += [("writing", degenerate)] if prompts else []
    rows: list[tuple[str, float, float, int]] = []
    stopped = stopper(stop)
    for done, (text, measure) in enumerate(measures):
        if stopped():
            break
        yield Step(done, len(measures), text, _damage_table(rows))
        rows += yield from nested(
            measure(), done=done, total=len(measures), what=text, partial=_damage_table(rows)
        )
    table = _damage_table(rows)
    yield Step(len(measures), len(measures), "measured", table)
    return table


_Measuring = Generator[Step[Any], None, list[tuple[str, float, float, int]]]


def _damage_table(rows: list[tuple[str, float, float, int]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["measure", "before", "after", "count"])
    frame.insert(3, "change", frame["after"] - frame["before"])
    return frame
