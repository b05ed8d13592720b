"""Tokens of a text concept: which positions count, and where the answer stands.

Three choices of positions (docs/science.md section 4): ``all`` tokens; those that ``predict`` the answer; the
``answer`` tokens themselves. Padding never counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import DataError
from .text_rows import lone_surrogate
from .texts import TextItem
from .tokenizing import check_rows, framed, tokenized

__all__ = ["POSITIONS", "Encoded", "Positions", "encode", "padded", "pick_positions"]

Positions = Literal["all", "predict", "answer"]
POSITIONS: tuple[Positions, ...] = ("all", "predict", "answer")


@dataclass(frozen=True)
class Encoded:
    """One text as tokens.

    Attributes:
        ids: token numbers, special tokens included.
        answer: first and one past the last token of the answer. A token that holds the end of the
            prompt and the start of the answer belongs to the answer.
        shared: whether there is such a token, so that the prompt cannot be asked as it stands.
    """

    ids: tuple[int, ...]
    answer: tuple[int, int]
    shared: bool = False


def check_template(tokenizer: Any, what: str = "") -> None:
    """Raise a DataError if the tokenizer (of the model called `what`) cannot frame a prompt as a chat.

    Args:
        tokenizer: a Hugging Face tokenizer.
        what: whose tokenizer it is, for the message.
    """
    if not getattr(tokenizer, "chat_template", None):
        whose = f"The tokenizer of {what}" if what else "This tokenizer"
        raise DataError(f"{whose} has no chat template; use template=False (leave --template out).")


def encode(
    tokenizer: Any,
    item: TextItem,
    *,
    template: bool = False,
    limit: int | None = None,
    rows: int | None = None,
    label: str = "",
) -> Encoded:
    """Turn a text into tokens and find its answer.

    Args:
        tokenizer: a Hugging Face tokenizer, fast or slow.
        item: the text.
        template: put the prompt into the tokenizer's chat template, the answer after it.
        limit: most tokens the model takes.
        rows: how many tokens it has an embedding for.
        label: concept name for error messages.

    Returns:
        The tokens, and where the answer lies among them.

    Raises:
        DataError: if the answer becomes no token, or the text is longer than `limit`, holds half a character
            or a token past `rows`, or if the tokenizer fails.
    """
    text, start = item.text, item.answer_start
    where = f"Concept {label!r}: " if label else ""
    broken = lone_surrogate(text)
    if broken is not None:
        raise DataError(
            f"{where}the text holds half a character at position {broken + 1} (a lone surrogate). "
            "Write it whole."
        )
    special = True
    if template and item.is_fact:
        check_template(tokenizer)
        head = framed(tokenizer, item.prompt)
        text, start = head + item.answer.lstrip(), len(head)
        special = False  # the template brings its own
    if getattr(tokenizer, "is_fast", False):
        found = tokenized(tokenizer, text, special=special, offsets=True)
        ids, offsets = list(found["input_ids"]), found["offset_mapping"]
        # Special tokens have empty spans. Leading space may or may not be part of a token's span.
        marked = [i for i, (a, b) in enumerate(offsets) if b > a and b > start]
        shared = bool(marked) and bool(text[min(offsets[marked[0]][0], start) : start].strip())
    else:
        ids = list(tokenized(tokenizer, text, special=special)["input_ids"])
        marked = _after_prompt(tokenizer, text[:start], ids, special)
        heads = [_alone(tokenizer, head, special) for head in (text[:start], text[:start].rstrip())]
        shared = all(ids[: len(head)] != head for head in heads)
    if not marked:
        raise DataError(f"{where}the answer {item.answer!r} becomes no token. Write it in other characters.")
    check_rows(tokenizer, ids, rows, where)
    if limit is not None and len(ids) > limit:
        raise DataError(
            f"{where}the text {_short(text)!r} has {len(ids)} tokens, and this model takes at most {limit}. "
            "Shorten it or split it."
        )
    return Encoded(tuple(ids), (marked[0], marked[-1] + 1), item.is_fact and shared)


def check_question(item: TextItem, encoded: Encoded, where: str) -> None:
    """Raise a DataError if a prompt cannot be asked: nothing stands before the answer's first token.

    Args:
        item: prompt and answer.
        encoded: both as tokens.
        where: which row it is, for the message.
    """
    if encoded.shared or encoded.answer[0] == 0:
        raise DataError(
            f"{where}the prompt {_short(item.prompt)!r} ends inside a token that also holds the start "
            f"of the answer {_short(item.answer)!r}, so it cannot be asked. End the prompt a word earlier or "
            "put the missing part into it."
        )


def _after_prompt(tokenizer: Any, prompt: str, ids: list[int], special: bool) -> list[int]:
    """Find the answer's tokens without offsets: what differs from the prompt's own tokens."""
    same = 0
    # With its last white space (a template's line break is a token) and without (it may join the answer).
    for head in dict.fromkeys((prompt, prompt.rstrip())):
        alone = list(tokenized(tokenizer, head, special=special)["input_ids"]) if head else []
        shared = 0
        while shared < min(len(alone), len(ids)) and alone[shared] == ids[shared]:
            shared += 1
        same = max(same, shared)
    ending = set(getattr(tokenizer, "all_special_ids", ()))
    return [i for i in range(same, len(ids)) if ids[i] not in ending]


def _alone(tokenizer: Any, prompt: str, special: bool) -> list[int]:
    """Return the tokens of a prompt that nothing follows, without what closes a text."""
    ids = list(tokenized(tokenizer, prompt, special=special)["input_ids"]) if prompt else []
    ending = set(getattr(tokenizer, "all_special_ids", ()))
    while ids and ids[-1] in ending:
        ids.pop()
    return ids


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def pick_positions(encoded: Encoded, positions: Positions, *, fact: bool = True) -> list[int]:
    """Return the positions whose rows count.

    A plain text has no answer: all its tokens count for ``all`` and ``answer``, and all that predict
    one of them for ``predict``.

    Args:
        encoded: the text.
        positions: which ones are wanted.
        fact: whether the text has a prompt and an answer.

    Raises:
        DataError: if `positions` is none of `POSITIONS`.
    """
    if positions not in POSITIONS:
        raise DataError(f"positions must be one of {', '.join(POSITIONS)}; found {positions!r}.")
    start, stop = encoded.answer if fact else (0, len(encoded.ids))
    if positions == "all":
        return list(range(len(encoded.ids)))
    if positions == "answer":
        return list(range(start, stop))
    # The first token of a text is predicted by nothing.
    return [i - 1 for i in range(max(start, 1), stop)]


def padded(items: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """Return token numbers and attention mask, both (texts, longest), padded on the right.

    Right padding keeps every token at its own position in every architecture; the number used for
    padding never matters, because it is masked.

    Args:
        items: the texts.
    """
    longest = max(len(e.ids) for e in items)
    ids = torch.zeros(len(items), longest, dtype=torch.long)
    mask = torch.zeros(len(items), longest, dtype=torch.long)
    for row, e in enumerate(items):
        ids[row, : len(e.ids)] = torch.tensor(e.ids)
        mask[row, : len(e.ids)] = 1
    return ids, mask


def by_length(items: Iterable[tuple[Any, Encoded]], tokens: int) -> Iterator[list[tuple[Any, Encoded]]]:
    """Yield groups of texts of like length, each group at most `tokens` positions once padded.

    Args:
        items: pairs of anything and a text.
        tokens: most positions in a group, padding included.
    """
    waiting: list[tuple[Any, Encoded]] = []
    for entry in sorted(items, key=lambda pair: len(pair[1].ids)):
        if waiting and (len(waiting) + 1) * len(entry[1].ids) > tokens:
            yield waiting
            waiting = []
        waiting.append(entry)
    if waiting:
        yield waiting
