"""Words that the interface had once and has no more: the field's own terms stand in their place.

What is read are the strings of the source that a person may see: of the app, of the command line and of the
samples' cards. Docstrings, Python that is handed out, and the values in addresses, which old links name, are
no such strings.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "engram_core" / "commands").rglob("*.py")])
PROSE = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("sample_models/*/card.md")])

# What was said → what is said.
RETIRED = {
    r"[Tt]ake (it |them |the model )?away|[Tt]aken away|[Tt]akes? a concept away": "export; erase",
    r"[Ss]witch(ed|es)? (it|them|both|\w+ \w+) off|[Ss]witched off|[Ss]witch off": "erase",
    r"[Kk]eep only|[Oo]nly \S+ kept|kept alone|keeps? \w+ alone": "isolate",
    r"[Ff]rom nothing": "from zero weights",
    r"\*\*In place|“in place”": "subtract the others",
    r"[Ss]harpness|[Ss]harpened": "selectivity (exponent)",
    r"\b[Cc]lip\b|\b[Cc]lipped\b": "cap at 1×",
    r"\b[Ss]hams?\b": "control",
    r"[Ll]eak certificate": "leakage bound",
    r"[Aa]sked everything": "recall per concept",
    r"Every class on held-out": "accuracy per class",
    r"How it writes": "generation settings",
    r"Look closer": "measurements",
    r"Four questions": "the four criteria",
    r"score of every probe": "accuracy of each class after erasing one",
    r"[Bb]ehind one cell|[Ii]nputs behind": "inputs of this cell",
    r"[Aa]gainst its controls": "effect vs controls",
    r"\b[Tt]r(y|ied) (it )?on others": "validate on held-out concepts",
    r"Map made of": "fit on",
    r"Hide arrows": "show arrows",
    r"Learn by predicting": "guided tour",
    r"What it can be": "supported formats",
    r"[Pp]robed concept": "tested concept",
    r"least that they allow|at best\b": "minimum with 5 seeds",
    r"##### Memories|“Memories”|“Edit”": "current edit",
    r"[Ww]hoever|whosever": "a plain sentence",
}

# Values that stand in addresses and session files, keys of tables, names in Python that is handed out.
VALUES = {
    "Switch off", "Keep only", "from nothing", "in place", "clip", "Clip", " clipped", "sharpness",
    "chosen under Edit", "shams", *(f"{power} clipped" for power in ("1", "1.5", "2", "3", "4")),
}  # fmt: skip
CODE = re.compile(
    r"\bimport \w|\w\.\w+\(|\bec\.|\w+ = |^\w+=|=\w+$|[(\[{,] *\w+=|^[a-z_.]+$|^--|\bfor \w+ in |; *}"
    r"|sharpness=\["
)


def shown_strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the strings of a source that may be seen, with their lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    hidden = {
        id(part)
        for node in ast.walk(tree)
        for part in (
            [inner.value for inner in node.body if isinstance(inner, ast.Expr)]
            if isinstance(node, documented)
            else [node.format_spec]
            if isinstance(node, ast.FormattedValue)
            else []
        )
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
            if node.value not in VALUES and not CODE.search(node.value):
                yield node.lineno, node.value


def retired_in(text: str) -> list[str]:
    """Return what a text says that is said no more, with the word that is."""
    return [
        f"{found[0]!r}: say {better}" for old, better in RETIRED.items() if (found := re.search(old, text))
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_string_of_the_interface_says_a_retired_word(path: Path) -> None:
    faults = [f"line {line}: {fault}" for line, text in shown_strings(path) for fault in retired_in(text)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "text",
    ["Take away", "Switch a memory off", "Keep only", "kept, from nothing", "Sharpness (power)", "Clip",
     "a sham beside it", "Leak certificate", "Every concept, asked everything", "Behind one cell"],
)  # fmt: skip
def test_the_rule_finds_what_was_said_before(text: str) -> None:
    assert retired_in(text)
