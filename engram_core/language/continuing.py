"""Whether a model continues a text: what it says after a token rests on what stands before, and on no more.

Found out by trying, because no setting tells it: masked language models have the same logits as those that
write, and the same class may read both ways (BERT with a head for text) or one (the same as a decoder).
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..errors import DataError, EngramError
from ..libraries import first_line
from ..models.view import base_of, device_of, evaluated
from .models import call_options, embedding_rows, token_limit

__all__ = ["check_continues_text", "logits_of"]

_TRIED = 4  # tokens
_SAME = 1e-4  # of the logits' spread: what differs by less does so by rounding
_known: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def check_continues_text(model: nn.Module) -> None:
    """Raise a DataError unless a model continues texts, so that it can be asked, scored and made to write.

    One pass of a few tokens, once per model: the last of them must not change what is said before it.

    Args:
        model: a base model or an edited view, whose base is tried.

    Raises:
        DataError: it is an encoder-decoder, fills gaps, judges whole texts, has no logits, or cannot be run
            on tokens; the message says which, and what works with it.
    """
    base = base_of(model)
    if base in _known:
        return
    why = _obstacle(base)
    if why:
        raise DataError(
            f"{type(base).__name__} does not continue a text: {why}. So it has no recall, perplexity or next "
            "token that could be read, and it writes nothing. It can be recorded, erased from, looked at "
            "layer by layer and saved like any model; for the rest take a causal language model "
            "(a …ForCausalLM)."
        )
    _known[base] = True


def logits_of(output: Any, model: nn.Module, ids: Tensor, *, last: bool = False) -> Tensor:
    """Return a model's logits, (texts, tokens, vocabulary).

    Args:
        output: what it answered.
        model: which one, for messages.
        ids: the tokens it was given, (texts, tokens).
        last: only what comes after the text is of interest, and it may have answered no more than that.

    Raises:
        DataError: if these are no logits, or not one row of them per token, or if some of the text's
            own tokens have none.
    """
    logits = getattr(output, "logits", None)
    name = type(base_of(model)).__name__
    if not isinstance(logits, Tensor):
        raise DataError(f"{name} does not continue a text: {_without_logits(output)}.")
    lengths = (1, ids.shape[1]) if last else (ids.shape[1],)
    if logits.ndim != 3 or logits.shape[0] != ids.shape[0] or logits.shape[1] not in lengths:
        raise DataError(
            f"{name} answers logits of shape {tuple(logits.shape)} to {ids.shape[0]} texts of {ids.shape[1]} "
            f"tokens; expected ({ids.shape[0]}, {ids.shape[1]}, vocabulary), one row after every token."
        )
    largest = -1 if last else int(ids.max())
    if largest >= logits.shape[2]:
        raise DataError(
            f"{name} answers {logits.shape[2]} numbers after every token, and this text has token number "
            f"{largest}: model and tokenizer do not belong together, or it chooses among labels instead of "
            "tokens."
        )
    return logits


def _obstacle(base: nn.Module) -> str:
    """Return why a model does not continue a text; empty if it does."""
    if getattr(getattr(base, "config", None), "is_encoder_decoder", False):
        return "it reads a text with an encoder and answers with a decoder that has inputs of its own"
    rows, limit = embedding_rows(base), token_limit(base)
    count = _TRIED if limit is None else min(_TRIED, limit)
    if count < 2 or rows == 1:
        return ""  # there is nothing that could come later
    # One text, the same with another end, and the first again: what differs there differs by itself.
    ids = torch.tensor([[0, 1] * count] * 3, device=device_of(base))[:, :count]
    ids[1, -1] = 1 - ids[1, -1]
    try:
        with evaluated(base) as ready, torch.no_grad():
            output = ready(input_ids=ids, **call_options(base))
    except EngramError:
        raise
    except Exception as error:  # code of others runs here
        failed = f"it fails on the tokens {ids[0].tolist()} ({type(error).__name__}: {first_line(error)})"
        return _own_word(base) or failed
    logits = getattr(output, "logits", None)
    if not isinstance(logits, Tensor):
        return _without_logits(output)
    if logits.ndim != 3 or logits.shape[:2] != ids.shape:
        return (
            f"it answers logits of shape {tuple(logits.shape)} to 3 texts of {count} tokens, and not one row "
            "after every token"
        )
    before = logits[:, :-1].float().nan_to_num(0, 0, 0)  # NaN is told of where it is found
    changed, noise = ((before[i] - before[0]).abs().max() for i in (1, 2))
    spread = before[0].std()
    eps = torch.finfo(logits.dtype).eps if logits.is_floating_point() else 0.0
    if changed > 10 * noise + max(_SAME, 8 * eps) * spread:
        # The same class may read one way when its config says so (BertLMHeadModel).
        undecided = getattr(getattr(base, "config", None), "is_decoder", None) is False and not _own_word(
            base
        )
        why = "what it says at a token also rests on those that come later, as when gaps are filled"
        return f"{why} (its config has is_decoder=False)" if undecided else why
    return _own_word(base)


def _without_logits(output: Any) -> str:
    hint = " (transformers answers so where return_dict is False)" if isinstance(output, tuple) else ""
    return f"its answer, a {type(output).__name__}, has no logits{hint}"


def _own_word(base: nn.Module) -> str:
    """Return what a class of transformers says against itself; one of somebody else's may leave it unsaid."""
    writes = getattr(base, "can_generate", None)
    if not type(base).__module__.startswith("transformers.") or writes is None or writes():
        return ""
    return "transformers says of this class that it writes no text"
