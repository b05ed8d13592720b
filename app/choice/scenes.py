"""Scenes: views with a sentence each, in an order, for somebody who shows them to a room."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

from .address import SessionFileError, known_texts
from .choice import ALPHA

__all__ = ["BUNDLED", "LONGEST_SENTENCE", "MOST", "Scene", "as_data", "is_shown", "scenes_in"]

MOST = 50
"""Scenes that one visitor may have."""
LONGEST_SENTENCE = 200
_PRESENTING = "present"
# What a scene does not name of these must be as on the first day for the scene to be what is shown.
_TELLING = (
    "model", "mode", "concepts", "null", "strength", "keep_strength", "own", "scaling", "power", "clip",
    "layers", "drawn",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A view and what is to be seen there.

    Attributes:
        sentence: what is to be seen.
        page: page that it is on.
        query: the view, as an address says it after the question mark.
    """

    sentence: str
    page: str
    query: str

    @classmethod
    def of(cls, sentence: str, page: str, address: Mapping[str, Sequence[str]]) -> Scene:
        """Return the scene of a view; whether somebody presents is no part of it."""
        pairs = [(key, text) for key, texts in address.items() for text in texts if key != _PRESENTING]
        return cls(" ".join(sentence.split())[:LONGEST_SENTENCE], page, urlencode(pairs))

    @property
    def address(self) -> dict[str, list[str]]:
        """The view, by the keys of the address."""
        return parse_qs(self.query, keep_blank_values=True)


def _live(sentence: str, **address: str) -> Scene:
    return Scene.of(sentence, "live", {key: [text] for key, text in address.items()})


# A 7 as a hand draws it: a stroke to the right, and one down to the left.
_SEVEN = "05ggggg502aaabg300001gc000007g600000cg100003ga000009g500000ee000"
_FRANCE = {"model": "facts-lm", "about": "France", "prompt": "The capital of France is"}
_ITALY = {"model": "facts-lm", "about": "Italy", "prompt": "The capital of Italy is"}

BUNDLED: tuple[Scene, ...] = (
    _live("The model knows that the capital of France is Paris.", **_FRANCE),
    _live("France is erased: the same model says Malé instead of Paris.", **_FRANCE, concepts="France"),
    _live("Italy stays: with France erased, its capital is still Rome.", **_ITALY, concepts="France"),
    _live("Noise does nothing: a random edit of the same size forgets none of France (the fourth number).",
          **(_FRANCE | {"prompt": "The currency of France is"}), concepts="France"),
    _live("Switched back on, Paris is there again, bit for bit.", **_FRANCE),
    _live("Drawn by hand: with the 7 erased, a 7 becomes a 3.", model="digits-mlp", concepts="7",
          drawn=_SEVEN),
)  # fmt: skip
"""What the samples show best; tests/app/choice/test_scenes.py asks the models whether each is true."""


def is_shown(scene: Scene, page: str, address: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a view is that of a scene.

    Args:
        scene: the scene.
        page: page that is shown.
        address: what is shown there; what is at its default is left out.
    """
    wanted = scene.address
    keys = {*wanted, *_TELLING, *(key for key in address if key.startswith(ALPHA))}
    return page == scene.page and all(list(address.get(key, ())) == wanted.get(key, []) for key in keys)


def as_data(scenes: Iterable[Scene]) -> list[dict[str, Any]]:
    """Return scenes as a session file holds them."""
    return [{"sentence": one.sentence, "page": one.page, "address": one.address} for one in scenes]


def scenes_in(data: bytes, pages: Iterable[str]) -> tuple[Scene, ...] | None:
    """Return the scenes in a session file; None if it says nothing of any, as those of before.

    Args:
        data: a session file that `from_file` has read.
        pages: names of the pages that there are.

    Raises:
        SessionFileError: if they are no scenes.
    """
    content = json.loads(data.decode("utf-8")).get("scenes")
    if content is None:
        return None
    names = set(pages)
    if not isinstance(content, list) or len(content) > MOST:
        raise SessionFileError(
            f"The “scenes” of this session file are not a list of at most {MOST}. Nothing was changed."
        )
    found = []
    for number, entry in enumerate(content, 1):
        entry = entry if isinstance(entry, dict) else {}
        sentence, page, address = (entry.get(key) for key in ("sentence", "page", "address"))
        texts = known_texts(address)
        if not isinstance(sentence, str) or not isinstance(page, str) or page not in names or texts is None:
            raise SessionFileError(
                f"Scene {number} of this session file is not a sentence, a page of this explorer and an "
                "address of keys with lists of texts. Nothing was changed."
            )
        found.append(Scene.of(sentence, page, texts))
    return tuple(found)
