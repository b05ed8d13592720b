"""Text from a model, token by token: one model, or base and edited side by side.

Base models are only called. An edited view belongs to one visitor and shares its weights with the base, so
any number of them may generate at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import DataError, NonFiniteError
from ..models.view import base_of, device_of, evaluated
from .continuing import check_continues_text
from .decoding import Decoder, Stop, decoded, final_tokens, stopper, token_text
from .models import call_options, embedding_rows, not_finite, token_limit
from .tokenizing import check_rows, framed, tokenized

__all__ = ["Alternative", "Token", "generate", "prompt_ids", "side_by_side"]


@dataclass(frozen=True)
class Alternative:
    """A token that could have come.

    Attributes:
        id: its number.
        text: itself alone.
        logprob: log-probability in nats.
    """

    id: int
    text: str
    logprob: float


@dataclass(frozen=True)
class Token:
    """A token that the model wrote.

    Attributes:
        id: its number.
        text: what it adds to the text. Empty while a character is incomplete; the next token then brings it.
        logprob: its log-probability in nats under the model itself (temperature 1, nothing cut off).
        top: the likeliest tokens at this place, if asked for.
        end: ``"eos"`` if the model ended the text with it, ``"limit"`` if no more were allowed; else empty.
    """

    id: int
    text: str
    logprob: float
    top: tuple[Alternative, ...] = ()
    end: Literal["", "eos", "limit"] = ""


def prompt_ids(
    tokenizer: Any,
    prompt: str,
    *,
    chat: bool = False,
    before: Sequence[tuple[str, str]] = (),
    limit: int | None = None,
    rows: int | None = None,
) -> list[int]:
    """Return the tokens of a prompt, ready to be continued.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt: the text.
        chat: put it into the tokenizer's chat template.
        before: what was said before in this chat, as (user, assistant).
        limit: most tokens that the model takes.
        rows: how many tokens it has an embedding for.

    Raises:
        DataError: if there is no chat template, no token, a token past `rows`, or no room left for another.
    """
    if chat:
        if not getattr(tokenizer, "chat_template", None):
            raise DataError("This tokenizer has no chat template; use chat=False.")
        prompt = framed(tokenizer, prompt, before)
    ids = list(tokenized(tokenizer, prompt, special=not chat)["input_ids"])
    end = getattr(tokenizer, "eos_token_id", None)
    while not chat and ids and ids[-1] == end != getattr(tokenizer, "bos_token_id", None):
        ids.pop()  # some tokenizers close every text, and this one goes on
    if not ids and getattr(tokenizer, "bos_token_id", None) is not None:
        ids = [int(tokenizer.bos_token_id)]
    if not ids:
        raise DataError("The prompt is empty, and this tokenizer has no token to begin with. Write a word.")
    check_rows(tokenizer, ids, rows)
    if limit is not None and len(ids) >= limit:
        raise DataError(
            f"The prompt has {len(ids)} tokens and this model takes at most {limit}, with those it writes. "
            "Shorten the prompt."
        )
    return ids


def generate(
    model: nn.Module,
    tokenizer: Any,
    prompt: str,
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Stop = None,
    chat: bool = False,
    before: Sequence[tuple[str, str]] = (),
    top: int = 0,
) -> Iterator[Token]:
    """Continue a prompt; every token is yielded as soon as it is known.

    The texts of all tokens together are ``tokenizer.decode(ids, skip_special_tokens=True)`` without clean-up.
    Sampling draws from a generator of its own: one seed gives one text, whatever else runs. The draw is
    the largest of log-probability plus Gumbel noise, so two models with one seed write the same until
    their probabilities differ enough.

    Args:
        model: a base model or an edited view.
        tokenizer: its tokenizer.
        prompt: the text to continue.
        max_new_tokens: most tokens to write; the model's own limit holds too.
        temperature: 0 takes the likeliest token; above, probabilities to the power of its inverse.
        top_p: sample among the likeliest tokens whose probabilities reach this sum.
        seed: of the draws.
        stop: a function that returns True, or an event that is set, to end before the next token.
        chat: put the prompt into the chat template.
        before: what was said before in this chat, as (user, assistant); counts with `chat` only.
        top: number of likeliest alternatives to give with every token.

    Returns:
        An iterator over the tokens; the model runs as far as it is read.

    Raises:
        DataError: for options out of range, a prompt as in `prompt_ids`, or a model that does not continue
            texts (see `check_continues_text`). At once, not at the first token.
        NonFiniteError: if the model's output is NaN.
    """
    if max_new_tokens < 1:
        raise DataError(f"max_new_tokens must be at least 1; found {max_new_tokens}.")
    if not math.isfinite(temperature) or temperature < 0:
        raise DataError(f"The temperature must be 0 (greedy) or above; found {temperature}.")
    if not 0 < top_p <= 1:
        raise DataError(f"top_p must be above 0 and at most 1; found {top_p}.")
    if top < 0:
        raise DataError(f"top must be 0 or more; found {top}.")
    check_continues_text(model)
    ids = prompt_ids(
        tokenizer, prompt, chat=chat, before=before, limit=token_limit(model), rows=embedding_rows(model)
    )
    generator = torch.Generator().manual_seed(seed)

    def choose(chances: Tensor) -> int:
        return _draw(chances, temperature, top_p, generator)

    return _tokens(model, tokenizer, ids, max_new_tokens, choose, stopper(stop), top)


def side_by_side(
    base: nn.Module, edited: nn.Module, tokenizer: Any, prompt: str, **options: Any
) -> Iterator[tuple[Token | None, Token | None]]:
    """Continue one prompt with two models in turn, with the same seed.

    Args:
        base: the first model.
        edited: the second.
        tokenizer: of both.
        prompt: the text to continue.
        options: as in `generate`, for both.

    Returns:
        Pairs of tokens at one place; None on the side that has ended before.
    """
    sides = [generate(model, tokenizer, prompt, **options) for model in (base, edited)]

    def pairs() -> Iterator[tuple[Token | None, Token | None]]:
        with closing(sides[0]), closing(sides[1]):  # type: ignore[type-var]
            yield from itertools.zip_longest(*sides)

    return pairs()


def _tokens(
    model: nn.Module,
    tokenizer: Any,
    ids: list[int],
    count: int,
    choose: Callable[[Tensor], int],
    stopped: Callable[[], bool],
    top: int,
) -> Iterator[Token]:
    limit, ends = token_limit(model), final_tokens(model, tokenizer)
    if limit is not None:
        count = min(count, limit - len(ids))
    with evaluated(model) as ready:
        decoder, written, told = Decoder(ready), list[int](), ""
        fed = torch.tensor([ids])
        while not stopped():
            chances = decoder(fed)[0]
            if torch.isnan(chances).any():
                inputs = {"input_ids": torch.tensor([[*ids, *written]], device=device_of(ready))}
                cause = not_finite(model, inputs | call_options(model))
                place = len(ids) + len(written) + 1
                raise NonFiniteError(f"{type(base_of(model)).__name__} gives NaN at token {place}. {cause}")
            chosen = choose(chances)
            written.append(chosen)
            end: Literal["", "eos", "limit"] = ""
            if chosen in ends:
                end = "eos"
            elif len(written) >= count:
                end = "limit"
            whole = decoded(tokenizer, written)
            # An incomplete character decodes to the replacement mark, until its last byte has come.
            sure = whole if end else whole.rstrip("\ufffd")
            text = sure[len(told) :] if sure.startswith(told) else ""
            told += text
            yield Token(chosen, text, float(chances[chosen]), _alternatives(tokenizer, chances, top), end)
            if end:
                return
            fed = torch.tensor([[chosen]])


def _alternatives(tokenizer: Any, chances: Tensor, top: int) -> tuple[Alternative, ...]:
    if not top:
        return ()
    values, numbers = chances.topk(min(top, len(chances)))
    return tuple(
        Alternative(number, token_text(tokenizer, number), value)
        for number, value in zip(numbers.tolist(), values.tolist(), strict=True)
    )


def _draw(chances: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    """Choose a token from log-probabilities (vocabulary,)."""
    if not temperature:
        return int(chances.argmax())
    scaled = (chances.double() / temperature).log_softmax(-1)
    if top_p < 1:
        ordered, order = scaled.sort(descending=True)
        before = ordered.exp().cumsum(-1) - ordered.exp()
        scaled[order[before >= top_p]] = -math.inf
    uniform = torch.rand(len(scaled), generator=generator, dtype=torch.float64)
    noise = -(-uniform.clamp(min=1e-300).log()).log()
    return int((scaled + noise).argmax())
