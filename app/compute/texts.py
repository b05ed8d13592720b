"""Texts: how both models go on, what changed token by token, and which layers a concept wakes up in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pandas as pd
from torch import nn

from engram_core.language import damage, recall
from engram_core.language.answer_probability import probability_of_answer
from engram_core.language.generation import side_by_side
from engram_core.language.next_token import next_tokens, token_changes
from engram_core.language.token_maps import module_energy, reactivation_map

from ..choice.choice import Choice
from ..server.base import Base
from ..server.turns import HEAVY, Report, in_turns
from .visitor import Visitor, edit_key, edited_view

__all__ = [
    "Continuation",
    "Question",
    "answer_chances",
    "answers",
    "changes",
    "continue_both",
    "energy",
    "has_chat",
    "next_table",
    "questions_of",
    "reactivation",
    "rest",
]


Steps = Iterator[tuple[float, str, pd.DataFrame | None]]
"""The share done, what is being done, and at the end a table."""


@dataclass(frozen=True)
class Question:
    """A question about a concept.

    Attributes:
        prompt: what is asked.
        answer: the right continuation.
        recorded: whether its sentence was recorded.
    """

    prompt: str
    answer: str
    recorded: bool


@dataclass(frozen=True)
class Continuation:
    """How far both models have come.

    Attributes:
        base: text of the base model so far.
        edited: text of the edited view so far.
        done: whether both have ended.
    """

    base: str
    edited: str
    done: bool


def _tokenizer(base: Base) -> Any:
    return base.sample.task.tokenizer  # type: ignore[attr-defined]


def has_chat(base: Base) -> bool:
    """Return whether the model has a chat template."""
    return bool(getattr(_tokenizer(base), "chat_template", None))


def questions_of(base: Base, concept: str) -> list[Question]:
    """Return the questions about a concept, those that were not recorded first."""
    known = base.sample.task.texts[concept]  # type: ignore[attr-defined]
    return [
        Question(item.prompt, item.answer, recorded)
        for items, recorded in ((known.probe, False), (known.record, True))
        for item in items
        if item.is_fact
    ]


def continue_both(base: Base, choice: Choice, prompt: str, **options: Any) -> Iterator[Continuation]:
    """Continue a prompt with base and edited model, a token of each at a time.

    Args:
        base: the model.
        choice: the edit.
        prompt: the text to continue.
        options: max_new_tokens, temperature, seed, chat.
    """
    key = ("text", edit_key(base, choice), prompt, *sorted(options.items()))
    known = base.remembered.get(key)
    if known is not None:
        yield known
        return
    before = after = ""
    # A view of its own: the visitor's next click must not change the sentence midway.
    pairs = side_by_side(base.sample.model, edited_view(base, choice), _tokenizer(base), prompt, **options)
    while True:
        with HEAVY.ahead:
            pair = next(pairs, None)  # type: ignore[call-overload]
        if pair is None:
            break
        before += pair[0].text if pair[0] else ""
        after += pair[1].text if pair[1] else ""
        yield Continuation(before, after, False)
    done = Continuation(before, after, True)
    base.remembered.put(key, done)
    yield done


def next_table(base: Base, visitor: Visitor, prompt: str, *, chat: bool) -> pd.DataFrame:
    """Return the likeliest next tokens before and after; see `next_tokens` of the core."""
    with HEAVY.ahead, visitor.view() as view:
        return next_tokens(base.sample.model, view, _tokenizer(base), prompt, k=8, chat=chat)


def answer_chances(
    base: Base, visitor: Visitor, prompt: str, answer: str, *, chat: bool
) -> tuple[float, float]:
    """Return the probability of the right answer before and after; see `probability_of_answer`."""
    with HEAVY.ahead, visitor.view() as view:
        before, after = (
            probability_of_answer(model, _tokenizer(base), prompt, answer, template=chat)
            for model in (base.sample.model, view)
        )
    return before, after


def changes(base: Base, choice: Choice, text: str, *, by: str | None = None) -> Steps:
    """Find how much each token of a text changed; at the end the table of `token_changes` of the core."""

    def make(report: Report) -> pd.DataFrame:
        # A view of its own: the visitor's next click must not change it midway.
        with HEAVY.aside():
            view = edited_view(base, choice)
        return token_changes(base.sample.model, view, _tokenizer(base), text, by=by, progress=report)

    key = ("changes", edit_key(base, choice), text, by)
    return base.remembered.once(key, make, "Reading the text with the edit on")


def reactivation(base: Base, choice: Choice, concept: str, text: str) -> Steps:
    """Find how strongly each token wakes a concept in each layer; at the end that of `reactivation_map`."""
    atlas = base.variant(choice.power, choice.clip)
    make = partial(reactivation_map, base.sample.model, atlas, concept, _tokenizer(base), text)
    return base.remembered.once(
        ("reactivation", atlas.sharpness, concept, text),
        lambda report: make(progress=report),
        f"Where {concept} answers",
    )


def energy(base: Base, choice: Choice, concept: str) -> Steps:
    """Find the size of a concept's engram in each layer; at the end the table of `module_energy`."""
    atlas = base.variant(choice.power, choice.clip)
    return base.remembered.once(
        ("energy", atlas.sharpness, concept),
        lambda report: module_energy(atlas, concept, progress=report),
        f"Measuring the engram of {concept}",
    )


