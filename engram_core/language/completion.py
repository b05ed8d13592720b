"""Greedy continuations of many prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch
from torch import nn

from ..models.view import evaluated
from ..progress import Progress, Step, Steps, drain, nested
from .continuing import check_continues_text
from .decoding import Decoder, Stop, decoded, final_tokens, stopper
from .generation import prompt_ids
from .models import embedding_rows, token_limit

__all__ = ["complete", "complete_steps"]


def complete(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 48,
    chat: bool = False,
    batch_size: int = 32,
    stop: Stop = None,
    progress: Progress | None = None,
) -> list[str]:
    """Return the greedy continuation of every prompt, many at once (padded on the left).

    Each is written as if it were alone: the model's limit counts its own tokens, not its neighbours'. With
    `stop`, only the prompts of the batches that were finished have one.

    Args:
        model: a base model or an edited view.
        tokenizer: its tokenizer.
        prompts: the texts to continue.
        max_new_tokens: most tokens to write to each.
        chat: put the prompts into the chat template.
        batch_size: prompts that are written to at once.
        stop: a function that returns True, or an event that is set, to end early.
        progress: called with (done, total, text).

    Returns:
        What was written to each prompt, in order.

    Raises:
        DataError: for a prompt as in `prompt_ids`, or a model that does not continue texts.
    """
    work = complete_steps(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, chat=chat, batch_size=batch_size, stop=stop
    )
    return drain(work, progress)


def complete_steps(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 48,
    chat: bool = False,
    batch_size: int = 32,
    stop: Stop = None,
) -> Steps[list[str]]:
    """Do what `complete` does in steps, a token of every prompt of a batch in each."""
    check_continues_text(model)
    limit, rows, stopped = token_limit(model), embedding_rows(model), stopper(stop)
    encoded = [prompt_ids(tokenizer, prompt, chat=chat, limit=limit, rows=rows) for prompt in prompts]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))  # little padding
    found: dict[int, str] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        with evaluated(model) as ready:
            work = _written(ready, tokenizer, [encoded[i] for i in chosen], max_new_tokens, limit, stopped)
            batch = yield from nested(work, done=len(found), size=len(chosen), total=len(order))
        if batch is None:
            break
        found |= {i: decoded(tokenizer, ids) for i, ids in zip(chosen, batch, strict=True)}
        yield Step(len(found), len(order), "writing")
    return [found[i] for i in sorted(found)]


def _written(
    model: nn.Module,
    tokenizer: Any,
    prompts: list[list[int]],
    count: int,
    limit: int | None,
    stopped: Callable[[], bool],
) -> Generator[Step[Any], None, list[list[int]] | None]:
    """Write to every prompt until it ends, has `count` tokens, or fills the model by itself."""
    written: list[list[int]] = [[] for _ in prompts]
    going = list(range(len(prompts)))
    while going:
        # The padded batch must fit into the model. What has room left goes on without the longest.
        texts = [prompts[i] + written[i] for i in going]
        room = count if limit is None else limit - max(map(len, texts))
        had = len(written[going[0]])
        found = yield from nested(
            _greedy(model, tokenizer, texts, min(room, count - had), stopped),
            done=had, size=min(room, count - had), total=count,
        )  # fmt: skip
        if found is None:
            return None
        left = []
        for i, (more, ended) in zip(going, found, strict=True):
            written[i] += more
            full = limit is not None and len(prompts[i]) + len(written[i]) >= limit
            if not (ended or full or len(written[i]) >= count):
                left.append(i)
        going = left
    return written


def _greedy(
    model: nn.Module,
    tokenizer: Any,
    prompts: list[list[int]],
    count: int,
    stopped: Callable[[], bool],
) -> Generator[Step[Any], None, list[tuple[list[int], bool]] | None]:
    """Return what is written to every prompt, and whether the model ended it."""
    longest = max(map(len, prompts))
    ends = final_tokens(model, tokenizer)
    # Padding is masked, so its number never matters.
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    padded = bool((mask == 0).any())
    written: list[list[int]] = [[] for _ in prompts]
    open_texts = set(range(len(prompts)))
    decoder, fed = Decoder(model), ids
    for place in range(count):
        if stopped():
            return None
        yield Step(place, count, "writing")
        chosen = decoder(fed, mask if padded else None).argmax(-1)
        for i in sorted(open_texts):
            number = int(chosen[i])
            if number in ends:
                open_texts.discard(i)
            else:
                written[i].append(number)
        if not open_texts:
            break
        fed, mask = chosen[:, None], torch.cat([mask, torch.ones(len(prompts), 1, dtype=mask.dtype)], 1)
    return [(ids, i not in open_texts) for i, ids in enumerate(written)]
