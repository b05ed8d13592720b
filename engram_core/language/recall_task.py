"""The task of a language model: does it still give the answers of each concept, and how surely?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
from torch import nn

from ..concepts.concepts import ConceptSet
from ..concepts.tasks import Scores, Task
from ..errors import DataError
from .concepts import LanguageConcepts
from .continuing import check_continues_text
from .exact_recall import Question, answer_scores, answer_table, questions_of, recall
from .models import embedding_rows, token_limit
from .texts import TextSet
from .tokenizer_speed import try_tokenizer
from .tokenizing import framed

__all__ = ["Recall"]


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
    _asked: dict[tuple[str, int | None, int | None], list[Question]] = field(
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

        Args:
            model: any model with this tokenizer.
            concepts: any of the concepts of `texts`.
            probes: names of those that are asked (default: all).

        Raises:
            DataError: if a concept has no question of the chosen split, or the model does not continue texts.
        """
        names = list(dict.fromkeys(concepts if probes is None else probes))
        questions = self._asked_of(model, names)
        found: dict[str, dict[str, list[tuple[float, float, bool]]]] = {n: {} for n in names}
        for question, values in zip(questions, answer_scores(model, questions), strict=True):
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

        Args:
            model: any model with this tokenizer.
            concepts: any of the concepts of `texts`.
            probes: names of those that are asked (default: all).

        Raises:
            DataError: if a concept has no question of the chosen split, or the model does not continue texts.
        """
        names = list(dict.fromkeys(concepts if probes is None else probes))
        questions = self._asked_of(model, names)
        return answer_table(questions, answer_scores(model, questions))

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
        """Return every question, how it is asked, and what the tokenizer makes of it.

        Args:
            concepts: what would be scored.
        """
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

    def _asked_of(self, model: nn.Module, names: Iterable[str]) -> list[Question]:
        """Return the questions of all of these concepts, each of which must have one."""
        check_continues_text(model)
        limit, rows, questions = token_limit(model), embedding_rows(model), list[Question]()
        for name in names:
            mine = self._questions(name, limit, rows)
            if not mine:
                asked = "question" if self.split == "all" else f"{self.split} question"
                raise DataError(
                    f"Concept {name!r} has no {asked} (a prompt and an answer) to score recall on."
                )
            questions += mine
        return questions

    def _questions(self, name: str, limit: int | None, rows: int | None) -> list[Question]:
        if (name, limit, rows) not in self._asked:
            self._asked[name, limit, rows] = questions_of(
                self.tokenizer, self.texts, [name], template=self.template, limit=limit, rows=rows
            )
        return [q for q in self._asked[name, limit, rows] if self.split in ("all", q.split)]


def _share_exact(values: Sequence[tuple[float, float, bool]]) -> float:
    return sum(exact for *_, exact in values) / len(values)


def _mean_nll(values: Sequence[tuple[float, float, bool]]) -> float:
    return sum(nll for nll, *_ in values) / len(values)


def _mean_first(values: Sequence[tuple[float, float, bool]]) -> float:
    return sum(first for _, first, _ in values) / len(values)
