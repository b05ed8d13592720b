"""`engram app`: what could only fail later in a browser is refused on the command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app import launch, serving
from app import signals as ending
from app.options import ServerOptions, environment, server_options
from engram_core.commands import app as launching
from engram_core.commands.app import open_app
from engram_core.errors import DataError, EngramError


@pytest.fixture
def calls(monkeypatch):
    """Return what this process would become, instead of becoming it."""
    found: list[tuple[list[str], dict]] = []
    monkeypatch.setattr(launching, "become", lambda command, env: found.append((list(command), dict(env))))
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(**options) -> None:  # noqa: ANN003
    plain = {"host": "127.0.0.1", "port": free_port(), "browser": False}
    plain |= {"model": "", "concepts": "", "subject": "", "demo": False}
    try:
        open_app(**(plain | options))
    except BaseException as error:
        if type(error).__name__ != "Exit":
            raise


def test_options_reach_the_pages_as_they_were_given(calls, tmp_path, monkeypatch):
    path = tmp_path / "a name with spaces & 'quotes'.jsonl"
    path.write_text("{}")
    proxy = {"allow_host": ["engrams.example.org", "10.1.2.3"], "trust_proxy": ["127.0.0.1"]}
    proxy["allow_frame"] = ["https://huggingface.co"]
    start(model="--odd name", concepts=str(path), demo=True, port=(port := free_port()), **proxy)
    (command, env), *_ = calls
    assert command[:3] == [sys.executable, "-m", "app.launch"] and env.get("OMP_WAIT_POLICY")
    for key in environment(ServerOptions()):
        monkeypatch.setenv(key, "")  # so that it is undone at the end
    monkeypatch.setattr(sys, "argv", ["app.launch", *command[3:]])
    monkeypatch.setattr(ending, "at_once", lambda: None)
    served: list[tuple[tuple, dict]] = []
    monkeypatch.setattr(serving, "serve", lambda *what, **how: served.append((what, how)))
    launch.main()
    ((_, settings), how), *_ = served
    assert settings["client.showErrorDetails"] == "none" and settings["client.allowedOrigins"] == []
    assert how["port"] == port and how["demo"] and not how["browser"]
    assert how["allowed"] == ("engrams.example.org", "10.1.2.3") and how["proxies"] == ("127.0.0.1",)
    assert how["frames"] == ("https://huggingface.co",)
    assert server_options() == ServerOptions("--odd name", str(path), True)


def test_without_options_nothing_is_set(calls, monkeypatch):
    port = free_port()
    start(browser=True, port=port)
    (command, _), *_ = calls
    assert command[3:] == ["--host", "127.0.0.1", "--port", str(port)]
    for key in environment(ServerOptions()):
        monkeypatch.delenv(key, raising=False)
    assert server_options() == ServerOptions() and not server_options().demo


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "digits-mpl"}, "digits-mlp"),
        ({"model": "org/model"}, "org/model"),
        ({"concepts": "texts.jsonl"}, "--model"),
        ({"model": "digits-mlp", "concepts": "/no/such/file.jsonl"}, "/no/such/file.jsonl"),
        ({"allow_host": ["https://engrams.example.org"]}, "without scheme"),
        ({"allow_host": ["*"]}, "asterisk"),
        ({"trust_proxy": ["nginx"]}, "no address"),
        ({"allow_frame": ["huggingface.co"]}, "no origin"),
        ({"allow_frame": ["https://a.example; script-src *"]}, "no origin"),
        ({"model": "digits-mlp", "concepts": ""}, None),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(calls, options, said):
    if said is None:
        start(**options)
        assert len(calls) == 1 and calls[0][0][-3:] == ["--model", "digits-mlp", "--no-browser"]
        return
    with pytest.raises(EngramError, match=said):
        start(**options)
    assert not calls


def test_a_missing_app_is_named_with_what_installs_it(calls, monkeypatch):
    real = launching.importlib.util.find_spec
    monkeypatch.setattr(
        launching.importlib.util, "find_spec", lambda name: None if name == "streamlit" else real(name)
    )
    with pytest.raises(EngramError, match="pip install"):
        start()
    assert not calls


def test_the_command_line_says_it_in_one_line():
    from engram_core.cli import app as cli

    result = CliRunner().invoke(cli, ["app", "--concepts", "nowhere.jsonl"])
    assert result.exit_code != 0
    assert isinstance(result.exception, DataError) and "--model" in str(result.exception)


def test_a_public_screen_has_tighter_limits_than_one_s_own():
    own, public = ServerOptions(), ServerOptions(demo=True)
    for limit in ("most_concepts", "most_characters", "most_tokens"):
        assert 0 < getattr(public, limit) < getattr(own, limit)
    # Streamlit ignores addresses of more than 1,000 parts, so more could not be shared.
    assert own.most_concepts < 1000


def test_a_port_that_is_taken_is_named_with_what_to_do(calls):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EngramError, match=rf"{port}.*--port {port + 1}"):
            start(port=port)
    assert not calls
    with pytest.raises(EngramError, match="no-such-host.invalid"):
        start(host="no-such-host.invalid")
    assert not calls


def test_the_first_start_on_a_machine_asks_nothing_and_opens_the_browser(tmp_path):
    """Streamlit asks those who never ran it for an e-mail address, unless told not to, and waits."""
    tools = tmp_path / "bin"
    tools.mkdir()
    opened = tmp_path / "opened"
    for name in ("xdg-open", "browser"):
        (tools / name).write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
        (tools / name).chmod(0o755)
    env = os.environ | {
        "HOME": str(tmp_path), "BROWSER": str(tools / "browser"), "PATH": f"{tools}:{os.environ['PATH']}",
    }  # fmt: skip
    port, log = free_port(), tmp_path / "log"
    with open(log, "wb") as out:
        server = subprocess.Popen(
            [Path(sys.executable).with_name("engram"), "app", "--port", str(port)],
            env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            if opened.exists() and _answers(port):
                break
            time.sleep(0.1)
        assert opened.read_text().strip().rstrip("/") == f"http://127.0.0.1:{port}", log.read_text()
        assert "Email" not in log.read_text()
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_a_python_file_makes_the_model_that_the_pages_open_with(calls, tmp_path, monkeypatch, capsys):
    from engram_core.opening.in_memory import in_memory, let_go

    file = tmp_path / "toy.py"
    file.write_text(
        "import torch\nfrom torch import nn\n"
        "def make():\n    return nn.Linear(3, 2), {'a': torch.rand(8, 3), 'b': torch.rand(8, 3)}\n"
    )
    start(subject=f"{file}:make")
    (command, _), *_ = calls
    for key in environment(ServerOptions()):
        monkeypatch.setenv(key, "")
    monkeypatch.setattr(ending, "at_once", lambda: None)
    served: list[dict] = []
    monkeypatch.setattr(serving, "serve", lambda *what, **how: served.append(how))
    monkeypatch.setattr(sys, "argv", ["app.launch", *command[3:]])
    launch.main()
    held = in_memory("toy")
    assert served and held is not None and str(tmp_path) not in held.code and "toy.py:make" in held.code
    let_go(held)
    monkeypatch.setattr(sys, "argv", ["app.launch", "--subject", f"{file}:mkae"])
    with pytest.raises(SystemExit):
        launch.main()
    assert "make" in capsys.readouterr().err and len(served) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subject": "toy.py"}, "names no function"),
        ({"subject": "no_such_file.py:make"}, "no file no_such_file.py"),
    ],
)
def test_a_subject_that_is_none_is_refused_before_anything_starts(calls, options, said):
    with pytest.raises(EngramError, match=said):
        start(**options)
    assert not calls
