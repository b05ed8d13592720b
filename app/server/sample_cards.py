"""What a model looks like in a list of models: a few words, a picture, and the example it opens with."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from engram_core.errors import EngramError
from engram_core.opening.samples import sample_folder

from .model_facts import start_of

__all__ = ["Card", "card_of"]

_NO_PICTURE = ""


@dataclass(frozen=True)
class Card:
    """A model in a list.

    Attributes:
        name: the name it is chosen by.
        title: one or two words.
        kind: what it reads, in one or two words; "" if that is not known before it is loaded.
        line: one sentence.
        tried: what to try, in one sentence; "" if nobody has said.
        icon: a small square picture as the address of its own data; "" without.
        picture: a wide one.
        show: the example, by the keys of the address; {} without.
    """

    name: str
    title: str
    kind: str = ""
    line: str = ""
    tried: str = ""
    icon: str = ""
    picture: str = ""
    show: Mapping[str, Any] = field(default_factory=dict)


@lru_cache(maxsize=64)
def card_of(name: str) -> Card:
    """Return the card of a model; of one that is no sample its name alone. Nothing is loaded."""
    known = start_of(name)
    said = known.get("card")
    if not isinstance(said, dict):
        return Card(name, name)
    return Card(
        name, str(said["name"]), str(said["kind"]), str(said["line"]), str(said["try"]),
        _picture(name, "icon.png"), _picture(name, "picture.png"), known.get("show", {}),
    )  # fmt: skip


def _picture(name: str, file: str) -> str:
    """Return a picture that was made from the model (`python -m docs.sample_pictures`)."""
    try:
        data = (sample_folder(name) / file).read_bytes()
    except (OSError, EngramError):
        return _NO_PICTURE
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
