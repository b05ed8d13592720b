"""Recall: does the model still give the answer, and how surely?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor, nn

from ..concepts.concepts import ConceptSet
from ..concepts.tasks import Scores, Task
from ..errors import DataError
from ..models.view import device_of, evaluated
from .concepts import LanguageConcepts
from .continuing import check_continues_text, logits_of
from .models import call_options, embedding_rows, not_finite, token_limit
from .texts import TextItem, TextSet
from .tokenizer_speed import try_tokenizer
from .tokenizing import framed
from .tokens import Encoded, by_length, check_question, encode, padded

__all__ = ["OTHERS", "Recall", "perplexity", "recall", "recall_summary"]

OTHERS = "(others)"
"""Row of a summary that is the mean of all other concepts."""

_TOKENS = 8192  # positions per forward pass


@dataclass(frozen=True)
class _Question:
    concept: str
    split: str
    item: TextItem
    encoded: Encoded


def _questions(
    tokenizer: Any,
    texts: TextSet,
    names: Iterable[str],
    *,
    template: bool,
    limit: int | None,
    rows: int | None,
) -> list[_Question]:
    found = []
    for name in names:
        concept = texts[name]
        for split, items in (("record", concept.record), ("probe", concept.probe)):
            for number, item in enumerate(items, start=1):
                if item.is_fact:
                    encoded = encode(tokenizer, item, template=template, limit=limit, rows=rows, label=name)
                    check_question(item, encoded, f"Concept {name!r}, {split} {number}: ")
                    found.append(_Question(name, split, item, encoded))
    return found


def _answer_scores(model: nn.Module, questions: Sequence[_Question]) -> list[tuple[float, float, bool]]:
    """Return (NLL in nats per token, probability of the first token, exact) of every answer."""
    with evaluated(model) as ready, torch.no_grad():
        return _scores(ready, questions)


def _scores(model: nn.Module, questions: Sequence[_Question]) -> list[tuple[float, float, bool]]:
    scores: dict[int, tuple[float, float, bool]] = {}
    device = device_of(model)
    options = call_options(model)
    for group in by_length(((i, q.encoded) for i, q in enumerate(questions)), _TOKENS):
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

    Returns:
        One row per question: concept, split ("record", or "probe" for one that was not recorded),
        prompt, answer, exact (greedy answer equals it), nll (nats per answer token), first (probability
        of the answer's first token).

    Raises:
        DataError: if there is no question, or the model does not continue texts (see `check_continues_text`).
    """
    check_continues_text(model)
    names = [concepts] if isinstance(concepts, str) else list(texts if concepts is None else concepts)
    questions = _questions(
        tokenizer, texts, names, template=template, limit=token_limit(model), rows=embedding_rows(model)
    )
    if not questions:
        raise DataError("None of these concepts has a prompt and an answer, so there is no recall to score.")
    return _table(questions, _answer_scores(model, questions))


def _table(questions: Sequence[_Question], scores: Sequence[tuple[float, float, bool]]) -> pd.DataFrame:
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


