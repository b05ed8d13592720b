"""Text that only repeats itself."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from torch import nn

from ..errors import DataError
from ..progress import Progress, Step, drain
from .completion import complete_steps
from .decoding import Stop

__all__ = ["degenerate_rate", "degenerate_rate_steps", "is_degenerate", "trigram_share"]


def trigram_share(text: str) -> float:
    """Return the largest share of a text's words that the occurrences of one trigram cover.

    Words are what white space separates, without regard to case. A trigram counts if it occurs at least
    twice. A loop of up to three words gives 1, one of ``p`` words ``3 / p``.

    Args:
        text: any text.
    """
    words = text.casefold().split()
    places: dict[tuple[str, ...], list[int]] = {}
    for start in range(len(words) - 2):
        places.setdefault(tuple(words[start : start + 3]), []).append(start)
    most = 0
    for starts in places.values():
        if len(starts) > 1:
            most = max(most, len({place for start in starts for place in range(start, start + 3)}))
    return most / len(words) if words else 0.0


def is_degenerate(text: str) -> bool:
    """Return whether one trigram, occurring at least twice, covers more than half of the words of a text.

    Args:
        text: any text.
    """
    return trigram_share(text) > 0.5


def degenerate_rate(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 48,
    chat: bool = False,
    batch_size: int = 32,
    stop: Stop = None,
    progress: Progress | None = None,
) -> float:
    """Return the share of prompts whose greedy continuation is degenerate (see `is_degenerate`).

    The continuation alone is judged. Stopped early, the share is over what was written, NaN if nothing was.

    Args:
        model: a base model or an edited view.
        tokenizer: its tokenizer.
        prompts: the texts to continue.
        max_new_tokens: most tokens to write to each.
        chat: put the prompts into the chat template.
        batch_size: prompts that are written to at once.
        stop: a function that returns True, or an event that is set, to end early.
        progress: called with (done, total, text).

    Raises:
        DataError: if there is no prompt.
    """
    work = degenerate_rate_steps(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, chat=chat, batch_size=batch_size, stop=stop
    )
    return drain(work, progress)


def degenerate_rate_steps(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 48,
    chat: bool = False,
    batch_size: int = 32,
    stop: Stop = None,
) -> Generator[Step[Any], None, float]:
    """Do what `degenerate_rate` does in steps, a token of every prompt of a batch in each."""
    if not prompts:
        raise DataError("The degenerate rate needs at least one prompt; found none.")
    texts = yield from complete_steps(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, chat=chat, batch_size=batch_size, stop=stop
    )
    return sum(map(is_degenerate, texts)) / len(texts) if texts else float("nan")
