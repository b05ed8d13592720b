"""Tables for people."""

from __future__ import annotations

import pandas as pd

from engram_core.commands import printing
from engram_core.commands.printing import plain
from engram_core.commands.tables import print_matrix

NAMES = [
    "[/INST]", "[bold]x[/bold]", "[link=file:///etc]y[/link]", ":smile:", "a, b", "a", "b", "a=1", "a=b", "=",
    "-dash", "--json", "C:\\d,e", "\x1b[31mred\x1b[0m", "{task.description}", "%s", "re:a", "sky\u202eblue",
]  # fmt: skip


def test_a_matrix_shows_every_name_as_it_is(monkeypatch, capfd) -> None:
    monkeypatch.setattr(printing.out_console, "_width", 2000)
    pairs = pd.DataFrame([(a, b, 0.5) for a in NAMES for b in NAMES], columns=["concept", "probe", "score"])
    print_matrix("Necessity: [/INST]", pairs, "score", "caption [/INST]")
    out = capfd.readouterr().out
    assert all(out.count(plain(name)) >= 2 for name in NAMES)
    assert "Necessity: [/INST]" in out and "caption [/INST]" in out