def rest(base: Base, choice: Choice) -> Iterator[tuple[float, str, pd.DataFrame | None]]:
    """Measure what an edit does to everything else; see `damage` of the core.

    Yields the share done, what is being done, and at the end the table. The work goes on in a thread of its
    own; a page that is left stops it.
    """
    key = ("rest", edit_key(base, choice))
    table = base.remembered.get(key)
    if table is None:
        view, texts = edited_view(base, choice), base.sample.task.texts  # type: ignore[attr-defined]

        def work(report: Report) -> pd.DataFrame:
            return damage(
                base.sample.model, view, _tokenizer(base), texts, max_new_tokens=24, stop=report.pause,
                progress=report,
            )  # fmt: skip

        # Without turns: it reports once in many seconds, and shares nothing.
        for share, doing, table in in_turns(work, turns=None):  # noqa: B007
            if share < 1:
                yield share, f"Measuring the rest: {doing or 'starting'}", None
        base.remembered.put(key, table)
    yield 1.0, "", table


def answers(base: Base, choice: Choice, concepts: tuple[str, ...]) -> Steps:
    """Ask every question about some concepts before and after, a concept of one model at a time.

    Yields:
        The share done, what is being done, and at the end a table: concept, split, prompt, answer, base
        exact, edited exact, base nll, edited nll (nats per token), base first, edited first (probability of
        the first token).
    """
    texts, tokenizer = base.sample.task.texts, _tokenizer(base)  # type: ignore[attr-defined]

    @cache
    def view() -> nn.Module:
        with HEAVY.aside():  # of many concepts it takes longer than all the questions
            return edited_view(base, choice)

    keys: dict[str, Hashable] = {}
    asked: dict[str, Callable[[], pd.DataFrame]] = {}
    for side, model, edit in (
        ("base", lambda: base.sample.model, None),
        ("edited", view, edit_key(base, choice)),
    ):
        for name in concepts:
            keys[f"{side} model about {name}"] = ("questions", name, edit)
            asked[f"{side} model about {name}"] = partial(_ask, model, tokenizer, texts, name)
    for share, doing, found in base.remembered.each(keys, lambda name: asked[name](), "Asking the"):  # noqa: B007
        if share < 1:
            yield share, doing, None
    tables = list(found.values())
    before, after = (
        pd.concat(side, ignore_index=True) for side in (tables[: len(concepts)], tables[len(concepts) :])
    )
    table = before[["concept", "split", "prompt", "answer"]].copy()
    for column in ("exact", "nll", "first"):
        table[f"base {column}"], table[f"edited {column}"] = before[column], after[column]
    yield 1.0, "", table


def _ask(model: Callable[[], nn.Module], tokenizer: Any, texts: Any, concept: str) -> pd.DataFrame:
    return recall(model(), tokenizer, texts, concepts=concept)
