"""Groups of options: what is typed reaches the command in its groups, and typer sees single options."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from engram_core.commands.grouping import grouped


@dataclass(frozen=True)
class Place:
    name: Annotated[str, typer.Argument()]
    floor: Annotated[int, typer.Option(min=0, help="How high.")] = 2


@dataclass(frozen=True)
class Names:
    known: Annotated[list[str] | None, typer.Option("--known", "-k")] = None


def run(*arguments: str) -> tuple[int, str, list]:
    found: list = []

    @grouped
    def look(place: Place, names: Names, what: Annotated[str, typer.Argument()], loud: bool = False) -> None:
        """Look for something."""
        found.append((place, names, what, loud))

    app = typer.Typer()
    app.command()(look)
    told = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return told.exit_code, told.output, found


def test_what_is_typed_arrives_in_its_group() -> None:
    code, _, found = run("house", "key", "--floor", "3", "-k", "a", "-k", "b", "--loud")
    assert code == 0 and found == [(Place("house", 3), Names(["a", "b"]), "key", True)]


def test_what_is_not_typed_has_the_default_of_its_group() -> None:
    assert run("house", "key")[2] == [(Place("house"), Names(), "key", False)]


def test_help_and_limits_are_those_of_single_options() -> None:
    code, told, _ = run("--help")
    assert code == 0 and "Look for something." in told and "How high." in told and "--known" in told
    code, told, found = run("house", "key", "--floor", "-1")
    assert code == 2 and "--floor" in told and not found


def test_it_can_be_called_with_the_options_by_name() -> None:
    found: list = []
    grouped_command = grouped(lambda: None)
    grouped_command()

    @grouped
    def look(place: Place) -> None:
        found.append(place)

    look(name="house", floor=7)
    assert found == [Place("house", 7)]


def test_two_options_of_one_name_are_refused() -> None:
    def twice(place: Place, name: str) -> None: ...

    with pytest.raises(TypeError, match="two options called name"):
        grouped(twice)
