"""Text concepts from a file: JSON Lines, a list in JSON, or a table as spreadsheets write it."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from .published import OTHER_NAMES, is_published, standard_rows
from .text_rows import FIELDS, brief
from .texts import TextSet

__all__ = ["MOST_FILE", "file_rows", "read_texts"]

MOST_FILE = 256 << 20
"""Bytes of a file of texts."""
_MOST_LINE = 1_000_000  # characters of a line of JSON; a tokenizer takes 350 bytes for each


def read_texts(
    path: str | Path, *, background: Iterable[str] = (), columns: Mapping[str, str] | None = None
) -> TextSet:
    """Read text concepts from a JSONL, JSON or CSV file (UTF-8, by its ending).

    The rows hold `FIELDS`; or those of a published dataset (`published`); or what `columns` says.

    Args:
        path: the file.
        background: texts that belong to the total only.
        columns: the names that the file uses, by ours, such as ``{"concept": "subject", "text": "body"}``.

    Returns:
        The concepts.

    Raises:
        DataError: if the file cannot be read, or naming every bad line, all at once.
    """
    path = Path(path)

    def check(header: list[str]) -> None:
        ours = "concept" in header and set(header) <= set(FIELDS)
        if not (ours or columns or is_published(header)):
            raise DataError(
                f"{path}: the first line must name columns among {', '.join(FIELDS)}, each once, with "
                f"concept; found {brief(', '.join(header), 200) or 'nothing'}. {OTHER_NAMES}"
            )

    rows, unit = file_rows(path, check)
    try:
        every = standard_rows(rows, columns)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return TextSet.from_rows(every, unit, background, str(path))


def file_rows(path: Path, check: Callable[[list[str]], None]) -> tuple[Iterator[tuple[int, Any]], str]:
    """Return the rows of a JSONL, JSON or CSV file (UTF-8, by its ending), whatever their fields are called.

    Args:
        path: the file.
        check: is given the header of a CSV file, and raises a `DataError` if it is none that can be used.

    Returns:
        The rows with their numbers, where an error stands in place of a row that cannot be read; and what a
        row is called.

    Raises:
        DataError: if the file cannot be read at all.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise DataError(f"Cannot read {path}: it is no file; give one of texts (.jsonl or .csv).")
        if size > MOST_FILE:
            raise DataError(
                f"{path} has {size / 2**20:,.0f} MB; at most {MOST_FILE >> 20} MB of texts are read."
            )
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    text = _decoded(data, path)
    ending = path.suffix.casefold()
    if ending not in (".jsonl", ".ndjson", ".json", ".csv"):
        raise DataError(f"{path}: expected a file ending in .jsonl or .csv; found {ending or 'no ending'!r}.")
    if ending == ".csv":
        return _csv_rows(text, path, check), "line"
    return (_json_list(text, path), "entry") if ending == ".json" else (_json_rows(text), "line")


def _decoded(data: bytes, path: Path) -> str:
    # Spreadsheets save "Unicode text" in two bytes for each character, and say so at its beginning.
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not {'UTF-16' if wide else 'UTF-8'} text (byte {error.start}). Save it as UTF-8 and "
            "try again."
        ) from error


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
        yield number, _parsed(line)


def _json_list(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    every = _parsed(text)
    if isinstance(every, DataError):
        raise DataError(f"{path}: {every}.")
    if not isinstance(every, list):
        raise DataError(
            f"{path}: expected a file ending in .jsonl or .csv, or a .json that must hold a list of rows; "
            f"found {type(every).__name__}. A file with one row to a line ends in .jsonl."
        )
    return iter(list(enumerate(every, start=1)))


def _parsed(text: str) -> Any:
    """Return what JSON says, or the error that says what is wrong with it."""
    try:
        return json.loads(text, object_pairs_hook=_no_field_twice)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column" if "\n" in text else "column"
        return DataError(f"not valid JSON ({error.msg} at {place} {error.colno})")
    except RecursionError:
        return DataError("not valid JSON (nested too deeply)")
    except DataError as error:
        return error
    except ValueError:
        return DataError("a number of thousands of digits; texts stand in quotes")


def _no_field_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(other == name for other, _ in pairs) > 1)
        raise DataError(f"the field {brief(twice)!r} stands there twice")
    return found


def _csv_rows(text: str, path: Path, check: Callable[[list[str]], None]) -> Iterator[tuple[int, Any]]:
    first = text[:_MOST_LINE].lstrip().split("\n")[0]
    # A spreadsheet writes what its country has between the columns.
    mark = max(",;\t", key=lambda each: first.count(each))
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=mark)
    try:
        header = [name.strip() for name in reader.fieldnames or []]
        check(header)
        if len(set(header)) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise DataError(f"{path}: the first line names the column {brief(twice)!r} twice; each once.")
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
        filled = {key: value for key, value in row.items() if value or key == "concept"}
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
