"""Recall: does the model still give the answer, and how surely?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from ..errors import DataError
from ..tasks import Scores
from .models import call_options, token_limit
from .texts import TextItem, TextSet
from .tokens import Encoded, by_length, encode, padded

__all__ = ["Recall", "perplexity", "recall"]

_TOKENS = 8192  # positions per forward pass


@dataclass(frozen=True)
class _Question:
    concept: str
    split: str
    item: TextItem
    encoded: Encoded


def _questions(
    tokenizer: Any, texts: TextSet, names: Iterable[str], *, template: bool, limit: int | None
) -> list[_Question]:
    found = []
    for name in names:
        concept = texts[name]
        for split, items in (("record", concept.record), ("probe", concept.probe)):
            for item in items:
                if item.is_fact:
                    encoded = encode(tokenizer, item, template=template, limit=limit, label=name)
                    found.append(_Question(name, split, item, encoded))
    return found


def _answer_scores(model: nn.Module, questions: Sequence[_Question]) -> list[tuple[float, float, bool]]:
    """Return (NLL in nats per token, probability of the first token, exact) of every answer."""
    scores: dict[int, tuple[float, float, bool]] = {}
    device = next(model.parameters()).device
    options = call_options(model)
    for group in by_length(((i, q.encoded) for i, q in enumerate(questions)), _TOKENS):
        ids, mask = padded([e for _, e in group])
        with torch.no_grad():
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device), **options).logits
        for row, (index, encoded) in enumerate(group):
            start, stop = max(encoded.answer[0], 1), encoded.answer[1]
            target = ids[row, start:stop].to(device)
            chances = logits[row, start - 1 : stop - 1].float().log_softmax(-1)
            told = chances.gather(-1, target[:, None])[:, 0]
            # The greedy answer is exact if and only if each token is the likeliest after the true ones.
            exact = bool((chances.argmax(-1) == target).all())
            scores[index] = (float(-told.mean()), float(told[0].exp()), exact)
    return [scores[i] for i in range(len(questions))]


def recall(
    model: nn.Module,
    tokenizer: Any,
    texts: TextSet,
    *,
    concepts: Iterable[str] | None = None,
    template: bool = False,
) -> pd.DataFrame:
    """Ask every question of every concept.

    Returns:
        One row per question: concept, split ("record", or "probe" for one that was not recorded),
        prompt, answer, exact (greedy answer equals it), nll (nats per answer token), first (probability
        of the answer's first token).
    """
    names = list(texts if concepts is None else concepts)
    questions = _questions(tokenizer, texts, names, template=template, limit=token_limit(model))
    if not questions:
        raise DataError("None of these concepts has a prompt and an answer, so there is no recall to score.")
    rows = [
        (q.concept, q.split, q.item.prompt, q.item.answer, exact, nll, first)
        for q, (nll, first, exact) in zip(questions, _answer_scores(model, questions), strict=True)
    ]
    return pd.DataFrame(rows, columns=["concept", "split", "prompt", "answer", "exact", "nll", "first"])


def perplexity(model: nn.Module, tokenizer: Any, texts: Iterable[str]) -> float:
    """Return exp of the mean loss per token (nats) over all texts together."""
    encoded = [encode(tokenizer, TextItem("", text), limit=token_limit(model)) for text in texts]
    if not encoded:
        raise DataError("There is no background text to take a perplexity of.")
    total, count = 0.0, 0
    device = next(model.parameters()).device
    for group in by_length(enumerate(encoded), _TOKENS):
        ids, mask = (t.to(device) for t in padded([e for _, e in group]))
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask, **call_options(model)).logits
        losses = nn.functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), ids[:, 1:], reduction="none"
        )
        counted: Tensor = mask[:, 1:].bool()
        total += float(losses[counted].sum())
        count += int(counted.sum())
    if not count:
        raise DataError("The background texts have a single token each; perplexity needs at least two.")
    return float(torch.tensor(total / count).exp())


@dataclass(frozen=True)
class Recall:
    """The task of a language model: exact recall per concept. A `tasks.Task`.

    Attributes:
        tokenizer: of the model.
        texts: what is asked.
        split: ``"record"``, ``"probe"``, or ``"all"``: which questions count.
        template: ask through the chat template.
    """

    tokenizer: Any
    texts: TextSet
    split: str = "all"
    template: bool = False
    unit: str = field(default="exact recall", init=False)

    def __post_init__(self) -> None:
        if self.split not in ("record", "probe", "all"):
            raise DataError(f"split must be record, probe or all; found {self.split!r}.")

    def measure(
        self, model: nn.Module, concepts: Mapping[str, Any], probes: Iterable[str] | None = None
    ) -> Scores:
        """Return the share of exact answers per concept."""
        table = recall(
            model, self.tokenizer, self.texts, concepts=list(concepts if probes is None else probes),
            template=self.template,
        )  # fmt: skip
        if self.split != "all":
            table = table[table["split"] == self.split]
        means = table.groupby("concept", sort=False)["exact"].mean()
        return Scores({str(name): float(value) for name, value in means.items()}, {})
