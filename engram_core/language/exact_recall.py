"""Recall: does the model still give the answer, and how surely?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..errors import DataError
from ..models.view import device_of, evaluated
from ..progress import Step, Steps, drain
from .continuing import check_continues_text, logits_of
from .models import call_options, embedding_rows, not_finite, token_limit
from .texts import TextItem, TextSet
from .tokens import Encoded, by_length, check_question, encode, padded

__all__ = [
    "POSITIONS",
    "OTHERS",
    "Question",
    "answer_scores",
    "answer_table",
    "questions_of",
    "recall",
    "recall_steps",
    "recall_summary",
]

OTHERS = "(others)"
"""Row of a summary that is the mean of all other concepts."""

POSITIONS = 8192
"""Of tokens and padding in one forward pass."""


@dataclass(frozen=True)
class Question:
    """A question with its answer, as a model reads it.

    Attributes:
        concept: name of its concept.
        split: ``"record"``, or ``"probe"`` for one that was not recorded.
        item: prompt and answer.
        encoded: their tokens.
    """

    concept: str
    split: str
    item: TextItem
    encoded: Encoded


def questions_of(
    tokenizer: Any,
    texts: TextSet,
    names: Iterable[str],
    *,
    template: bool,
    limit: int | None,
    rows: int | None,
) -> list[Question]:
    """Return the questions of some concepts, encoded.

    Args:
        tokenizer: of the model.
        texts: where the questions are.
        names: of the concepts.
        template: whether prompts are put into the chat template.
        limit: most tokens that the model takes.
        rows: how many tokens it has an embedding for.

    Raises:
        DataError: if the model cannot read a question, or its answer has no tokens of its own.
    """
    found = []
    for name in names:
        concept = texts[name]
        for split, items in (("record", concept.record), ("probe", concept.probe)):
            for number, item in enumerate(items, start=1):
                if item.is_fact:
                    encoded = encode(tokenizer, item, template=template, limit=limit, rows=rows, label=name)
                    check_question(item, encoded, f"Concept {name!r}, {split} {number}: ")
                    found.append(Question(name, split, item, encoded))
    return found


def answer_scores(model: nn.Module, questions: Sequence[Question]) -> list[tuple[float, float, bool]]:
    """Score every answer.

    Args:
        model: any model that continues texts.
        questions: what to ask.

    Returns:
        NLL in nats per token, probability of the first token, and whether the greedy answer is exact.

    Raises:
        NonFiniteError: if the model answers NaN.
    """
    return drain(_answer_steps(model, questions, POSITIONS))


def _answer_steps(
    model: nn.Module, questions: Sequence[Question], positions: int
) -> Steps[list[tuple[float, float, bool]]]:
    with evaluated(model) as ready:
        return (yield from _scores(ready, questions, positions))


def _scores(
    model: nn.Module, questions: Sequence[Question], positions: int
) -> Steps[list[tuple[float, float, bool]]]:
    scores: dict[int, tuple[float, float, bool]] = {}
    device = device_of(model)
    options = call_options(model)
    for group in by_length(((i, q.encoded) for i, q in enumerate(questions)), positions):
        yield Step(len(scores), len(questions), "asking")
        with torch.no_grad():  # and not between two steps, where the caller computes
            ids, mask = (t.to(device) for t in padded([e for _, e in group]))
            logits = logits_of(model(input_ids=ids, attention_mask=mask, **options), model, ids)
            spans = [(max(e.answer[0], 1), e.answer[1]) for _, e in group]
            lengths = torch.tensor([stop - start for start, stop in spans], device=device)
            rows = torch.arange(len(group), device=device).repeat_interleave(lengths)
            places = torch.cat([torch.arange(start, stop) for start, stop in spans]).to(device)
            # Each answer token is predicted one position before it; all of a group are read in one go.
            chances = logits[rows, places - 1].float().log_softmax(-1)
            target = ids[rows, places]
            told = chances.gather(-1, target[:, None])[:, 0]
            if told.isnan().any():
                raise not_finite(model, {"input_ids": ids, "attention_mask": mask, **options})
            # The greedy answer is exact if and only if each token is the likeliest after the true ones.
            missed = torch.zeros(len(group), device=device).index_add_(
                0, rows, (chances.argmax(-1) != target).float()
            )
            nll = torch.zeros(len(group), device=device).index_add_(0, rows, -told) / lengths
            firsts = told[lengths.cumsum(0) - lengths].exp()
            found = zip(nll.tolist(), firsts.tolist(), (missed == 0).tolist(), strict=True)
            scores |= {index: values for (index, _), values in zip(group, found, strict=True)}
    return [scores[i] for i in range(len(questions))]


def recall(
    model: nn.Module,
    tokenizer: Any,
    texts: TextSet,
    *,
    concepts: Iterable[str] | str | None = None,
    template: bool = False,
) -> pd.DataFrame:
    """Ask every question of every concept.

    Args:
        model: any model that continues texts.
        tokenizer: of the model.
        texts: where the questions are.
        concepts: names of those that are asked (default: all).
        template: whether prompts are put into the chat template.

    Returns:
        One row per question: concept, split ("record", or "probe" for one that was not recorded),
        prompt, answer, exact (greedy answer equals it), nll (nats per answer token), first (probability
        of the answer's first token).

    Raises:
        DataError: if there is no question, or the model does not continue texts (see `check_continues_text`).
    """
    return drain(recall_steps(model, tokenizer, texts, concepts=concepts, template=template))


def recall_steps(
    model: nn.Module,
    tokenizer: Any,
    texts: TextSet,
    *,
    concepts: Iterable[str] | str | None = None,
    template: bool = False,
    positions: int = POSITIONS,
) -> Steps[pd.DataFrame]:
    """Do what `recall` does in steps, a forward pass in each.

    Args:
        model: as in `recall`, and so on to `template`.
        tokenizer: of the model.
        texts: what is asked.
        concepts: about which.
        template: ask through the chat template.
        positions: of tokens and padding per forward pass; fewer make shorter steps.

    Returns:
        The table of `recall`.

    Yields:
        Where the work stands.
    """
    check_continues_text(model)
    names = [concepts] if isinstance(concepts, str) else list(texts if concepts is None else concepts)
    questions = questions_of(
        tokenizer, texts, names, template=template, limit=token_limit(model), rows=embedding_rows(model)
    )
    if not questions:
        raise DataError("None of these concepts has a prompt and an answer, so there is no recall to score.")
    return answer_table(questions, (yield from _answer_steps(model, questions, positions)))


def answer_table(questions: Sequence[Question], scores: Sequence[tuple[float, float, bool]]) -> pd.DataFrame:
    """Return one row per question (see `recall`).

    Args:
        questions: what was asked.
        scores: from `answer_scores`.
    """
    rows = [
        (q.concept, q.split, q.item.prompt, q.item.answer, exact, nll, first)
        for q, (nll, first, exact) in zip(questions, scores, strict=True)
    ]
    return pd.DataFrame(rows, columns=["concept", "split", "prompt", "answer", "exact", "nll", "first"])


def recall_summary(table: pd.DataFrame, concepts: Iterable[str] | str) -> pd.DataFrame:
    """Return the means of some concepts, and those of all the others together, phrasing by phrasing.

    Args:
        table: from `recall` or `Recall.table`.
        concepts: which ones get rows of their own.

    Returns:
        concept (`OTHERS` for the rest), split ("record", "probe"), questions, exact (share), nll (nats per
        answer token), first (probability of the answer's first token). The rest is a mean over concepts, not
        over questions; what has no question has no row.
    """
    names = [concepts] if isinstance(concepts, str) else list(dict.fromkeys(concepts))
    figures = ["exact", "nll", "first"]
    groups = table.groupby(["concept", "split"], sort=False)
    means = groups[figures].mean().assign(questions=groups.size()).reset_index()
    own = means["concept"].isin(names)
    rest = means[~own].groupby("split", sort=False)
    others = rest[figures].mean().assign(questions=rest["questions"].sum(), concept=OTHERS).reset_index()
    joined = pd.concat([means[own], others], ignore_index=True)
    place = {name: i for i, name in enumerate([*names, OTHERS])}
    joined = joined.sort_values(
        ["concept", "split"], key=lambda c: c.map(place) if c.name == "concept" else c != "record"
    )
    return joined[["concept", "split", "questions", *figures]].reset_index(drop=True)
