"""A conversation with base and edited model at once: each side remembers what it said itself."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from torch import nn

from engram_core.language.generation import Token, generate

from ..choice.choice import Choice
from ..server.base import Base
from ..server.fair_lock import COMPUTE_LOCK
from .edited_view import edit_key, edited_view

__all__ = ["Talk", "converse"]


@dataclass(frozen=True)
class Talk:
    """How far a conversation has come.

    Attributes:
        base: what the base model has answered, turn by turn.
        edited: what the edited view has.
        done: whether every turn has its whole answer on both sides.
    """

    base: tuple[str, ...]
    edited: tuple[str, ...]
    done: bool


def converse(base: Base, choice: Choice, said: Sequence[str], **options: Any) -> Iterator[Talk]:
    """Answer what somebody says, turn after turn, with base and edited model, a token of each at a time.

    The answers depend on what was said, the edit and the options alone: after a change of the edit the whole
    conversation of the edited side is answered anew, and that of the base is remembered.

    Args:
        base: the model.
        choice: the edit.
        said: what the user said, in order.
        options: max_new_tokens, temperature, seed.

    Yields:
        Both sides so far.
    """
    sides = [_Side(base, None, options), _Side(base, choice, options)]
    for number in range(len(said)):
        for _ in itertools.zip_longest(*(side.answered(said[: number + 1]) for side in sides)):
            yield Talk(tuple(sides[0].answers), tuple(sides[1].answers), False)
    yield Talk(tuple(sides[0].answers), tuple(sides[1].answers), True)


class _Side:
    """One model in a conversation.

    Args:
        base: the base.
        choice: the edit; None: the base itself.
        options: how it writes.
    """

    def __init__(self, base: Base, choice: Choice | None, options: dict[str, Any]) -> None:
        self._base, self._choice, self._options = base, choice, options
        self._model: nn.Module | None = None if choice is not None else base.sample.model
        self.answers: list[str] = []

    def answered(self, said: Sequence[str]) -> Iterator[None]:
        """Add the answer to what was said last, token by token."""
        key = self._key(said)
        known = self._base.remembered.get(key)
        if known is not None:
            self.answers.append(known)
            yield
            return
        before = list(zip(said, self.answers, strict=False))
        self.answers.append("")
        if self._model is None:
            assert self._choice is not None
            # A view of its own: the visitor's next click must not change the sentence midway.
            self._model = edited_view(self._base, self._choice)
        tokenizer = self._base.sample.task.tokenizer  # type: ignore[attr-defined]
        with COMPUTE_LOCK.ahead:
            tokens = generate(self._model, tokenizer, said[-1], chat=True, before=before, **self._options)
        with closing(tokens):  # type: ignore[type-var]
            while True:
                with COMPUTE_LOCK.ahead:
                    token: Token | None = next(tokens, None)
                if token is None:
                    break
                self.answers[-1] += token.text
                yield
        self._base.remembered.put(key, self.answers[-1])

    def _key(self, said: Sequence[str]) -> Hashable:
        edit = None if self._choice is None else edit_key(self._base, self._choice)
        return ("chat", edit, tuple(said), *sorted(self._options.items()))
