"""The probability that a model gives a known answer: that of all its tokens, one after the other."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from ..errors import DataError
from .continuing import check_continues_text
from .exact_recall import Question, answer_scores
from .models import embedding_rows, token_limit
from .texts import TextItem
from .tokens import check_question, encode

__all__ = ["probability_of_answer"]


def probability_of_answer(
    model: nn.Module, tokenizer: Any, prompt: str, answer: str, *, template: bool = False
) -> float:
    """Return the probability that an answer, and no other text, follows a prompt.

    Args:
        model: a causal language model.
        tokenizer: of the model.
        prompt: what is asked.
        answer: what should follow.
        template: put the prompt into the chat template.

    Raises:
        DataError: if prompt or answer is empty, or the model does not continue texts.
    """
    check_continues_text(model)
    if not (prompt and answer):
        raise DataError("A probability needs a prompt and an answer; one of them is empty.")
    item = TextItem(prompt, answer)
    encoded = encode(tokenizer, item, template=template, limit=token_limit(model), rows=embedding_rows(model))
    check_question(item, encoded, "")
    ((nll, *_),) = answer_scores(model, [Question("", "", item, encoded)])
    start, stop = encoded.answer
    return math.exp(-nll * (stop - max(start, 1)))
