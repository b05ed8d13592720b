"""Count the tokens of texts before anything is recorded, and say which could not be recorded or asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from ..concepts.concepts import BACKGROUND
from ..concepts.inspection import Inspection
from ..errors import EngramError
from .models import embedding_rows, token_limit
from .texts import TextItem, TextSet
from .tokens import Positions, check_question, encode, pick_positions

__all__ = ["Texts", "few_texts", "inspect_texts"]


class Texts:
    """Texts as one model reads them.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        texts: the texts.
        positions: which positions of a concept's texts count.
        template: whether prompts are put into the chat template.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, texts: TextSet, *, positions: Positions, template: bool
    ) -> None:
        self.texts = texts
        self._tokenizer = tokenizer
        self._positions = positions
        self._template = template
        self._limit, self._rows = token_limit(model), embedding_rows(model)

    def encode(self, item: TextItem) -> Any:
        """Return the tokens of a text.

        Args:
            item: the text.

        Raises:
            DataError: if the model cannot read it.
        """
        return encode(self._tokenizer, item, template=self._template, limit=self._limit, rows=self._rows)

    def recorded(self) -> Iterator[tuple[str, int, TextItem]]:
        """Yield every text that is recorded: its concept, its number from 1, and itself."""
        for concept in self.texts.concepts:
            for number, item in enumerate(concept.record, start=1):
                yield concept.name, number, item
        for number, text in enumerate(self.texts.background, start=1):
            yield BACKGROUND, number, TextItem("", text)

    def counted(self, name: str, item: TextItem) -> int:
        """Return how many positions of a recorded text count.

        Args:
            name: of its concept.
            item: the text.

        Raises:
            DataError: if the model cannot read it.
        """
        positions: Positions = "all" if name == BACKGROUND else self._positions
        return len(pick_positions(self.encode(item), positions, fact=item.is_fact))


def inspect_texts(texts: Texts) -> Inspection:
    """Count texts and their tokens.

    Args:
        texts: as the model reads them.

    Returns:
        The counts; a text that cannot be read is a problem and has no rows.
    """
    inputs: dict[str, int] = {}
    rows: dict[str, int] = {}
    problems: list[str] = []
    for name, number, item in texts.recorded():
        try:
            count = texts.counted(name, item)
        except EngramError as error:
            problems.append(f"{name}, text {number} ({item.text[:40]!r}): {error}")
            count = 0
        inputs[name] = inputs.get(name, 0) + 1
        rows[name] = rows.get(name, 0) + count
    held_out = {name: 0 if name == BACKGROUND else len(texts.texts[name].probe) for name in inputs}
    return Inspection(inputs, held_out, rows, (*problems, *_unaskable(texts)))


def _unaskable(texts: Texts) -> Iterator[str]:
    """Yield what is wrong with texts that are asked, which would only show when they are."""
    for concept in texts.texts.concepts:
        for split, items in (("record", concept.record), ("probe", concept.probe)):
            for number, item in enumerate(items, start=1):
                try:
                    encoded = texts.encode(item)
                except EngramError as error:
                    if split == "probe":  # one that is recorded has been named already
                        yield f"{concept.name}, text {number} ({item.text[:40]!r}): {error}"
                    continue
                try:
                    if item.is_fact:
                        check_question(item, encoded, f"Concept {concept.name!r}, {split} {number}: ")
                except EngramError as error:
                    yield str(error)


def few_texts(texts: Texts, count: int) -> list[tuple[TextItem, int]]:
    """Draw a few of the texts of all concepts that can be read, evenly.

    Args:
        texts: as the model reads them.
        count: how many, at most.

    Returns:
        Each with the number of its positions that count.
    """
    good = []
    for name, _, item in texts.recorded():
        if name != BACKGROUND:
            try:
                rows = texts.counted(name, item)
            except EngramError:
                continue
            if rows:
                good.append((item, rows))
    return good[:: max(1, len(good) // count)][:count]