def perplexity(model: nn.Module, tokenizer: Any, texts: Iterable[str]) -> float:
    """Return exp of the mean loss per token (nats) over all texts together.

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


@dataclass(frozen=True)
class Recall(Task):
    """The task of a language model: exact recall per concept.

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
    reads_text: ClassVar[bool] = True
    unit: str = field(default="exact recall", init=False)
    # Tokens of every concept asked so far: a sweep asks the same questions hundreds of times.
    _asked: dict[tuple[str, int | None, int | None], list[_Question]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.split not in ("record", "probe", "all"):
            raise DataError(f"split must be record, probe or all; found {self.split!r}.")

    def measure(
        self, model: nn.Module, concepts: Mapping[str, Any], probes: Iterable[str] | None = None
    ) -> Scores:
        """Return the share of exact answers per concept.

        ``details`` holds the same for ``"recorded"`` and ``"unseen"`` questions alone; the mean NLL of the
        answers (nats per token) as ``"nll"`` and, on unseen questions, ``"nll_unseen"``; and the mean
        probability of the answer's first token as ``"first"`` and ``"first_unseen"``.

        Raises:
            DataError: if a concept has no question of the chosen split, or the model does not continue texts.
        """
        names = list(dict.fromkeys(concepts if probes is None else probes))
        questions = self._asked_of(model, names)
        found: dict[str, dict[str, list[tuple[float, float, bool]]]] = {n: {} for n in names}
        for question, values in zip(questions, _answer_scores(model, questions), strict=True):
            found[question.concept].setdefault(question.split, []).append(values)
        score: dict[str, float] = {}
        kinds = ("recorded", "unseen", "nll", "nll_unseen", "first", "first_unseen")
        details: dict[str, dict[str, float]] = {kind: {} for kind in kinds}
        for name, parts in found.items():
            every = [values for part in parts.values() for values in part]
            score[name] = _share_exact(every)
            details["nll"][name] = _mean_nll(every)
            details["first"][name] = _mean_first(every)
            if "record" in parts:
                details["recorded"][name] = _share_exact(parts["record"])
            if "probe" in parts:
                details["unseen"][name] = _share_exact(parts["probe"])
                details["nll_unseen"][name] = _mean_nll(parts["probe"])
                details["first_unseen"][name] = _mean_first(parts["probe"])
        return Scores(score, {}, {k: v for k, v in details.items() if v})

    def table(
        self, model: nn.Module, concepts: Mapping[str, Any], probes: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Return one row per question, as `recall` does; `measure` is its means per concept.

        Raises:
            DataError: if a concept has no question of the chosen split, or the model does not continue texts.
        """
        names = list(dict.fromkeys(concepts if probes is None else probes))
        questions = self._asked_of(model, names)
        return _table(questions, _answer_scores(model, questions))

    def answers(self, model: nn.Module, inputs: ConceptSet) -> tuple[str, ...]:
        """Return "right" or "wrong" for every question, "" for a text that asks nothing.

        Args:
            model: any model with this tokenizer.
            inputs: one text per concept; a set of anything but texts has no answers.
        """
        verdicts = dict.fromkeys(inputs, "")
        asked = [] if inputs.texts is None else [c.name for c in inputs.texts.concepts if c.record[0].is_fact]
        if asked:
            table = recall(model, self.tokenizer, inputs.texts, concepts=asked, template=self.template)
            for name, exact in zip(table["concept"], table["exact"], strict=True):
                verdicts[name] = "right" if exact else "wrong"
        return tuple(verdicts.values())

    def depends_on(self, concepts: ConceptSet) -> Sequence[Any] | None:
        """Return every question, how it is asked, and what the tokenizer makes of it."""
        if type(self) is not Recall:
            return None  # somebody else's code may depend on more
        asked = [(c.name, c.record, c.probe) for c in self.texts.concepts]
        encoded = LanguageConcepts(self.tokenizer, self.texts, template=self.template)
        return (repr((self.split, self.template, asked)), encoded, encoded.held_out())

    def rehearse(self, model: nn.Module, report: Callable[[str], None]) -> None:
        """Try the tokenizer on hard texts, its chat template if that is used, and whether the model writes.

        Args:
            model: the model.
            report: is told what is being tried.

        Raises:
            DataError: if one of them fails or takes too long.
        """
        report("Trying its tokenizer")
        try_tokenizer(self.tokenizer)
        if self.template:
            framed(self.tokenizer, "Hello")  # one that loops would be asked once for every text
        check_continues_text(model)

    def _asked_of(self, model: nn.Module, names: Iterable[str]) -> list[_Question]:
        """Return the questions of all of these concepts, each of which must have one."""
        check_continues_text(model)
        limit, rows, questions = token_limit(model), embedding_rows(model), list[_Question]()
        for name in names:
            mine = self._questions(name, limit, rows)
            if not mine:
                asked = "question" if self.split == "all" else f"{self.split} question"
                raise DataError(
                    f"Concept {name!r} has no {asked} (a prompt and an answer) to score recall on."
                )
            questions += mine
        return questions

    def _questions(self, name: str, limit: int | None, rows: int | None) -> list[_Question]:
        if (name, limit, rows) not in self._asked:
            self._asked[name, limit, rows] = _questions(
                self.tokenizer, self.texts, [name], template=self.template, limit=limit, rows=rows
            )
        return [q for q in self._asked[name, limit, rows] if self.split in ("all", q.split)]


def _share_exact(values: Sequence[tuple[float, float, bool]]) -> float:
    return sum(exact for *_, exact in values) / len(values)


def _mean_nll(values: Sequence[tuple[float, float, bool]]) -> float:
    return sum(nll for nll, *_ in values) / len(values)


def _mean_first(values: Sequence[tuple[float, float, bool]]) -> float:
    return sum(first for _, first, _ in values) / len(values)
