"""What the core borrows: found by an entry point, or named with what installs it."""

from importlib.metadata import EntryPoint

import pytest

from engram_core.errors import DependencyError
from engram_core.opening import plugins


def offer(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint(name="map", value=value, group="engram_core.figures")
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: [point] if group == point.group else [])


def test_the_function_of_an_installed_package_is_found(monkeypatch) -> None:
    offer(monkeypatch, "json:dumps")
    assert plugins.provided("engram_core.figures", "map", purpose="--html")([1]) == "[1]"


@pytest.mark.parametrize(("group", "name"), [("engram_core.figures", "sweep"), ("engram_core.app", "map")])
def test_without_one_it_is_said_what_to_install(monkeypatch, group: str, name: str) -> None:
    offer(monkeypatch, "json:dumps")
    with pytest.raises(
        DependencyError, match=r"^--html needs the explorer.*pip install .*--csv needs nothing\.$"
    ):
        plugins.provided(group, name, purpose="--html", instead="--csv needs nothing.")


def test_what_the_package_lacks_is_named(monkeypatch) -> None:
    offer(monkeypatch, "no_such_library.figures:draw")
    with pytest.raises(DependencyError, match="^The map needs no_such_library: install it"):
        plugins.provided("engram_core.figures", "map", purpose="The map")


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("engram_core.figures", "map"),
        ("engram_core.figures", "sweep"),
        ("engram_core.app", "command"),
        ("engram_core.app", "serve"),
    ],
)
def test_the_explorer_provides_what_commands_ask_for(group: str, name: str) -> None:
    assert callable(plugins.provided(group, name, purpose="It"))
