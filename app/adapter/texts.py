"""Texts: how both models go on, what changed token by token, and which layers a concept wakes up in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from engram_core.errors import EngramError
from engram_core.language import damage, recall
from engram_core.language.generation import side_by_side
from engram_core.language.next_token import next_tokens, token_changes
from engram_core.language.token_maps import module_energy, reactivation_map

from ..choice import Choice
from .base import HEAVY, Base
from .visitor import Visitor, edit_key, edited_view

__all__ = [
    "Continuation",
    "Question",
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


def changes(base: Base, visitor: Visitor, text: str, *, by: str | None = None) -> pd.DataFrame:
    """Return how much each token of a text changed; see `token_changes` of the core."""
    with HEAVY, visitor.view() as view:
        return token_changes(base.sample.model, view, _tokenizer(base), text, by=by)


def reactivation(base: Base, choice: Choice, concept: str, text: str) -> pd.DataFrame:
    """Return how strongly each token wakes a concept in each layer; see `reactivation_map` of the core."""
    atlas = base.variant(choice.power, choice.clip)
    return base.remembered.made(
        ("reactivation", atlas.sharpness, concept, text),
        lambda: reactivation_map(base.sample.model, atlas, concept, _tokenizer(base), text),
    )


def energy(base: Base, choice: Choice, concept: str) -> pd.DataFrame:
    """Return the size of a concept's engram in each layer; see `module_energy` of the core."""
    atlas = base.variant(choice.power, choice.clip)
    return base.remembered.made(("energy", atlas.sharpness, concept), lambda: module_energy(atlas, concept))


def rest(base: Base, choice: Choice) -> Iterator[tuple[float, str, pd.DataFrame | None]]:
    """Measure what an edit does to everything else; see `damage` of the core.

    Yields the share done, what is being done, and at the end the table. The work goes on in a thread of its
    own; a page that is left stops it.
    """
    key = ("rest", edit_key(base, choice))
    table = base.remembered.get(key)
    if table is None:
        stop, state = threading.Event(), {"share": 0.0, "doing": "Starting"}

        def told(done: int, total: int | None, doing: str) -> None:
            state.update(share=done / total if total else 0.0, doing=doing)

        view, found = edited_view(base, choice), []

        def run() -> None:
            texts = base.sample.task.texts  # type: ignore[attr-defined]
            found.append(
                damage(base.sample.model, view, _tokenizer(base), texts, max_new_tokens=24, stop=stop,
                       progress=told)
            )  # fmt: skip

        thread = threading.Thread(target=run, name="rest", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.2)
                yield float(state["share"]), f"Measuring the rest: {state['doing']}", None  # type: ignore[arg-type]
        finally:
            stop.set()
        if not found:
            raise EngramError("Measuring the rest of the model failed; the server's log says why.")
        table = found[0]
        base.remembered.put(key, table)
    yield 1.0, "", table


def answers(base: Base, choice: Choice, concepts: tuple[str, ...]) -> pd.DataFrame:
    """Return every question about some concepts with its recall before and after.

    Returns:
        concept, split, prompt, answer, base exact, edited exact, base nll, edited nll (nats per token), base
        first, edited first (probability of the first token).
    """
    texts, tokenizer = base.sample.task.texts, _tokenizer(base)  # type: ignore[attr-defined]
    key = ("questions", concepts)
    before = base.remembered.made(key, lambda: recall(base.sample.model, tokenizer, texts, concepts=concepts))
    after = base.remembered.made(
        (*key, edit_key(base, choice)),
        lambda: recall(edited_view(base, choice), tokenizer, texts, concepts=concepts),
    )
    table = before[["concept", "split", "prompt", "answer"]].copy()
    for column in ("exact", "nll", "first"):
        table[f"base {column}"], table[f"edited {column}"] = before[column], after[column]
    return table
