"""The whole choice as address and as session file: the same keys in both, checked in one place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from .choice import ALPHA, KEEP

__all__ = ["KINDS", "SessionFileError", "from_file", "known_texts", "to_file", "to_query", "values_of"]

VERSION = 1
_KIND = "engram-explorer session"
_MOST = 400_000  # bytes of a session file
# About as far as a number in a browser is exact, and as far when it is written with six digits; larger ones
# belong to no widget.
_LARGEST = 9 * 10**15
_LONGEST = 10_000  # characters of one text; the longest prompt has 4,000

KINDS: dict[str, type] = {
    # Everywhere.
    "model": str, "present": bool, "concept": str,
    # Concept.
    "everything": bool,
    # The edit.
    "mode": str, "concepts": list, "null": str, "strength": float, "keep_strength": float,
    "own": bool,
    "scaling": str, "power": str, "clip": bool, "layers": list,
    # Live, images.
    "class": str, "image": int, "drawn": str,
    # Live, text.
    "prompt": str, "form": str, "said": list, "chat_tokens": int,
    "tokens": int, "temperature": float, "seed": int, "chat": bool, "about": str,
    "section": str, "bylayer": bool, "inside": str, "control": bool,
    # Criteria.
    "criterion": str, "at": str, "state": str, "edited": str, "probed": str, "behind": int,
    "seeds": str, "kept_in": str, "measure_kept": bool, "every_layer": bool,
    "sort": str, "cells": str, "only": list, "hit": bool,
    # Strength.
    "search": str, "count": int, "draw": int, "together": bool, "strengths": list, "filters": list,
    "scalings": list, "among": list, "beside": int, "rule": str, "forget": float, "damage": float,
    "measure": str, "tried": bool, "setting": str,
    # Map.
    "points": str, "method": str, "dimensions": str, "colour": str, "maplayer": str, "noarrows": bool,
    "after": bool, "fit": str, "engramcolour": str,
    # Layers.
    "look": str, "lookat": str, "which": str, "by": str, "shade": str,
    # Learn.
    "lesson": int, "predicted": str, "stage": str,
}  # fmt: skip
"""Every key an address may hold, with the kind of its value; ``alpha.<concept>`` is a float."""


class SessionFileError(ValueError):
    """A session file that cannot be used; the text says why."""


def _kind(key: str) -> type | None:
    return float if key.startswith(ALPHA) else KINDS.get(key)


def values_of(address: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for widgets from the texts of an address; what is not of its kind is left out.

    Args:
        address: texts of each key (a list, or one text).
    """
    found: dict[str, Any] = {}
    for key, raw in address.items():
        texts = [_sound(str(text)) for text in (raw if isinstance(raw, list | tuple) else [raw])]
        kind = _kind(_sound(key))
        if kind is None or not texts:
            continue
        key = _sound(key)
        if kind is list:
            found[key] = texts
            continue
        text = texts[-1]
        if kind is bool:
            if text in ("true", "false"):
                found[key] = text == "true"
        elif kind is str:
            found[key] = text
        else:
            try:
                number = kind(text)
            except ValueError:
                continue
            # Compared, not asked for finiteness: an integer may be too large to become a float.
            if -_LARGEST <= number <= _LARGEST:
                found[key] = number
    if found.get("mode") == KEEP and "strength" in found:
        # Addresses and session files of before had one strength for both modes.
        found.setdefault("keep_strength", found["strength"])
    return found


def _sound(text: str) -> str:
    """Return a text that any browser can hold: JSON may name halves of characters, UTF-8 may not."""
    return text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")


def _texts(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, list | tuple):
        return [str(part) for part in value]
    if isinstance(value, float):
        return [f"{value:g}"]
    return [str(value)]


def to_query(values: Mapping[str, Any]) -> str:
    """Return values as the query of an address, without the question mark."""
    pairs = [
        (key, text)
        for key, value in values.items()
        if _kind(key) is not None and value not in (None, "", [])
        for text in _texts(value)
    ]
    return urlencode(pairs)


def to_file(page: str, address: Mapping[str, Iterable[str]], **more: Any) -> str:
    """Return a session file (JSON): the page and the texts of every key of its address.

    Args:
        page: the page that is shown.
        address: what is shown there.
        more: what else it holds, by key.
    """
    known = {key: list(texts) for key, texts in address.items() if _kind(key) is not None}
    content = {"kind": _KIND, "version": VERSION, "page": page, "address": known} | more
    return json.dumps(content, indent=2, ensure_ascii=False)


def from_file(data: bytes, pages: Iterable[str]) -> tuple[str, dict[str, list[str]]]:
    """Return the page and the address in a session file.

    Raises:
        SessionFileError: if it is no session file of this version.
    """
    if len(data) > _MOST:
        raise SessionFileError(
            f"This file has {len(data):,} bytes; a session file has at most {_MOST:,}. Nothing was changed."
        )
    try:
        content = json.loads(data.decode("utf-8"))
    # Not only what JSON forbids: endless digits are a ValueError, and brackets in brackets end the stack.
    except (ValueError, RecursionError) as error:
        raise SessionFileError(f"This file is not JSON text ({error}). Nothing was changed.") from None
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise SessionFileError(
            "This JSON file is not a session of Engram Explorer (its “kind” is missing). Nothing was changed."
        )
    if content.get("version") != VERSION or isinstance(content["version"], bool):
        raise SessionFileError(
            f"This session file has version {_short(content.get('version'))}; this explorer reads {VERSION}. "
            "Nothing was changed."
        )
    page, address = content.get("page"), content.get("address")
    if not isinstance(page, str) or page not in set(pages):
        raise SessionFileError(
            f"This session file names the page {_short(page)}, which does not exist. Nothing was changed."
        )
    texts = known_texts(address)
    if texts is None:
        raise SessionFileError(
            "The “address” of this session file is not keys with lists of texts. Nothing was changed."
        )
    return page, texts


def known_texts(address: Any) -> dict[str, list[str]] | None:
    """Return what a file says is an address, without keys that nobody knows; None if it is none."""
    if not isinstance(address, dict) or not all(
        isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in address.values()
    ):
        return None
    return {
        _sound(key): [_sound(text) for text in texts]
        for key, texts in address.items()
        if isinstance(key, str) and _kind(key) is not None
    }


def _short(value: Any) -> str:
    text = _sound(repr(value))
    return text if len(text) <= 40 else text[:39] + "…"
