"""The command line says what the library computes: tables for people, one JSON object for programs."""

import importlib
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import typer
from commands import run_command
from typer.testing import CliRunner

from engram_core import cli
from engram_core.commands import app as launching

COMMANDS = ["samples", "layers", "record", "extract", "criteria", "sweep", "erase", "ask", "finetune", "app"]


# -- help --------------------------------------------------------------------------------------------


@pytest.fixture
def engram(monkeypatch, capfd):
    """Run the command as the installed script does."""
    return partial(run_command, monkeypatch, capfd)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    told = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200"})
    assert told.exit_code == 0
    assert re.search(r"[A-Z][a-z ,]+.*\.", told.stdout)  # a sentence on what it does
    assert ("--json" in told.stdout) == (command != "app")


def test_the_command_alone_lists_all_commands(engram) -> None:
    told = engram()
    assert all(command in told.out + told.err for command in COMMANDS)


def test_the_installed_script_prints_nothing_but_json() -> None:
    script = Path(sys.executable).with_name("engram")
    ran = subprocess.run(
        [script, "extract", "digits-mlp", "--json"], capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0 and json.loads(ran.stdout)["model"] == "digits-mlp"


def test_the_installed_script_fails_with_one_sentence_and_status_2() -> None:
    script = Path(sys.executable).with_name("engram")
    ran = subprocess.run([script, "layers", "digit-mlp"], capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("Error: Unknown sample 'digit-mlp'. Did you mean 'digits-mlp'")


def test_the_version_names_what_an_answer_depends_on(engram) -> None:
    told = engram("--version").out
    assert re.fullmatch(r"engram-explorer \S+, torch (\S+), Python \d+\.\d+\.\d+\n", told), told
    assert torch.__version__ in told


def by_shell(*arguments: str, **env: str) -> str:
    """Run the installed script with what a shell sets; return what it printed."""
    script = Path(sys.executable).with_name("engram")
    ran = subprocess.run(
        [script, *arguments], env=os.environ | env, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_shell_gets_a_script_that_completes_the_command() -> None:
    # Without it typer looks for the shell that it was called from, and takes no name.
    told = by_shell("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_ENGRAM_COMPLETE=complete_bash" in told and "complete -o default" in told


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("engram extract dig", {"digits-mlp"}),
        ("engram erase digits-mlp --iso", {"--isolate"}),
    ],
)
def test_what_is_typed_is_completed(typed: str, offered: set[str]) -> None:
    place = str(len(typed.split()) - 1)
    told = by_shell(_ENGRAM_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=place)
    assert set(told.split()) == offered


# -- what each prints --------------------------------------------------------------------------------


# -- erase -------------------------------------------------------------------------------------------


# -- progress ----------------------------------------------------------------------------------------


# -- errors ------------------------------------------------------------------------------------------


def test_app_without_its_packages_says_what_to_install(engram, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit", None)
    told = engram("app")
    assert told.code == 2 and "pip install 'engram-explorer[app]'" in told.err


def test_app_starts_what_its_options_say(engram, monkeypatch) -> None:
    pytest.importorskip("streamlit")
    started: list[list[str]] = []

    def become(command: list[str], env: dict[str, str]) -> None:
        started.append(command)
        raise typer.Exit(3)

    monkeypatch.setattr(launching, "become", become)
    assert engram("app", "--port", "9001", "--no-browser").code == 3
    assert started[0][1:3] == ["-m", "app.launch"] and "--no-browser" in started[0]
    assert started[0][3:7] == ["--host", "127.0.0.1", "--port", "9001"]


def test_app_listens_on_this_machine_only_and_sends_no_statistics() -> None:
    launch = importlib.import_module("app.launch")
    command = launch.command(port=9001)
    assert (
        command[command.index("--host") + 1] == "127.0.0.1" and command[command.index("--port") + 1] == "9001"
    )
    assert "--no-browser" in command and launch.SETTINGS["server.headless"] is True
    assert launch.SETTINGS["browser.gatherUsageStats"] is False
