"""What an edit does to everything that should have stayed: one table, before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd
from torch import nn

from ..editing.live_edit import live_edit
from .decoding import Stop, stopper
from .degenerate import degenerate_rate
from .exact_recall import recall
from .text_loss import perplexity
from .texts import TextSet

__all__ = ["damage"]


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
    progress: Callable[[int, int | None, str], None] | None = None,
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

    def questions(names: list[str]) -> Callable[[], list[tuple[str, float, float, int]]]:
        def measure() -> list[tuple[str, float, float, int]]:
            tables = [recall(side, tokenizer, texts, concepts=names, template=template) for side in sides]
            group = "erased" if names is asked["erased"] else "others"
            means = [t.groupby("concept", sort=False)[["exact", "nll"]].mean().mean() for t in tables]
            count = len(tables[0])
            return [
                (f"recall, {group}", float(means[0]["exact"]), float(means[1]["exact"]), count),
                (f"nll, {group}", float(means[0]["nll"]), float(means[1]["nll"]), count),
            ]

        return measure

    def background() -> list[tuple[str, float, float, int]]:
        values = [perplexity(side, tokenizer, texts.background) for side in sides]
        return [("perplexity, background", *values, len(texts.background))]  # type: ignore[list-item]

    def degenerate() -> list[tuple[str, float, float, int]]:
        assert prompts is not None
        rates = [
            degenerate_rate(side, tokenizer, prompts, max_new_tokens=max_new_tokens, chat=template, stop=stop)
            for side in sides
        ]
        return [("degenerate rate", *rates, len(prompts))]  # type: ignore[list-item]

    steps: list[tuple[str, Callable[[], list[tuple[str, float, float, int]]]]] = []
    steps += [(f"asking the {group}", questions(names)) for group, names in asked.items() if names]
    steps += [("reading the background", background)] if texts.background else []
    steps += [("writing", degenerate)] if prompts else []
    rows: list[tuple[str, float, float, int]] = []
    stopped = stopper(stop)
    for done, (text, step) in enumerate(steps):
        if stopped():
            break
        if progress is not None:
            progress(done, len(steps), text)
        rows += step()
    if progress is not None:
        progress(len(steps), len(steps), "measured")
    frame = pd.DataFrame(rows, columns=["measure", "before", "after", "count"])
    frame.insert(3, "change", frame["after"] - frame["before"])
    return frame
