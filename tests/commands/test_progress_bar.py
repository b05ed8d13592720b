"""Progress goes to the error stream, once something takes a while; Ctrl+C ends it without a traceback."""

from types import SimpleNamespace

from rich.console import Console

from engram_core.commands import layers as listing
from engram_core.commands import progress_bar


def test_progress_goes_to_the_error_stream_once_a_second_has_passed(engram, monkeypatch) -> None:
    monkeypatch.setenv("ENGRAM_CACHE", "off")  # what is kept is not recorded again
    monkeypatch.setattr(progress_bar, "err_console", Console(stderr=True, force_terminal=True))
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(monotonic=lambda: 0.0))
    assert "recording" not in engram("extract", "digits-mlp", "--json").err
    ticks = iter(range(0, 10**6, 2))
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    told = engram("extract", "digits-mlp", "--json")
    assert "recording" in told.err and told.json["model"] == "digits-mlp"


def test_an_interrupted_run_stops_without_traceback(engram, monkeypatch) -> None:
    def interrupted(*_args, **_options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(listing, "list_layers", interrupted)
    told = engram("layers", "digits-mlp")
    assert told.code in (1, 130) and "Traceback" not in told.err
