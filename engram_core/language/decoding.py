"""Feed a model token by token, and turn tokens into text: what all generation shares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..models.view import base_of, device_of
from .continuing import logits_of
from .tokenizing import spelled

__all__ = ["Decoder", "Event", "Stop", "decoded", "final_tokens", "stopper", "token_text"]


class Event(Protocol):
    """Something like `threading.Event`."""

    def is_set(self) -> bool:
        """Whether to stop."""


Stop = Callable[[], bool] | Event | None


def stopper(stop: Stop) -> Callable[[], bool]:
    """Return a function that says whether to stop.

    Args:
        stop: a function, an event, or None.
    """
    if stop is None:
        return lambda: False
    return stop if callable(stop) else stop.is_set


def final_tokens(model: nn.Module, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a text: the tokenizer's, and the model's own if the tokenizer knows them.

    Args:
        model: the model.
        tokenizer: its tokenizer.
    """
    special = set(getattr(tokenizer, "all_special_ids", ()))
    ends = {getattr(tokenizer, "eos_token_id", None)}
    for holder in (getattr(model, "generation_config", None), getattr(model, "config", None)):
        given = getattr(holder, "eos_token_id", None)
        # A config's default names some number even where it is an ordinary token.
        ends |= special & set(given if isinstance(given, (list, tuple)) else [given])
    return frozenset(int(end) for end in ends if end is not None)


class Decoder:
    """A model that is fed token by token, with its key-value cache if it has one."""

    def __init__(self, model: nn.Module):
        accepted = inspect.signature(type(base_of(model)).forward).parameters
        self._model = model
        self._caches = {"past_key_values", "use_cache"} <= set(accepted)
        self._counts = "position_ids" in accepted
        self._options: dict[str, Any] = {"use_cache": True} if self._caches else {}
        if "logits_to_keep" in accepted:
            self._options["logits_to_keep"] = 1
        self._device = device_of(model)
        self._past: Any = None
        self._ids: Tensor | None = None

    def __call__(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Feed `ids` (texts, tokens) and return the log-probabilities of the next token, (texts, vocabulary).

        `mask` (texts, all tokens so far) is 0 at padding; None if there is none.

        Returns:
            (texts, vocabulary), in nats.
        """
        ids = ids.to(self._device)
        options = dict(self._options)
        if self._past is None and self._ids is not None:
            ids = torch.cat([self._ids, ids], 1)
        if mask is not None:
            options["attention_mask"] = mask.to(self._device)
            if self._counts:
                options["position_ids"] = (options["attention_mask"].cumsum(1) - 1).clamp(min=0)[
                    :, -ids.shape[1] :
                ]
        if self._past is not None:
            options["past_key_values"] = self._past
        # The mode is set for the call alone: around a yield it would be the caller's as well.
        with torch.no_grad():
            output = self._model(input_ids=ids, **options)
            logits = logits_of(output, self._model, ids, last=True)[:, -1].float()
            self._past = getattr(output, "past_key_values", None) if self._caches else None
            self._ids = ids
            return logits.log_softmax(-1).cpu()


def decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return the text of tokens, without special ones and without clean-up.

    Args:
        tokenizer: a Hugging Face tokenizer.
        ids: the tokens.
    """
    return spelled(tokenizer, list(ids), skip_special_tokens=True)


def token_text(tokenizer: Any, number: int) -> str:
    """Return one token as people can read it, with the space it brings along.

    Args:
        tokenizer: a Hugging Face tokenizer.
        number: of the token.
    """
    text = spelled(tokenizer, [number], skip_special_tokens=False)
    if text and "\ufffd" not in text and not text[0].isalnum():
        return text
    raw = tokenizer.convert_ids_to_tokens(number)
    if not isinstance(raw, str):
        return text
    if "\ufffd" in text or not text:
        return raw
    # Some decoders drop the space of a text's first word.
    return f" {text}" if raw.startswith("\u2581") else text
