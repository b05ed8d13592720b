"""`engram cache` lists and clears what is kept."""

import json
from pathlib import Path

import pytest
from cached import DATA, own_cache, put
from typer.testing import CliRunner

from engram_core.cli import app
from engram_core.errors import DataError, UnknownNameError
from engram_core.storing.cache import entries
from engram_core.storing.cache_settings import cache_limit


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    return own_cache(tmp_path, monkeypatch)


def test_a_limit_that_is_none_is_said_by_the_command_and_stops_nothing_else(
    root, monkeypatch, caplog
) -> None:
    monkeypatch.setenv("ENGRAM_CACHE_LIMIT", "much")
    with pytest.raises(DataError, match="a size such as 500MB or 2GB; found 'much'"):
        cache_limit()
    assert put("a") and "8 GB count" in caplog.text


def test_the_command_lists_and_clears(root) -> None:
    run = CliRunner().invoke
    assert "Nothing is kept yet" in run(app, ["cache"]).stdout
    put("one", of="[/red] :smile:", about="3 concepts")
    told = json.loads(run(app, ["cache", "--json"]).stdout)
    assert told["folder"] == str(root) and told["limit"] == 8 << 30
    (entry,) = told["entries"]
    assert entry["name"] == "one" and entry["bytes"] == told["bytes"] > len(DATA)
    shown = " ".join(run(app, ["cache"], env={"COLUMNS": "200"}).stdout.split())
    assert "engrams: 3 concepts" in shown and "just now" in shown
    missing = run(app, ["cache", "clear", "another"])
    assert missing.exit_code and isinstance(missing.exception, UnknownNameError)
    removed = json.loads(run(app, ["cache", "clear", "one", "--json"]).stdout)
    assert [e["name"] for e in removed["entries"]] == ["one"] and not entries()
    assert "Nothing was kept" in run(app, ["cache", "clear"]).stdout
