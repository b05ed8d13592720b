"""The command line, run as the installed script runs it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from engram_core import cli
from engram_core.cli import app


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)  # fails if standard output holds anything else


def run_command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: object
) -> Ran:
    """Run `engram` with these arguments, and return what it printed."""
    monkeypatch.setattr(sys, "argv", ["engram", *map(str, arguments)])
    capfd.readouterr()
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    return Ran(code, *capfd.readouterr())


AWKWARD = ["C", "C++", "C#", "a b", "a-b", "A B", "..", "???", "con", "up/../../away"]


def erase(*arguments) -> dict:
    ran = CliRunner().invoke(app, ["erase", "some/model", *map(str, arguments), "--json"])
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)
