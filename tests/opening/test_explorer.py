"""`ec.explore` without a server: what is held, shown, let go; tests/app/test_in_process.py has a real one."""

from __future__ import annotations

import sys
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

import engram_core as ec
from engram_core.opening import explorer
from engram_core.opening.in_memory import in_memory, names_in_memory


class Server:
    """Stands for the explorer's server."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.stopped = 0
        self.interrupted = False

    def page_of(self, name: str) -> str:
        return f"http://127.0.0.1:1/live?model={name}&x=<1>"

    def open_browser(self, url: str) -> None:
        self.opened.append(url)

    def wait(self) -> None:
        raise KeyboardInterrupt

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(explorer, "provided", lambda group, name, *, purpose: lambda *, port: found)
    return found


CONCEPTS = {"a": torch.rand(8, 3), "b": torch.rand(8, 3)}


def test_two_models_share_a_server_that_ends_with_the_last(server: Server) -> None:
    first = ec.explore(nn.Linear(3, 2), CONCEPTS, name="first", browser=False)
    second = ec.explore(nn.Linear(3, 2), CONCEPTS, name="second", browser=False)
    assert {"first", "second"} <= set(names_in_memory())
    first.stop()
    assert in_memory("first") is None and not server.stopped
    second.stop()
    assert server.stopped == 1 and not server.opened


def test_a_block_stops_what_it_opened_and_so_does_ctrl_c(server: Server) -> None:
    with ec.explore(nn.Linear(3, 2), CONCEPTS, name="block", browser=True) as opened:
        assert server.opened == [opened.url] and "block" in repr(opened)
        assert opened.sample.model.in_features == 3
    assert in_memory("block") is None
    ec.explore(nn.Linear(3, 2), CONCEPTS, name="waits", browser=False).wait()
    assert in_memory("waits") is None and server.stopped == 2


def test_a_notebook_gets_a_frame_with_the_page(server: Server) -> None:
    with ec.explore(nn.Linear(3, 2), CONCEPTS, name="frame", browser=False) as opened:
        found: dict[str, dict[str, str | None]] = {}

        class Read(HTMLParser):
            def handle_starttag(self, tag, attrs) -> None:
                found[tag] = dict(attrs)

        Read().feed(opened._repr_html_())
    assert found["iframe"]["src"] == opened.url == found["a"]["href"]
    assert found["iframe"]["title"] == "Engram Explorer"


def test_a_server_that_does_not_start_leaves_nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*, port: int):
        raise ec.EngramError("The port is taken.")

    monkeypatch.setattr(explorer, "provided", lambda *given, **options: refuse)
    with pytest.raises(ec.EngramError, match="taken"):
        ec.explore(nn.Linear(3, 2), CONCEPTS, name="refused")
    assert in_memory("refused") is None


def test_a_script_that_ends_with_it_open_is_told_how_to_keep_it(server: Server, capsys, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    with ec.explore(nn.Linear(3, 2), CONCEPTS, name="left open", browser=False):
        explorer._say_that_it_ends()
    assert "explorer.wait()" in capsys.readouterr().err
    explorer._say_that_it_ends()
    assert not capsys.readouterr().err
