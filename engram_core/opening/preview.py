"""The first rows of a file of concepts, so that somebody can say which column is what."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..language.published import title_of
from ..language.text_rows import FIELDS, brief
from ..tabular.table_files import LABELS, number_or_none

__all__ = ["HEAD", "Preview", "preview"]

HEAD = 256 << 10
"""Bytes of a file that are looked at."""
_LOOKED_AT = 50  # rows
_SHOWN = 3
_MOST_COLUMNS = 200
_CELL = 120  # characters of a cell that are shown

# What people call the fields, the most telling first.
_CALLED = {
    "concept": (
        "concept", "subject", "topic", "entity", "author", "person", "title", "name", "category", "label",
    ),
    "prompt": ("prompt", "question", "query", "instruction", "input", "src", "ask"),
    "answer": ("answer", "answers", "response", "output", "completion", "target", "alt", "solution"),
    "text": ("text", "body", "content", "passage", "sentence", "document"),
    "split": ("split",),
}  # fmt: skip


@dataclass(frozen=True)
class Preview:
    """The first rows of a file.

    Attributes:
        columns: names of the columns, in the order of the file.
        rows: the first three rows, a text for each column, long ones cut.
        known: what the columns are known as: ``"texts"``, or the name of a published dataset; "" if nobody
            has said yet which is what.
        numbers: columns that hold nothing but numbers in the rows that were looked at.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    known: str
    numbers: tuple[str, ...]

    @property
    def is_table(self) -> bool:
        """Whether the rows look like numbers with a label, and not like texts."""
        return len(self.numbers) >= max(1, len(self.columns) - 1)

    def guess(self) -> dict[str, str]:
        """Return which column could be which field of a text; those without a telling name are left out."""
        found: dict[str, str] = {}
        for field, names in _CALLED.items():
            free = [name for name in self.columns if name not in found.values()]
            hits = [name for called in names for name in free if called == name.strip().casefold()]
            hits += [name for called in names for name in free if called in name.casefold()]
            if hits:
                found[field] = hits[0]
        if {"prompt", "answer"} <= set(found):
            found.pop("text", None)
        return found

    def guess_label(self) -> str:
        """Return which column could be the label of a table; "" if none stands out."""
        called = [name for name in self.columns if name.strip().casefold() in LABELS]
        words = [name for name in self.columns if name not in self.numbers]
        return (called or words or [""])[0]


def preview(data: bytes, ending: str) -> Preview | None:
    """Look at the beginning of a file of texts or of a table.

    Args:
        data: its first bytes; `HEAD` are enough, and more are not looked at.
        ending: of its name, with the dot.

    Returns:
        What is there; None if it has no rows with named columns, which reading it says.
    """
    text = _decoded(data[:HEAD], cut=len(data) >= HEAD)
    read = {".csv": _csv, ".json": _list, ".jsonl": _lines, ".ndjson": _lines}.get(ending.casefold())
    if text is None or read is None:
        return None
    rows = [row for row in islice(read(text), _LOOKED_AT) if isinstance(row, Mapping) and row]
    columns = tuple(dict.fromkeys(str(name) for row in rows for name in row if name is not None))[
        :_MOST_COLUMNS
    ]
    if not columns:
        return None
    ours = "concept" in columns and set(columns) <= set(FIELDS)
    cells = [[row.get(name) for row in rows] for name in columns]
    return Preview(
        columns,
        tuple(tuple(_cell(row.get(name)) for name in columns) for row in rows[:_SHOWN]),
        "texts" if ours else _published(columns),
        tuple(
            n
            for n, cell in zip(columns, cells, strict=True)
            if all(number_or_none(v) is not None for v in cell)
        ),
    )


def _published(columns: Sequence[str]) -> str:
    """Return the published dataset with these columns, unless there are others that it does not have."""
    title = "" if "concept" in columns else title_of(columns)
    # A question and an answer have many files; what is TOFU's beside them is named after them.
    own = all(name.rpartition("_")[2] in ("question", "answer") for name in columns)
    return title if title != "TOFU" or own else ""


def _decoded(data: bytes, *, cut: bool) -> str | None:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")()
        text = decoder.decode(data, final=not cut)
    except UnicodeDecodeError:
        return None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # The last line of what was read may go on.
    return text[: text.rfind("\n") + 1] if cut and "\n" in text else text


def _csv(text: str) -> Iterator[Any]:
    first = text.lstrip().split("\n")[0]
    mark = max(",;\t", key=lambda each: first.count(each))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark)
    try:
        names = [name.strip() for name in reader.fieldnames or []]
        if len(set(names)) == len(names):
            reader.fieldnames = names
            yield from reader
    except csv.Error:
        return


def _lines(text: str) -> Iterator[Any]:
    for line in text.split("\n"):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            continue


def _list(text: str) -> Iterator[Any]:
    """Yield the entries of a list as far as they were read."""
    decoder, place = json.JSONDecoder(), text.find("[") + 1
    while place:
        try:
            entry, place = decoder.raw_decode(
                text, place + len(text[place:]) - len(text[place:].lstrip(" \n\t,"))
            )
        except (ValueError, RecursionError):
            return
        yield entry


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (Mapping, Sequence)) and not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return brief(" ".join(str(value).split()), _CELL)
