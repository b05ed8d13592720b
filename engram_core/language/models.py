"""Language models: load them safely, and call them alike."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from ..view import base_of

__all__ = ["call_options", "token_limit"]


def call_options(model: nn.Module, *, head: bool = True) -> dict[str, Any]:
    """Return keyword arguments that keep a forward pass lean: no cache; without `head`, one logit row.

    Recording needs no logits, and for a small model the head is a third of the work. A head with weights of
    its own is a layer like any other, though: it has to read every position to be recorded.
    """
    accepted = inspect.signature(type(base_of(model)).forward).parameters
    options: dict[str, Any] = {}
    if "use_cache" in accepted:
        options["use_cache"] = False
    if not head and "logits_to_keep" in accepted and _head_is_tied(model):
        options["logits_to_keep"] = 1
    return options


def _head_is_tied(model: nn.Module) -> bool:
    head, table = model.get_output_embeddings(), model.get_input_embeddings()  # type: ignore[operator]
    return head is None or head.weight is table.weight


def token_limit(model: nn.Module) -> int | None:
    """Return the most tokens the model takes, or None if its config does not say."""
    config = getattr(model, "config", None)
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None
