"""The process that reads foreign files answers in lines of JSON, and in nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engram_core.sandboxing import worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no such limits there")


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", str(Path(worker.__file__))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def job(function: str, **options: Any) -> bytes:
    given = {"function": function, "arguments": {}, "path": [*sys.path], "parent": os.getpid(), "seconds": 30,
             "memory": 1 << 30}  # fmt: skip
    return json.dumps(given | options).encode() + b"\n"


def said_by(process: subprocess.Popen[bytes], given: bytes) -> tuple[list[dict[str, Any]], str]:
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(given)
    process.stdin.flush()
    lines = [json.loads(line) for line in process.stdout.read().splitlines()]
    errors = process.stderr.read().decode()
    process.stdin.close()
    assert process.wait(30) == 0
    return lines, errors


def test_reports_and_the_answer_are_lines_and_what_is_printed_is_not_among_them() -> None:
    value = ["ä", None, {"a": 1.5}]
    lines, errors = said_by(start(), job("limited_functions:answers", arguments={"value": value}))
    assert lines == [{"doing": "at work"}, {"result": value}]
    assert "this is no answer" in errors and "nor is this" in errors


@pytest.mark.parametrize(
    ("function", "options", "kind", "text", "line"),
    [
        ("math:nothing_like_it", {}, "AttributeError", "", "module 'math' has no attribute"),
        ("no_such_module:f", {}, "ModuleNotFoundError", "", "No module named"),
        ("limited_functions:fails", {"arguments": {"how": "ours"}}, "DataError", None, None),
        # A result that is no JSON is an error of the function and not a broken answer.
        ("limited_functions:answers", {"arguments": {}}, "TypeError", "", "value"),
        ("builtins:dict", {"arguments": {"a": 1}}, "TypeError", "", "not JSON serializable"),
    ],
)
def test_an_error_comes_with_its_kinds_and_its_first_line(function, options, kind, text, line) -> None:
    (answer,), _ = said_by(start(), job(function, **options))
    told = answer["error"]
    assert told["kinds"][0] == kind and told["kinds"][-1] == "object"
    assert text is None or told["text"] == text
    assert line is None or line in told["line"]
    assert "\n" not in told["line"]


def test_only_our_errors_come_back_with_their_whole_text() -> None:
    """They are ValueErrors; of others a first line is enough, whatever they hold."""
    (ours,), _ = said_by(start(), job("limited_functions:fails", arguments={"how": "ours"}))
    assert "EngramError" in ours["error"]["kinds"] and ours["error"]["text"]


def test_without_a_job_it_ends_at_once() -> None:
    process = start()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b'{"function": "no end of line"')
    process.stdin.close()
    assert process.wait(30) == 1 and process.stdout.read() == b""


def test_it_ends_with_the_pipe_of_its_parent() -> None:
    process = start()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(job("limited_functions:sleeps_with_a_child"))
    process.stdin.flush()
    child = int(json.loads(process.stdout.readline())["doing"].split()[0])
    process.stdin.close()
    assert process.wait(30) == 1
    os.kill(child, 9)  # whoever started the worker ends its group; this child is of no group of ours


def test_one_whose_parent_has_ended_before_does_nothing() -> None:
    process = start()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(job("limited_functions:answers", arguments={"value": 1}, parent=os.getpid() + 1))
    process.stdin.flush()
    out = process.stdout.read()
    assert (process.wait(30), out) == ((1, b"") if sys.platform == "linux" else (0, out))


def test_its_limits_are_those_of_its_job_and_it_is_nice() -> None:
    (answer,), _ = said_by(start(), job("limited_functions:bounds", seconds=5, memory=1 << 29))
    found = answer["result"]
    assert found["data"][0] in ((1 << 29) + (2 << 30), found["hard"]) and found["core"] == 0
    assert found["cpu"] == 5 * (os.cpu_count() or 1) + 60
    assert found["nice"] == min(19, os.nice(0) + 10)
