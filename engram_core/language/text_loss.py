"""The loss of a language model on plain texts."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DataError
from ..models.view import device_of, evaluated
from ..progress import Step, Steps, drain
from .continuing import check_continues_text, logits_of
from .models import call_options, embedding_rows, not_finite, token_limit
from .texts import TextItem
from .tokens import Encoded, by_length, encode, padded

__all__ = ["perplexity", "perplexity_steps"]

_POSITIONS = 8192  # of tokens and padding per forward pass


def perplexity(model: nn.Module, tokenizer: Any, texts: Iterable[str]) -> float:
    """Return exp of the mean loss per token (nats) over all texts together.

    Args:
        model: any model that continues texts.
        tokenizer: of the model.
        texts: plain texts.

    Raises:
        DataError: if there is no text of two tokens, or the model does not continue texts.
    """
    return drain(perplexity_steps(model, tokenizer, texts))


def perplexity_steps(
    model: nn.Module, tokenizer: Any, texts: Iterable[str], *, positions: int = _POSITIONS
) -> Generator[Step[Any], None, float]:
    """Do what `perplexity` does in steps; `positions` as in `recall_steps`."""
    check_continues_text(model)
    encoded = [
        encode(tokenizer, TextItem("", text), limit=token_limit(model), rows=embedding_rows(model))
        for text in texts
    ]
    if not encoded:
        raise DataError("There is no background text to take a perplexity of.")
    with evaluated(model) as ready:
        total, count = yield from _losses(ready, encoded, positions)
    if not count:
        raise DataError("The background texts have a single token each; perplexity needs at least two.")
    return float(torch.tensor(total / count).exp())


def _losses(model: nn.Module, encoded: Sequence[Encoded], positions: int) -> Steps[tuple[float, int]]:
    """Return the losses of all tokens together (nats), and the number of these."""
    total, count = 0.0, 0
    device = device_of(model)
    done = 0
    for group in by_length(enumerate(encoded), positions):
        yield Step(done, len(encoded), "reading")
        with torch.no_grad():
            ids, mask = (t.to(device) for t in padded([e for _, e in group]))
            logits = logits_of(model(input_ids=ids, attention_mask=mask, **call_options(model)), model, ids)
            losses = nn.functional.cross_entropy(
                logits[:, :-1].float().transpose(1, 2), ids[:, 1:], reduction="none"
            )
            counted: Tensor = mask[:, 1:].bool()
            if losses[counted].isnan().any():
                raise not_finite(model, {"input_ids": ids, "attention_mask": mask, **call_options(model)})
            total += float(losses[counted].sum())
            count += int(counted.sum())
        done += len(group)
    return total, count
