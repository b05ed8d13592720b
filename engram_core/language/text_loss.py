"""The loss of a language model on plain texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DataError
from ..models.view import device_of, evaluated
from .continuing import check_continues_text, logits_of
from .models import call_options, embedding_rows, not_finite, token_limit
from .texts import TextItem
from .tokens import Encoded, by_length, encode, padded

__all__ = ["perplexity"]

_TOKENS = 8192  # positions per forward pass


def perplexity(model: nn.Module, tokenizer: Any, texts: Iterable[str]) -> float:
    """Return exp of the mean loss per token (nats) over all texts together.

    Args:
        model: any model that continues texts.
        tokenizer: of the model.
        texts: plain texts.

    Raises:
        DataError: if there is no text of two tokens, or the model does not continue texts.
    """
    check_continues_text(model)
    encoded = [
        encode(tokenizer, TextItem("", text), limit=token_limit(model), rows=embedding_rows(model))
        for text in texts
    ]
    if not encoded:
        raise DataError("There is no background text to take a perplexity of.")
    with evaluated(model) as ready, torch.no_grad():
        total, count = _losses(ready, encoded)
    if not count:
        raise DataError("The background texts have a single token each; perplexity needs at least two.")
    return float(torch.tensor(total / count).exp())


def _losses(model: nn.Module, encoded: Sequence[Encoded]) -> tuple[float, int]:
    """Return the losses of all tokens together (nats), and the number of these."""
    total, count = 0.0, 0
    device = device_of(model)
    for group in by_length(enumerate(encoded), _TOKENS):
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
    return total, count
