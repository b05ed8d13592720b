"""What an edit does to probabilities: of the next token, and of every token of a given text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from ..editing.live_edit import apply_edit, live_edit
from ..errors import DataError
from ..models.groups import choose_groups
from ..models.view import device_of, evaluated
from ..progress import Progress, Step, Steps, drain
from .continuing import check_continues_text, logits_of
from .decoding import Stop, stopper, token_text
from .generation import prompt_ids
from .models import call_options, embedding_rows, not_finite, token_limit
from .texts import TextItem
from .tokens import encode

__all__ = ["next_tokens", "token_changes", "token_changes_steps"]

WHOLE = "whole edit"


def next_tokens(
    base: nn.Module, edited: nn.Module, tokenizer: Any, prompt: str, *, k: int = 10, chat: bool = False
) -> pd.DataFrame:
    """Compare the next token's distribution before and after an edit.

    Args:
        base: the model before.
        edited: the view.
        tokenizer: of both.
        prompt: what comes before the token.
        k: how many of the likeliest of each model; their union is returned.
        chat: put the prompt into the chat template.

    Returns:
        One row per token, the likeliest before first: id, token, before, after (probabilities), change (after
        minus before), rank_before, rank_after (1 is the likeliest of the whole vocabulary).

    Raises:
        DataError: for options out of range, a prompt as in `prompt_ids`, or a model that does not continue
            texts.
    """
    if k < 1:
        raise DataError(f"k must be at least 1; found {k}.")
    check_continues_text(base)
    ids = torch.tensor(
        [prompt_ids(tokenizer, prompt, chat=chat, limit=token_limit(base), rows=embedding_rows(base))]
    )
    sides = [_chances(model, ids)[-1].exp() for model in (base, edited)]
    order = [side.argsort(descending=True, stable=True) for side in sides]
    chosen = list(dict.fromkeys(int(number) for one in order for number in one[:k]))
    ranks = []
    for one in order:
        rank = torch.empty_like(one)
        rank[one] = torch.arange(1, len(one) + 1)
        ranks.append(rank)
    frame = pd.DataFrame(
        {
            "id": chosen,
            "token": [token_text(tokenizer, number) for number in chosen],
            "before": sides[0][chosen].tolist(),
            "after": sides[1][chosen].tolist(),
            "change": (sides[1] - sides[0])[chosen].tolist(),
            "rank_before": ranks[0][chosen].tolist(),
            "rank_after": ranks[1][chosen].tolist(),
        }
    )
    return frame.sort_values("rank_before", kind="stable", ignore_index=True)


def token_changes(
    base: nn.Module,
    edited: nn.Module,
    tokenizer: Any,
    text: str,
    *,
    by: str | Iterable[str] | Mapping[str, Iterable[str]] | None = None,
    stop: Stop = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return how much an edit changes the log-probability of every token of a text.

    Args:
        base: the model before.
        edited: the view.
        tokenizer: of both.
        text: any text.
        by: also the change when only a part of the edit is on, with the strength and scaling it has in the
            whole: ``"layer"``, ``"blocks"``, ``"projections"``, or groups as in `groups.choose_groups`. One
            forward pass each.
        stop: a function that returns True, or an event; the parts done by then are returned.
        progress: called with (done, total, text) after every part.

    Returns:
        part ("whole edit", then the groups), position, id, token, before, after (log-probabilities in nats),
        change. The first token of a text is predicted by nothing and has NaN.
    """
    return drain(token_changes_steps(base, edited, tokenizer, text, by=by, stop=stop), progress)


def token_changes_steps(
    base: nn.Module,
    edited: nn.Module,
    tokenizer: Any,
    text: str,
    *,
    by: str | Iterable[str] | Mapping[str, Iterable[str]] | None = None,
    stop: Stop = None,
) -> Steps[pd.DataFrame]:
    """Do what `token_changes` does in steps, a part of the edit in each; arguments and errors are the same.

    Yields:
        The table so far.

    Returns:
        The table of `token_changes`.
    """
    check_continues_text(base)
    encoded = encode(tokenizer, TextItem("", text), limit=token_limit(base), rows=embedding_rows(base))
    ids = torch.tensor([encoded.ids])
    yield Step(0, None, "the base model")
    before = _told(base, ids)
    frame = pd.DataFrame(
        {
            "position": range(len(encoded.ids)),
            "id": encoded.ids,
            "token": [token_text(tokenizer, number) for number in encoded.ids],
            "before": before.tolist(),
        }
    )
    yield Step(0, None, WHOLE)
    frames = [_with(frame, WHOLE, before, _told(edited, ids))]
    if by is not None:
        control, stopped = live_edit(edited), stopper(stop)
        groups = (
            {name: (name,) for name in control.edit.layers}
            if by == "layer"
            else choose_groups(control.edit.layers, by)
        )
        # A view of its own: the visitor's may be in use.
        part = apply_edit(control.atlas, control.edit, edited)
        mine = live_edit(part)
        for done, (name, layers) in enumerate(groups.items(), start=1):
            if stopped():
                break
            if control.on:
                mine.only(layers)
            else:
                mine.off()
            frames.append(_with(frame, name, before, _told(part, ids)))
            yield Step(done, len(groups), f"only {name}", pd.concat(frames, ignore_index=True))
    return pd.concat(frames, ignore_index=True)


def _with(frame: pd.DataFrame, part: str, before: Tensor, after: Tensor) -> pd.DataFrame:
    found = frame.assign(after=after.tolist(), change=(after - before).tolist())
    found.insert(0, "part", part)
    return found


def _told(model: nn.Module, ids: Tensor) -> Tensor:
    """Return the log-probability of every token given those before it, (tokens,); NaN for the first."""
    told = torch.full((ids.shape[1],), float("nan"), dtype=torch.float64)
    if ids.shape[1] > 1:
        told[1:] = _chances(model, ids)[:-1].gather(-1, ids[0, 1:, None])[:, 0]
    return told


def _chances(model: nn.Module, ids: Tensor) -> Tensor:
    """Return log-probabilities after every position, (tokens, vocabulary), float64 on the CPU."""
    device = device_of(model)
    inputs = {"input_ids": ids.to(device), **call_options(model)}
    with evaluated(model) as ready, torch.no_grad():
        logits = logits_of(ready(**inputs), model, ids)[0]
    if torch.isnan(logits).any():
        raise not_finite(model, inputs)
    return logits.cpu().double().log_softmax(-1)
