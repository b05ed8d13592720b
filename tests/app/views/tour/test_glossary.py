"""Every term that a page uses is in the glossary, once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from app.views.tour.glossary import GLOSSARY

APP = Path(__file__).parents[4] / "app"
ROOMS = ("views", "page", "figures/words")

# The field's terms, as a reader meets them in headings, labels, help texts and captions.
TERMS = (
    "accuracy", "adapter", "adaptive", "base model", "cap at 1×", "concept", "control", "cosine",
    "covered layers", "cut", "damage", "direction", "edited model", "effect vs controls", "eigenvalues",
    "engram", "erase", "erase jointly", "exclusivity", "filter", "forgetting against damage", "forgotten",
    "from zero weights", "held-out", "hidden state", "isolate", "layer", "leakage bound", "lora",
    "nats", "necessity", "next-token probabilities", "p", "pca", "plain", "presenter mode", "pseudo-inverse",
    "random subset", "reactivation", "reader", "recall", "scaling", "scene", "second moment", "seed",
    "selective effect", "selectivity", "session file", "sha-256", "specificity", "spectrum", "strength",
    "subtract the others", "sufficiency", "temperature", "the four criteria", "token", "total", "trace",
    "umap", "validate on held-out concepts", "weights", "z",
)  # fmt: skip


def shown() -> str:
    """Return all strings of the pages, in small letters, but the glossary's own."""
    found = []
    for room in ROOMS:
        for path in (APP / room).rglob("*.py"):
            if path.name != "glossary.py":
                tree = ast.parse(path.read_text(encoding="utf-8"))
                found += [
                    n.value
                    for n in ast.walk(tree)
                    if isinstance(n, ast.Constant) and isinstance(n.value, str)
                ]
    return "\n".join(found).lower()


def explained(term: str) -> bool:
    """Return whether the glossary has an entry for a term, or says it in the entry that it belongs to."""
    pattern = re.compile(rf"(?<!\w){re.escape(term)}(?!\w)", re.IGNORECASE)
    # Scaling says what plain and adaptive are.
    return any(pattern.search(word) for word, _ in GLOSSARY) or any(
        pattern.search(meaning) for word, meaning in GLOSSARY if word == "Scaling"
    )


@pytest.fixture(scope="module")
def text() -> str:
    """Give what the pages say."""
    return shown()


@pytest.mark.parametrize("term", TERMS)
def test_a_term_of_the_pages_is_explained(text, term):
    assert re.search(rf"(?<!\w){re.escape(term)}", text), f"no page says {term!r} any more"
    assert explained(term), f"{term!r} is on a page and not in the glossary"


def test_words_are_explained_once_and_in_a_sentence():
    words = [part.strip().lower() for word, _ in GLOSSARY for part in word.split(",")]
    assert len(set(words)) == len(words)
    assert all(len(meaning) > 20 and meaning.rstrip().endswith((".", "?")) for _, meaning in GLOSSARY)
    assert {"primal form", "dual form", "gate"} <= set(words)
