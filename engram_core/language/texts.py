"""Text concepts: a name and its texts, from JSONL, CSV or Python lists. Nothing is dropped in silence."""

from __future__ import annotations

import codecs
import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..concepts.concepts import BACKGROUND
from ..errors import DataError, suggest

__all__ = ["TextConcept", "TextItem", "TextSet", "read_texts"]

SPLITS = ("record", "probe")
_COLUMNS = ("concept", "prompt", "answer", "text", "split")
MOST_FILE = 256 << 20
"""Bytes of a file of texts."""
MOST_TEXT = 250_000
"""Characters of one prompt, answer or text; longer than any context window is worth recording."""
MOST_NAME = 200
"""Characters of a concept's name."""
_MOST_LINE = 1_000_000  # characters of a line of JSON; a tokenizer takes 350 bytes for each
_SHOWN = 20  # problems named in one error; the rest is counted


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
        """Return a set of some of the concepts, with the same background."""
        return replace(self, concepts=tuple(self[name] for name in names))

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], *, background: Iterable[str] = ()) -> TextSet:
        """Build a set from rows with ``concept`` and either ``prompt`` and ``answer`` or ``text``.

        A row may have ``split`` (``"record"``, the default, or ``"probe"``). Rows whose concept is
        ``"(background)"`` join the background.

        Raises:
            DataError: naming every bad row by its number, all at once.
        """
        return _build(enumerate(rows, start=1), "row", background)


def read_texts(path: str | Path, *, background: Iterable[str] = ()) -> TextSet:
    """Read text concepts from a JSONL or CSV file (UTF-8, by its ending).

    Raises:
        DataError: if the file cannot be read, or naming every bad line, all at once.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise DataError(f"Cannot read {path}: it is no file; give one of texts (.jsonl or .csv).")
        if size > MOST_FILE:
            raise DataError(
                f"{path} has {size / 2**20:,.0f} MB; at most {MOST_FILE >> 20} MB of texts are read."
            )
        data = path.read_bytes()
        # Spreadsheets save "Unicode text" in two bytes for each character, and say so at its beginning.
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        del data
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not {'UTF-16' if wide else 'UTF-8'} text (byte {error.start}). Save it as UTF-8 and "
            "try again."
        ) from error
    ending = path.suffix.casefold()
    if ending in (".jsonl", ".ndjson"):
        return _build(_json_rows(text), "line", background, str(path))
    if ending == ".csv":
        return _build(_csv_rows(text, path), "line", background, str(path))
    raise DataError(f"{path}: expected a file ending in .jsonl or .csv; found {ending or 'no ending'!r}.")


def _json_rows(text: str) -> Iterator[tuple[int, Any]]:
    # Not splitlines(): JSON may hold other line separators (U+2028) unescaped.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if len(line) > _MOST_LINE:
            yield (
                number,
                DataError(
                    f"a line of {len(line):,} characters; at most {_MOST_LINE:,} are read. Split the text"
                ),
            )
            continue
        try:
            yield number, json.loads(line, object_pairs_hook=_no_field_twice)
        except json.JSONDecodeError as error:
            yield number, DataError(f"not valid JSON ({error.msg} at column {error.colno})")
        except RecursionError:
            yield number, DataError("not valid JSON (nested too deeply)")
        except DataError as error:
            yield number, error
        except ValueError:
            yield number, DataError("a number of thousands of digits; texts stand in quotes")


def _no_field_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(other == name for other, _ in pairs) > 1)
        raise DataError(f"the field {_brief(twice)!r} stands there twice")
    return found


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    first = text[:_MOST_LINE].lstrip().split("\n")[0]
    # A spreadsheet writes what its country has between the columns.
    mark = max(",;\t", key=lambda each: first.count(each))
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=mark)
    try:
        header = [name.strip() for name in reader.fieldnames or []]
        unknown = [name for name in header if name not in _COLUMNS]
        if "concept" not in header or unknown or len(set(header)) < len(header):
            raise DataError(
                f"{path}: the first line must name columns among {', '.join(_COLUMNS)}, each once, with "
                f"concept; found {_brief(', '.join(header), 200) or 'nothing'}."
            )
        reader.fieldnames = header
    except csv.Error as error:
        yield reader.line_num, _csv_problem(error, 1)
        return
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # The reader goes on with the next line, and so do we: all problems are told at once.
            yield start, _csv_problem(error, start)
            continue
        extra = row.pop(None, None)  # type: ignore[call-overload]
        if extra is not None:
            between = {",": "commas", ";": "semicolons", "\t": "tabs"}[mark]
            found = f"{len(extra)} value{'s' if len(extra) > 1 else ''}"
            yield reader.line_num, DataError(f"{found} more than columns (quote the {between})")
            continue
        filled = {key: value for key, value in row.items() if value}
        if "text" in header and not {"text", "prompt", "answer"} & set(filled):
            filled["text"] = ""  # a cell that was left empty, not a column that is missing
        yield reader.line_num, filled


def _csv_problem(error: csv.Error, start: int) -> DataError:
    """Say what the csv module found, in words for the person who wrote the file."""
    if "unexpected end" in str(error):
        return DataError(f"the quote opened on line {start} is never closed")
    if "field limit" in str(error):
        return DataError(
            f"a value of more than {csv.field_size_limit():,} characters starts on line {start}; "
            "is a quote left open there? If not, split the text"
        )
    return DataError(f"not valid CSV ({error})")


def _build(
    rows: Iterable[tuple[int, Any]], unit: str, background: Iterable[str], source: str = ""
) -> TextSet:
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
    for number, row in rows:
        try:
            name, split, item = _item(row)
        except DataError as error:
            problems.append(f"{unit} {number}: {error}")
            continue
        if name == BACKGROUND and split != "record":
            problems.append(f"{unit} {number}: the background is recorded, never asked; split must be record")
        elif name == BACKGROUND:
            loose.append(item.text)
        else:
            found.setdefault(name, {s: [] for s in SPLITS})[split].append(item)
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
        raise DataError(
            f"{len(problems)} problem{'s' if len(problems) > 1 else ''}{where}; nothing was taken:\n"
            + "\n".join(problems[:_SHOWN])
            + more
        )
    if not found:
        raise DataError(f"There is no text concept{' in ' + source if source else ''}.")
    concepts = (
        TextConcept(name, tuple(parts["record"]), tuple(parts["probe"])) for name, parts in found.items()
    )
    return TextSet(tuple(concepts), tuple(loose))


def lone_surrogate(text: str) -> int | None:
    """Return where `text` holds half of a surrogate pair, which no tokenizer can read, or None."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None


def _brief(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _item(row: Any) -> tuple[str, str, TextItem]:
    if isinstance(row, DataError):
        raise row
    if not isinstance(row, Mapping):
        hint = ". Put one object on each line, without brackets around them" if isinstance(row, list) else ""
        raise DataError(f"expected an object with a concept; found {type(row).__name__}{hint}")
    unknown = [str(key) for key in row if key not in _COLUMNS]
    if unknown:
        raise DataError(f"unknown field {_brief(unknown[0])!r}; known: {', '.join(_COLUMNS)}")
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
        raise DataError(f"split must be record or probe; found {_brief(split)!r}")
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
