"""Texts from rows of fields, from wherever these come: what is wrong with any of them is told all at once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..concepts.concepts import BACKGROUND
from ..errors import DataError

__all__ = [
    "FIELDS",
    "MOST_NAME",
    "MOST_TEXT",
    "SPLITS",
    "TextItem",
    "TextRows",
    "brief",
    "lone_surrogate",
    "read_rows",
]

SPLITS = ("record", "probe")
FIELDS = ("concept", "prompt", "answer", "text", "split")
MOST_TEXT = 250_000
"""Characters of one prompt, answer or text; longer than any context window is worth recording."""
MOST_NAME = 200
"""Characters of a concept's name."""
_SHOWN = 20  # problems named in one error; the rest is counted
_ALIKE = 3  # rows with one and the same problem that are named each by itself


@dataclass(frozen=True)
class TextItem:
    """One text of a concept.

    Attributes:
        prompt: what comes before the answer; empty for a plain text.
        answer: what the model should say; for a plain text, the whole of it.
    """

    prompt: str
    answer: str

    @property
    def is_fact(self) -> bool:
        """Whether there is a prompt to ask, so that recall can be scored."""
        return bool(self.prompt)

    @property
    def text(self) -> str:
        """Prompt and answer joined by one space, unless one of them brings white space along."""
        if not self.prompt:
            return self.answer
        touching = self.prompt[-1].isspace() or self.answer[:1].isspace() or self.answer[:1] in ".,;:!?)"
        return self.prompt + ("" if touching else " ") + self.answer

    @property
    def answer_start(self) -> int:
        """Offset of the answer's first character in `text`."""
        return len(self.text) - len(self.answer)


@dataclass(frozen=True)
class TextRows:
    """What rows of fields hold together.

    Attributes:
        items: by concept and split, both in the order of the rows.
        background: texts that belong to the total only.
    """

    items: Mapping[str, Mapping[str, tuple[TextItem, ...]]]
    background: tuple[str, ...]


def read_rows(
    rows: Iterable[tuple[int, Any]], unit: str, background: Iterable[str], source: str = ""
) -> TextRows:
    """Read rows of fields as texts of concepts.

    Args:
        rows: each with its number; a `DataError` in the place of a row says what is wrong with that.
        unit: what a row is called, in a word.
        background: more texts that belong to the total only.
        source: where the rows come from, for messages.

    Returns:
        The rows.

    Raises:
        DataError: naming every bad row by its number, all at once; or if there is no concept.
    """
    if isinstance(background, str):
        raise DataError("background is a list of texts; found one text. Put it in a list.")
    problems: list[str] = []
    found: dict[str, dict[str, list[TextItem]]] = {}
    loose: list[str] = list(background)
    if any(not text.strip() for text in loose):
        problems.append("background: an empty text")
    problems += [
        f"background text {i}: half a character at position {at + 1} (a lone surrogate)"
        for i, text in enumerate(loose, start=1)
        if (at := lone_surrogate(text)) is not None
    ]
    bad: dict[str, list[int]] = {}
    for number, row in rows:
        try:
            name, split, item = _item(row)
        except DataError as error:
            bad.setdefault(str(error), []).append(number)
            continue
        if name == BACKGROUND and split != "record":
            bad.setdefault("the background is recorded, never asked; split must be record", []).append(number)
        elif name == BACKGROUND:
            loose.append(item.text)
        else:
            found.setdefault(name, {s: [] for s in SPLITS})[split].append(item)
    alike = sum(map(len, bad.values()))
    problems += (lines := _by_number(bad, unit))
    alike -= len(lines)  # problems that have no line of their own
    same: dict[str, str] = {}
    for name, parts in found.items():
        other = same.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            problems.append(
                f"concept {name!r}: two names that look the same, with letters put together in two ways "
                "(Unicode); write both in one"
            )
        if not parts["record"]:
            problems.append(f"concept {name!r}: only probe items; at least one must be recorded")
    if problems:
        more = f"\n… and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        where = f" in {source}" if source else ""
        count = len(problems) + alike
        raise DataError(
            f"{count} problem{'s' if count > 1 else ''}{where}; nothing was taken:\n"
            + "\n".join(problems[:_SHOWN])
            + more
        )
    if not found:
        raise DataError(f"There is no text concept{' in ' + source if source else ''}.")
    items = {name: {split: tuple(texts) for split, texts in parts.items()} for name, parts in found.items()}
    return TextRows(items, tuple(loose))


def _by_number(bad: Mapping[str, Sequence[int]], unit: str) -> list[str]:
    """Return what is wrong with rows, by their numbers; what is wrong with many of them stands there once."""
    lines: list[tuple[int, str]] = []
    for what, numbers in bad.items():
        if len(numbers) <= _ALIKE:
            lines += [(number, f"{unit} {number}: {what}") for number in numbers]
            continue
        first = ", ".join(map(str, numbers[:_ALIKE]))
        plural = "entries" if unit == "entry" else f"{unit}s"
        lines.append((numbers[0], f"{plural} {first} and {len(numbers) - _ALIKE:,} more: {what}"))
    return [line for _, line in sorted(lines)]


def lone_surrogate(text: str) -> int | None:
    """Return where a text holds half of a surrogate pair, which no tokenizer can read, or None.

    Args:
        text: any text.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None


def brief(text: str, most: int = 60) -> str:
    """Return a text, or the beginning of a long one.

    Args:
        text: any text.
        most: characters.
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def _item(row: Any) -> tuple[str, str, TextItem]:
    if isinstance(row, DataError):
        raise row
    if not isinstance(row, Mapping):
        hint = ". Put one object on each line, without brackets around them" if isinstance(row, list) else ""
        raise DataError(f"expected an object with a concept; found {type(row).__name__}{hint}")
    unknown = [str(key) for key in row if key not in FIELDS]
    if unknown:
        raise DataError(f"unknown field {brief(unknown[0])!r}; known: {', '.join(FIELDS)}")
    values = {}
    for key, value in row.items():
        if value is None and key in ("prompt", "answer", "text"):
            continue  # how tables write that a row has nothing there
        if not isinstance(value, str):
            raise DataError(f"{key} must be text; found {type(value).__name__}")
        broken = lone_surrogate(value)
        if broken is not None:
            raise DataError(f"{key} holds half a character at position {broken + 1} (a lone surrogate)")
        if len(value) > MOST_TEXT:
            raise DataError(f"{key} has {len(value):,} characters; at most {MOST_TEXT:,} are read. Split it")
        values[key] = value
    name = values.get("concept", "").strip()
    if not name:
        raise DataError("no concept")
    if len(name) > MOST_NAME:
        raise DataError(f"the concept's name has {len(name):,} characters; at most {MOST_NAME} are read")
    split = values.get("split", "record").strip()
    if split not in SPLITS:
        raise DataError(f"split must be record or probe; found {brief(split)!r}")
    if "text" in values:
        if "prompt" in values or "answer" in values:
            raise DataError("give either text, or prompt and answer; found both")
        if not values["text"].strip():
            raise DataError("empty text")
        return name, split, TextItem("", values["text"])
    for key in ("prompt", "answer"):
        if not values.get(key, "").strip():
            raise DataError(f"empty or missing {key}")
    return name, split, TextItem(values["prompt"], values["answer"])
