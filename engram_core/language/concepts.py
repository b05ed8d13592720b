"""Text concepts as a concept set: short texts of many concepts share forward passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..concepts.batch import Batch
from ..concepts.concepts import BACKGROUND, Concept, ConceptSet, draw
from ..concepts.inspection import Inspection
from ..concepts.mixing import BatchWithOwner
from ..errors import DataError, EngramError
from .continuing import check_continues_text
from .inspection import Texts, few_texts, inspect_texts
from .models import call_options, embedding_rows, token_limit
from .texts import TextConcept, TextItem, TextSet
from .tokens import POSITIONS, Encoded, Positions, by_length, encode, padded, pick_positions

__all__ = ["LanguageConcepts"]


class LanguageConcepts(ConceptSet):
    """A text set with its tokenizer: what `record` and the criteria take for a language model.

    Args:
        tokenizer: a Hugging Face tokenizer.
        texts: concepts and background. The background always counts in full.
        positions: which positions of a concept's texts count: ``"all"`` (measured best, docs/science.md
            section 4), ``"predict"`` or ``"answer"``.
        template: put prompts into the chat template.
        batch_tokens: most positions per forward pass.

    Attributes:
        texts: the text set. A concept's ``record`` and ``probe`` are tuples of `TextItem`.
    """

    def __init__(
        self,
        tokenizer: Any,
        texts: TextSet,
        *,
        positions: Positions = "all",
        template: bool = False,
        batch_tokens: int = 4096,
    ):
        super().__init__(Concept(c.name, c.record, c.probe or None) for c in texts.concepts)
        if positions not in POSITIONS:
            raise DataError(f"positions must be one of {', '.join(POSITIONS)}; found {positions!r}.")
        self.tokenizer = tokenizer
        self.texts = texts
        self.background = texts.background or None
        self._options: dict[str, Any] = {
            "positions": positions, "template": template, "batch_tokens": batch_tokens,
        }  # fmt: skip

    @property
    def positions(self) -> Positions:
        """Which positions of a concept's texts count."""
        return self._options["positions"]

    @property
    def template(self) -> bool:
        """Whether prompts are put into the chat template."""
        return self._options["template"]

    def _of(self, concepts: Sequence[TextConcept]) -> LanguageConcepts:
        texts = TextSet(tuple(concepts))
        return LanguageConcepts(self.tokenizer, texts, **self._options)

    def subset(self, names: Iterable[str]) -> LanguageConcepts:
        """Return some of the concepts, without the background (see `ConceptSet.subset`).

        Args:
            names: of the concepts, in the order wanted.
        """
        return self._of([self.texts[name] for name in names])

    def held_out(self) -> LanguageConcepts:
        """Return the probe texts as a set; a concept without any is measured on its recorded texts.

        A fact has few phrasings; one that was not recorded is the exception rather than the rule.
        """
        return self._of([replace(c, record=c.probe or c.record, probe=()) for c in self.texts.concepts])

    def subsets(self, size: int, seeds: Sequence[int]) -> LanguageConcepts:
        """Draw random subsets of the recorded texts (see `ConceptSet.subsets`).

        Args:
            size: texts per subset.
            seeds: one subset each, 0 or more.

        Returns:
            One concept per seed.
        """
        items = [item for concept in self.texts.concepts for item in concept.record]
        return self._of(
            [
                TextConcept(f"subset {seed}", tuple(items[i] for i in chosen))
                for seed, chosen in draw(len(items), size, seeds)
            ]
        )

    def sizes(self) -> dict[str, int]:
        """Return the number of recorded texts per concept."""
        return {concept.name: len(concept.record) for concept in self.texts.concepts}

    def singles(self, picks: Sequence[tuple[str, int]]) -> LanguageConcepts:
        """Return the set in which every picked text is a concept of its own (see `ConceptSet.singles`).

        Args:
            picks: concept and number among its recorded texts, from 0.
        """
        return self._of(
            [
                TextConcept(str(i), (self.texts[name].record[number],))
                for i, (name, number) in enumerate(picks)
            ]
        )

    def prepared(
        self, model: nn.Module
    ) -> tuple[tuple[str, ...], Iterator[BatchWithOwner], dict[str, int], int]:
        """Return names, batches of texts of like length with owners, counts to fill, and the total.

        Args:
            model: the model.
        """
        texts, options = self.texts, self._options
        names = (*texts, *([BACKGROUND] if texts.background else []))
        counts = dict.fromkeys(names, 0)
        limit, rows = token_limit(model), embedding_rows(model)
        arguments = call_options(model, head=False)

        def entries() -> Iterator[tuple[tuple[int, list[int]], Encoded]]:
            for index, name in enumerate(texts):
                for item in texts[name].record:
                    encoded = encode(
                        self.tokenizer, item, template=options["template"], limit=limit, rows=rows, label=name
                    )
                    picked = pick_positions(encoded, options["positions"], fact=item.is_fact)
                    yield (index, picked), encoded
            for text in texts.background:
                encoded = encode(self.tokenizer, TextItem("", text), limit=limit, rows=rows, label=BACKGROUND)
                yield (len(texts), list(range(len(encoded.ids)))), encoded

        def stream() -> Iterator[BatchWithOwner]:
            for group in by_length(entries(), options["batch_tokens"]):
                ids, mask = padded([e for _, e in group])
                owner = torch.full(ids.shape, -1)
                for row, ((index, picked), _) in enumerate(group):
                    owner[row, picked] = index
                    counts[names[index]] += 1
                said = ", ".join(dict.fromkeys(names[index] for (index, _), _ in group))
                batch = Batch((), {"input_ids": ids, "attention_mask": mask, **arguments}, len(group))
                yield said if len(said) < 60 else said[:57] + "…", batch, owner

        total = sum(len(concept.record) for concept in texts.concepts) + len(texts.background)
        return names, stream(), counts, total

    def inspected(self, model: nn.Module) -> Inspection:
        """Return how many texts and tokens there are, and which texts cannot be read or asked.

        Args:
            model: the model.
        """
        return inspect_texts(self._read_by(model))

    def few(self, model: nn.Module, count: int) -> tuple[LanguageConcepts, int]:
        """Return a few of the texts as one concept, and how many of their tokens count.

        Args:
            model: the model.
            count: how many texts, at most.
        """
        drawn = few_texts(self._read_by(model), count)
        concept = TextConcept("a few", tuple(item for item, _ in drawn))
        return self._of([concept]), sum(rows for _, rows in drawn)

    def warnings(self, model: nn.Module) -> list[str]:
        """Return why a model cannot be asked in texts, if it cannot.

        Args:
            model: the model.
        """
        try:
            check_continues_text(model)
        except EngramError as error:
            return [str(error)]
        return []

    def about(self) -> dict[str, Any]:
        """Return the texts and how they are recorded, as JSON can hold them."""
        rows = [
            {"concept": concept.name, "split": split, "prompt": item.prompt, "answer": item.answer}
            for concept in self.texts.concepts
            for split, items in (("record", concept.record), ("probe", concept.probe))
            for item in items
        ]
        return {
            "texts": rows,
            "background": list(self.texts.background),
            "positions": self.positions,
            "template": self.template,
        }

    def _read_by(self, model: nn.Module) -> Texts:
        return Texts(model, self.tokenizer, self.texts, positions=self.positions, template=self.template)
