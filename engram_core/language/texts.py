"""Text concepts: a name and its texts, and the background that belongs to the total only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import DataError, suggest
from .text_rows import TextItem, read_rows

__all__ = ["TextConcept", "TextItem", "TextSet"]


@dataclass(frozen=True)
class TextConcept:
    """A concept of texts.

    Attributes:
        name: unique in its set.
        record: items that are recorded.
        probe: held-out items (paraphrases that were not recorded); may be empty.
    """

    name: str
    record: tuple[TextItem, ...]
    probe: tuple[TextItem, ...] = ()


@dataclass(frozen=True)
class TextSet(Mapping[str, TextConcept]):
    """Text concepts by name, in order, and background texts that belong to the total only."""

    concepts: tuple[TextConcept, ...]
    background: tuple[str, ...] = ()
    _by_name: dict[str, TextConcept] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {concept.name: concept for concept in self.concepts}
        if not by_name:
            raise DataError("A text set needs at least one concept; found none.")
        if len(by_name) != len(self.concepts):
            raise DataError("Two text concepts have one name; give each its own.")
        empty = [c.name for c in self.concepts if not c.record]
        if empty:
            raise DataError(f"Nothing is to be recorded for {', '.join(map(repr, empty[:5]))}: add texts.")
        object.__setattr__(self, "_by_name", by_name)

    def __getitem__(self, name: str) -> TextConcept:
        if name not in self._by_name:
            raise suggest("concept", name, self._by_name)
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.concepts)

    def subset(self, names: Iterable[str]) -> TextSet:
        """Return a set of some of the concepts, with the same background.

        Args:
            names: of the concepts, in the order wanted.

        Raises:
            UnknownNameError: for a name that is not in the set.
        """
        return replace(self, concepts=tuple(self[name] for name in names))

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], *, background: Iterable[str] = ()) -> TextSet:
        """Build a set from rows with ``concept`` and either ``prompt`` and ``answer`` or ``text``.

        A row may have ``split`` (``"record"``, the default, or ``"probe"``). Rows whose concept is
        ``"(background)"`` join the background.

        Args:
            rows: mappings of these fields to texts.
            background: more texts that belong to the total only.

        Returns:
            The set.

        Raises:
            DataError: naming every bad row by its number, all at once.
        """
        return cls.from_rows(enumerate(rows, start=1), "row", background)

    @classmethod
    def from_rows(
        cls, rows: Iterable[tuple[int, Any]], unit: str, background: Iterable[str], source: str = ""
    ) -> TextSet:
        """Build a set from numbered rows (see `text_rows.read_rows`).

        Args:
            rows: each with its number.
            unit: what a row is called, in a word.
            background: more texts that belong to the total only.
            source: where the rows come from, for messages.

        Returns:
            The set.

        Raises:
            DataError: naming every bad row by its number, all at once.
        """
        found = read_rows(rows, unit, background, source)
        concepts = (TextConcept(name, parts["record"], parts["probe"]) for name, parts in found.items.items())
        return cls(tuple(concepts), found.background)
