"""The second start of a server, and of a command, records and solves nothing that the first one did."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from app.server.background_load import BackgroundLoad
from engram_core.cli import app
from engram_core.opening import prepared as preparing
from engram_core.storing import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ENGRAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_swept", set())
    monkeypatch.setattr(preparing, "_WORTH", 0.0)


def refuse(*_args: object, **_options: object) -> None:
    raise AssertionError("this was to come from the cache")


def test_a_second_server_and_a_command_take_what_the_first_server_made(monkeypatch) -> None:
    work = BackgroundLoad.of_sample("digits-mlp")
    first = work.base()
    work.join()
    assert [e.of for e in cache.entries()] == ["digits-mlp"]
    monkeypatch.setattr(preparing, "record", refuse)
    monkeypatch.setattr(BackgroundLoad, "_scored", refuse)
    second = BackgroundLoad.of_sample("digits-mlp").base()
    assert second.scores == first.scores and second.pace == first.pace and second.facts == first.facts
    assert second.skipped == first.skipped and second.digest == first.digest and second.intact()
    probe = first.sample.concepts["7"].probe
    with torch.no_grad():
        one, two = (base.atlas.apply(erase=["7"])(probe) for base in (first, second))
    torch.testing.assert_close(one, two)
    ran = CliRunner().invoke(app, ["erase", "digits-mlp", "7", "--sharpness", "1.5", "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["edited"]["7"] < 0.2 < json.loads(ran.stdout)["base"]["7"]


def test_the_page_is_there_before_everything_is_on_the_disk(monkeypatch) -> None:
    """Writing a gigabyte holds nobody up, and if it cannot be written the page goes on."""

    def fails(_self: object) -> None:
        assert work.wait(0.0) and work.base() is not None
        raise preparing.ModelMismatchError("changed")

    monkeypatch.setattr(preparing.Prepared, "store", fails)
    work = BackgroundLoad.of_sample("digits-mlp")
    base = work.base()
    work.join()
    assert not work.failed and work.base() is base and not cache.entries()
