"""What a safetensors file says of itself, read and checked without its values.

The file begins with eight bytes (the length of what follows, little endian) and that many bytes of JSON:
type, shape and place of every tensor. Every figure is checked here, with the tensor's name in the message,
before any library opens the file.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import StorageError
from ..libraries import first_line

__all__ = ["Stored", "read_header"]

MOST_HEADER = 100_000_000
"""Bytes; the format's own limit."""

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """One tensor of a file.

    Attributes:
        file: where it lies.
        dtype: as the format names it: ``"F32"``, ``"BF16"`` …
        shape: of it.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def read_header(file: Path) -> dict[str, Stored]:
    """Return the tensors of a safetensors file by name.

    Args:
        file: a safetensors file.

    Raises:
        StorageError: empty, cut short, no such file at all, or a header whose figures do not fit the file.
    """
    try:
        size = file.stat().st_size
        with open(file, "rb") as opened:
            start = opened.read(8)
            _check_start(file, start, size)
            length = int.from_bytes(start, "little")
            if length > min(MOST_HEADER, size - 8):
                raise _damaged(file, f"its header should have {length:,} bytes, the file has {size:,}")
            raw = opened.read(length)
    except OSError as error:
        raise StorageError(f"{file} cannot be read ({error.strerror or first_line(error)}).") from None
    tensors = _entries(file, _parsed(file, raw), size - 8 - length)
    if not tensors:
        raise StorageError(f"{file} holds no weights.")
    try:
        # The library that loads it has the last word.
        with safe_open(str(file), framework="pt") as whole:
            same = set(whole.keys()) == set(tensors)
    except (OSError, SafetensorError, ValueError) as error:
        raise _damaged(file, first_line(error)) from None
    if not same:
        raise _damaged(file, "its names are read in two ways")
    return tensors


def _damaged(file: Path, why: str) -> StorageError:
    return StorageError(f"{file} is cut short, damaged or no safetensors file ({why}). Fetch it again.")


def _check_start(file: Path, start: bytes, size: int) -> None:
    if not size:
        raise StorageError(
            f"{file} is empty (0 bytes): what should be in it was never written. Fetch it again."
        )
    if start.startswith(b"version "):
        raise StorageError(
            f"{file} is a Git LFS pointer and not the weights. Run 'git lfs pull' in {file.parent}."
        )
    if len(start) < 8:
        raise _damaged(file, f"{size} bytes")


def _parsed(file: Path, raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_each_once)
    # Endless digits are a ValueError too, and brackets in brackets end the stack.
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"its header is no JSON: {first_line(error)}") from None
    if not isinstance(found, dict):
        raise _damaged(file, f"its header is a {type(found).__name__}")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _entries(file: Path, header: dict[str, Any], data: int) -> dict[str, Stored]:
    """Check every entry, and that they fill the data without a gap or an overlap."""
    tensors: dict[str, Stored] = {}
    places: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or kind not in _BITS:
            raise _damaged(file, f"{name[:80]!r} is of no known type")
        shape, place = entry.get("shape"), entry.get("data_offsets")
        if not _counts(shape) or not _counts(place, 2):
            raise _damaged(file, f"shape or place of {name[:80]!r} are none")
        begin, end = place
        stored = Stored(file, kind, tuple(shape))
        if stored.count * _BITS[kind] != (end - begin) * 8:
            raise _damaged(
                file, f"{name[:80]!r} of shape {stored.shape} and type {kind} has {end - begin:,} bytes"
            )
        tensors[name] = stored
        places.append((begin, end, name))
    reached = 0
    for begin, end, name in sorted(places):
        if begin != reached:
            raise _damaged(file, f"{name[:80]!r} begins at byte {begin:,} and not {reached:,}")
        reached = end
    if reached != data:
        raise _damaged(file, f"its tensors take {reached:,} bytes, and it has {data:,}")
    return tensors


def _counts(value: Any, exactly: int | None = None) -> bool:
    """Return whether a value is a list of whole numbers from 0."""
    return (
        isinstance(value, list)
        and len(value) <= 32
        and (exactly is None or len(value) == exactly)
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**63 for n in value)
    )
