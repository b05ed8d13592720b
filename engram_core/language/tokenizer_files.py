"""Check a tokenizer's files before a library reads them: a few lines can ask for gigabytes, or for no end.

A text goes through the steps of tokenizer.json one after the other, and each may lengthen it: sixteen that
write one letter twice turn 200 letters into 13 million.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import StorageError
from ..libraries import first_line

__all__ = ["check_tokenizer_files"]

MOST_BYTES = 128 << 20
"""Of one file; the largest in use have 35 MB."""
_MOST_SMALL = 8 << 20
_LARGE = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt")
_LARGE_ENDINGS = (".model", ".tiktoken")
_SMALL = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
          "chat_template.json")  # fmt: skip
_SEQUENCES = ("normalizers", "pretokenizers", "decoders", "processors")
_GROWTH = 64
"""So many times as long a text may become by the steps of tokenizer.json together."""
_STEPS = 200
_FIXED = 1 << 20  # tokens that every text is padded to
_PARTS = 256  # tokens that are put around every text
_PATTERN = 20_000  # characters of a regular expression


def check_tokenizer_files(path: Path) -> None:
    """Check the tokenizer's files in a model folder.

    Args:
        path: of the model folder.

    Raises:
        StorageError: naming the file and what in it is too much.
    """
    for file in sorted(path.iterdir()):
        large = file.name in _LARGE or file.name.endswith(_LARGE_ENDINGS)
        if not large and file.name not in _SMALL:
            continue
        if not file.is_file():
            raise StorageError(f"{file} is no plain file. Take it out of the folder.")
        size, most = file.stat().st_size, MOST_BYTES if large else _MOST_SMALL
        if size > most:
            raise StorageError(f"{file} has {size / 2**20:,.0f} MB; at most {most >> 20} MB are read.")
    if (path / "tokenizer.json").is_file():
        _check(path / "tokenizer.json")


def _check(file: Path) -> None:
    try:
        found = json.loads(file.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{file} cannot be read as JSON ({first_line(error)}). Fetch it again.") from None
    if not isinstance(found, dict):
        raise StorageError(f"{file} should hold a JSON object; found {type(found).__name__}.")
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        growth = 1.0
        for number, step in enumerate(_steps(file, found.get(part))):
            if number >= _STEPS:
                raise StorageError(f"{file}: {part} has more than {_STEPS} steps. It is made to take long.")
            growth *= _factor(file, part, step)
        if growth > _GROWTH:
            raise StorageError(
                f"{file}: the steps of {part} make a text up to {growth:,.0f} times as long; at most "
                f"{_GROWTH} are allowed. It is made to fill the memory."
            )
    _check_padding(file, found.get("padding"))
    for step in _steps(file, found.get("post_processor")):
        put = [*_listed(step.get("single")), *_listed(step.get("pair"))]
        special = step.get("special_tokens")
        for entry in special.values() if isinstance(special, dict) else ():
            put += _listed(entry.get("ids") if isinstance(entry, dict) else None)
        if len(put) > _PARTS:
            raise StorageError(f"{file}: post_processor puts {len(put):,} tokens around every text.")
    if any(not isinstance(t, dict) or not t.get("content") for t in _listed(found.get("added_tokens"))):
        raise StorageError(f"{file}: one of added_tokens is empty. It would be found everywhere.")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _steps(file: Path, step: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the steps of a part, those of a sequence one by one."""
    if not isinstance(step, dict):
        return
    if depth > 8:
        raise StorageError(f"{file}: its steps are nested deeper than 8 levels. It is no tokenizer.")
    inner = [s for key in _SEQUENCES for s in _listed(step.get(key))]
    for each in inner:
        yield from _steps(file, each, depth + 1)
    if not inner:
        yield step


def _factor(file: Path, part: str, step: dict[str, Any]) -> float:
    """Return how much longer one step can make a text."""
    pattern = step.get("pattern")
    searched = next(iter(pattern.values()), "") if isinstance(pattern, dict) else pattern
    if isinstance(searched, str) and len(searched) > _PATTERN:
        raise StorageError(f"{file}: {part} searches for {len(searched):,} characters; at most {_PATTERN:,}.")
    written = step.get("content", step.get("prepend", ""))
    if not isinstance(written, str):
        return 1.0
    if step.get("type") != "Replace":
        return float(max(1, len(written)))
    plain = isinstance(pattern, dict) and isinstance(pattern.get("String"), str)
    if plain and not searched:
        raise StorageError(f"{file}: {part} replaces nothing by {written[:20]!r}, which has no end.")
    # What a regular expression finds may be one character, or none.
    least = len(searched) if plain and isinstance(searched, str) else 1
    return max(1.0, len(written) / least)


def _check_padding(file: Path, padding: Any) -> None:
    if not isinstance(padding, dict):
        return
    strategy = padding.get("strategy")
    fixed = strategy.get("Fixed") if isinstance(strategy, dict) else None
    for what, value in (("Fixed", fixed), ("pad_to_multiple_of", padding.get("pad_to_multiple_of"))):
        if value is not None and (not isinstance(value, int) or not 0 <= value <= _FIXED):
            raise StorageError(f"{file}: padding ({what}) is {str(value)[:40]}; at most {_FIXED:,} tokens.")
