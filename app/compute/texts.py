"""Texts: how both models go on, what changed token by token, and which layers a concept wakes up in."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from torch import nn

from engram_core.language.answer_probability import probability_of_answer
from engram_core.language.damage_table import damage_steps
from engram_core.language.exact_recall import recall_steps
from engram_core.language.generation import side_by_side
from engram_core.language.module_sizes import module_energy_steps
from engram_core.language.next_token import next_tokens, token_changes_steps
from engram_core.language.token_maps import reactivation_map_steps
from engram_core.progress import Step, Steps, nested, once

from ..choice.choice import Choice
from ..server.base import Base
from ..server.fair_lock import COMPUTE_LOCK, lock_each_step
from .edited_view import Visitor, edit_key, edited_view

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


_POSITIONS = 512  # of tokens per forward pass: a visitor who leaves is noticed between two


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

    Yields:
        Both texts so far.
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
        with COMPUTE_LOCK.ahead:
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
    with COMPUTE_LOCK.ahead, visitor.view() as view:
        return next_tokens(base.sample.model, view, _tokenizer(base), prompt, k=8, chat=chat)


def answer_chances(
    base: Base, visitor: Visitor, prompt: str, answer: str, *, chat: bool
) -> tuple[float, float]:
    """Return the probability of the right answer before and after; see `probability_of_answer`."""
    with COMPUTE_LOCK.ahead, visitor.view() as view:
        before, after = (
            probability_of_answer(model, _tokenizer(base), prompt, answer, template=chat)
            for model in (base.sample.model, view)
        )
    return before, after


def changes(base: Base, choice: Choice, text: str, *, by: str | None = None) -> Steps[pd.DataFrame]:
    """Find how much each token of a text changed; the table of `token_changes` of the core."""
    what = "Reading the text with the edit on"

    def work() -> Steps[pd.DataFrame]:
        yield Step(0, 1, what, long=True)
        # A view of its own: the visitor's next click must not change it midway.
        view = edited_view(base, choice)
        reading = token_changes_steps(base.sample.model, view, _tokenizer(base), text, by=by)
        return (yield from nested(reading, what=what))

    return (
        yield from lock_each_step(once(base.remembered, ("changes", edit_key(base, choice), text, by), work))
    )


def reactivation(base: Base, choice: Choice, concept: str, text: str) -> Steps[pd.DataFrame]:
    """Find how strongly each token wakes a concept in each layer; the table of `reactivation_map`."""
    atlas = base.variant(choice.power, choice.clip)

    def work() -> Steps[pd.DataFrame]:
        reading = reactivation_map_steps(base.sample.model, atlas, concept, _tokenizer(base), text)
        return nested(reading, what=f"Where {concept} answers")

    key = ("reactivation", atlas.sharpness, concept, text)
    return (yield from lock_each_step(once(base.remembered, key, work)))


def energy(base: Base, choice: Choice, concept: str) -> Generator[Step[Any], None, pd.DataFrame]:
    """Find the size of a concept's engram in each layer; the table of `module_energy`."""
    atlas = base.variant(choice.power, choice.clip)

    def work() -> Generator[Step[Any], None, pd.DataFrame]:
        return nested(module_energy_steps(atlas, concept), what=f"Measuring the engram of {concept}")

    key = ("energy", atlas.sharpness, concept)
    return (yield from lock_each_step(once(base.remembered, key, work)))


def rest(base: Base, choice: Choice) -> Steps[pd.DataFrame]:
    """Measure what an edit does to everything else; see `damage` of the core."""

    def work() -> Steps[pd.DataFrame]:
        yield Step(0, 1, "Measuring the rest", long=True)
        view, texts = edited_view(base, choice), base.sample.task.texts  # type: ignore[attr-defined]
        measuring = damage_steps(
            base.sample.model, view, _tokenizer(base), texts, max_new_tokens=24, positions=_POSITIONS
        )
        return (yield from measuring)

    # Without turns: it takes minutes, and nobody waits for it but who asked.
    return (yield from once(base.remembered, ("rest", edit_key(base, choice)), work))


def answers(
    base: Base, choice: Choice, concepts: tuple[str, ...]
) -> Generator[Step[Any], None, pd.DataFrame]:
    """Ask every question about some concepts before and after, a concept of one model at a time.

    Returns:
        A table: concept, split, prompt, answer, base exact, edited exact, base nll, edited nll (nats per
        token), base first, edited first (probability of the first token).

    Yields:
        Where the work stands.
    """
    texts, tokenizer = base.sample.task.texts, _tokenizer(base)  # type: ignore[attr-defined]
    tables: dict[str, list[pd.DataFrame]] = {"base": [], "edited": []}
    total = 2 * len(concepts)
    view: nn.Module | None = None
    for place, side in enumerate(tables):
        for name in concepts:
            key = ("questions", name, edit_key(base, choice) if place else None)
            done = place * len(concepts) + len(tables[side])
            if place and view is None and base.remembered.get(key) is None:
                yield Step(done, total, f"Asking the edited model about {name}", long=True)
                view = edited_view(base, choice)  # of many concepts it takes longer than all the questions
            model = base.sample.model if view is None else view  # of what is remembered, none is asked
            asking = lock_each_step(
                once(base.remembered, key, partial(recall_steps, model, tokenizer, texts, concepts=[name]))
            )
            what = f"Asking the {side} model about {name}"
            tables[side].append((yield from nested(asking, done=done, total=total, what=what)))
    before, after = (pd.concat(side, ignore_index=True) for side in tables.values())
    table = before[["concept", "split", "prompt", "answer"]].copy()
    for column in ("exact", "nll", "first"):
        table[f"base {column}"], table[f"edited {column}"] = before[column], after[column]
    return table
