"""The command line says what the library computes: tables for people, one JSON object for programs."""

import importlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
import typer
from rich.console import Console
from safetensors.torch import load_file
from typer.testing import CliRunner

import engram_core as ec
from engram_core import cli
from engram_core.commands import app as launching
from engram_core.commands import layers as listing
from engram_core.commands import progress_bar
from engram_core.language import smollm2
from engram_core.storing.tensors import read_tensors, write_tensors
from engram_core.vision import samples

COMMANDS = ["samples", "layers", "record", "extract", "criteria", "sweep", "erase", "ask", "app"]
DIGITS = [str(i) for i in range(10)]


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)  # fails if standard output holds anything else


@pytest.fixture
def engram(monkeypatch, capfd):
    """Run the command as the installed script does."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["engram", *map(str, arguments)])
        capfd.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def digits_mlp() -> ec.Sample:
    return ec.load_sample("digits-mlp")


@pytest.fixture(scope="module")
def atlas(digits_mlp: ec.Sample) -> ec.Atlas:
    return ec.extract(digits_mlp.model, ec.record(digits_mlp.model, digits_mlp.concepts))


# -- help --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    told = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200"})
    assert told.exit_code == 0
    assert re.search(r"[A-Z][a-z ,]+.*\.", told.stdout)  # a sentence on what it does
    assert ("--json" in told.stdout) == (command != "app")


def test_the_command_alone_lists_all_commands(engram) -> None:
    told = engram()
    assert all(command in told.out + told.err for command in COMMANDS)


def test_the_installed_script_prints_nothing_but_json() -> None:
    script = Path(sys.executable).with_name("engram")
    ran = subprocess.run(
        [script, "extract", "digits-mlp", "--json"], capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0 and json.loads(ran.stdout)["model"] == "digits-mlp"


def test_the_installed_script_fails_with_one_sentence_and_status_2() -> None:
    script = Path(sys.executable).with_name("engram")
    ran = subprocess.run([script, "layers", "digit-mlp"], capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "Error: Unknown sample 'digit-mlp'. Did you mean 'digits-mlp'?\n"


# -- what each prints --------------------------------------------------------------------------------


def test_samples(engram, digits_mlp: ec.Sample) -> None:
    rows = {row["name"]: row for row in engram("samples", "--json").json["samples"]}
    assert set(rows) == set(ec.sample_names()) >= {"digits-mlp", "fashion-cnn"}
    mine = rows["digits-mlp"]
    assert mine["concepts"] == DIGITS and mine["model_hash"] == ec.model_hash(digits_mlp.model)
    assert mine["scores"] == {"test accuracy": digits_mlp.metrics["test"]["accuracy"]}
    assert mine["parameters"] == 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10
    assert "digits-mlp" in engram("samples").out


def test_samples_are_listed_without_loading_a_model(engram, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("weights were read to list the samples")

    monkeypatch.setattr(torch.nn.Module, "load_state_dict", refuse)
    monkeypatch.setattr(samples, "checked_bytes", refuse)
    monkeypatch.setattr(smollm2.PackagedModel, "load", refuse)
    rows = engram("samples", "--json").json["samples"]
    assert [row["name"] for row in rows] == ec.sample_names()
    assert all(row["concepts"] and row["parameters"] and row["scores"] for row in rows)


def test_layers(engram) -> None:
    told = engram("layers", "fashion-cnn", "--json").json
    rows = {row["name"]: row for row in told["layers"]}
    assert told["model"] == "fashion-cnn"
    assert all(
        set(row) == {"name", "kind", "width", "outputs", "covered", "reason"} for row in told["layers"]
    )
    assert rows["fc2"]["covered"] and not rows["bn1"]["covered"] and "normalisation" in rows["bn1"]["reason"]
    table = engram("layers", "fashion-cnn").out
    assert "conv1" in table and "bn1" in table


def test_record_then_extract_is_extract(engram, tmp_path: Path, digits_mlp: ec.Sample) -> None:
    file = tmp_path / "digits.safetensors"
    told = engram("record", "digits-mlp", "--out", file, "--json").json
    assert set(told) == {"model", "model_hash", "file", "inputs", "rows", "skipped"}
    assert told["file"] == str(file) and sum(told["inputs"].values()) == told["rows"]["fc1"] == 1438
    assert told["model_hash"] == ec.model_hash(digits_mlp.model)
    from_file = engram("extract", "digits-mlp", "--recording", file, "--json").json
    at_once = engram("extract", "digits-mlp", "--json").json
    assert from_file["layers"] == at_once["layers"]
    keys = ["layer", "concept"]
    one, two = (pd.DataFrame(told["engrams"]).set_index(keys) for told in (from_file, at_once))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4, atol=1e-9)


def test_extract_writes_an_atlas_of_the_chosen_layers(
    engram, tmp_path: Path, digits_mlp: ec.Sample, atlas
) -> None:
    file = tmp_path / "atlas.safetensors"
    told = engram(
        "extract", "digits-mlp", "-o", file, "--layers", "re:fc[12]", "--sharpness", "1.5", "--clip", "--json"
    ).json
    assert set(told) == {"model", "model_hash", "file", "sharpness", "layers", "notes", "engrams"}
    assert list(told["layers"]) == ["fc1", "fc2"] and told["sharpness"] == {"power": 1.5, "clip": True}
    assert set(told["layers"]["fc1"]) == {"form", "cut", "width", "kept"}
    assert set(told["engrams"][0]) == {
        "layer", "concept", "norm", "relative", "rank", "leak", "residue", "error",
    }  # fmt: skip
    loaded = ec.Atlas.load(file, digits_mlp.model)
    assert loaded.layers == ["fc1", "fc2"]
    assert loaded["7"].norm("fc1") == pytest.approx(atlas.sharpen(1.5, clip=True)["7"].norm("fc1"), rel=1e-5)


def test_the_cut_reaches_the_solve(engram) -> None:
    told = engram("extract", "digits-mlp", "--layers", "fc2", "--cut", "0.01", "--json").json
    assert told["layers"]["fc2"]["cut"] == 0.01 and told["layers"]["fc2"]["kept"][0] < 60


def test_tables_of_record_and_extract_are_for_people(engram, tmp_path: Path) -> None:
    assert "fc3" in engram("record", "digits-mlp", "-o", tmp_path / "r").out
    told = engram("extract", "digits-mlp", "--recording", tmp_path / "r", "-o", tmp_path / "a").out
    assert "‖E‖/‖W‖" in told and f"wrote {tmp_path}" in told.replace("\n", "")


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, Any]:
    told = CliRunner().invoke(cli.app, ["criteria", "digits-mlp", "--controls", "2", "--seed", "4", "--json"])
    assert told.exit_code == 0
    return json.loads(told.stdout)


def test_criteria_prints_the_promised_object(printed: dict, digits_mlp: ec.Sample) -> None:
    for name in ("necessity", "sufficiency"):
        assert list(printed[name]["base"]) == DIGITS
        for kind in ("matrix", "control"):
            assert list(printed[name][kind]) == DIGITS
            assert all(list(row) == DIGITS for row in printed[name][kind].values())
    for name in ("specificity", "reactivation"):
        assert list(printed[name]["layers"]) == ["fc1", "fc2", "fc3"]
        assert list(printed[name]["layers"]["fc2"]["3"]) == DIGITS
    assert (printed["strength"], printed["scaling"], printed["seed"]) == (1.0, "plain", 4)
    assert printed["model_hash"] == ec.model_hash(digits_mlp.model) and printed["model"] == "digits-mlp"


def test_criteria_prints_what_the_library_measures(
    printed: dict, digits_mlp: ec.Sample, atlas: ec.Atlas
) -> None:
    found = ec.criteria(digits_mlp, atlas, controls=2, seed=4).to_dict()
    for name in ("necessity", "sufficiency"):
        for kind in ("base", "matrix", "control"):
            assert printed[name][kind] == found[name][kind]


def test_criteria_as_tables(engram) -> None:
    told = engram(
        "criteria", "digits-mlp", "--controls", "0", "--layers", "fc3", "--strength", "0.5",
        "--scaling", "adaptive", "--sharpness", "2", "--clip",
    ).out  # fmt: skip
    for word in ("Base model", "Necessity", "α = 0.5", "Sufficiency", "erased concept, mean score"):
        assert word in told
    assert "sham" not in told


# -- erase -------------------------------------------------------------------------------------------


def test_erase_writes_weights_that_reproduce_what_it_printed(
    engram, tmp_path: Path, digits_mlp: ec.Sample
) -> None:
    file = tmp_path / "edited.safetensors"
    told = engram("erase", "digits-mlp", "7", "4=0.6", "--out", file, "--json").json
    assert set(told) == {
        "model", "model_hash", "base", "edited", "control", "erased", "kept", "layers",
        "recall", "relative_change", "seed", "file", "files", "lora", "rest",
    }  # fmt: skip
    assert told["erased"] == {"7": 1.0, "4": 0.6} and told["kept"] is None
    assert told["files"] == [str(file)] and told["rest"] is None
    assert told["edited"]["7"] < 0.2 < 0.9 < told["base"]["7"]
    model = ec.load_sample("digits-mlp").model
    model.load_state_dict(load_file(file))
    assert digits_mlp.task.measure(model, digits_mlp.concepts).score == told["edited"]
    about = read_tensors(file, "edited weights")[1]
    assert about["edit"]["erase"] == {"7": 1.0, "4": 0.6} and about["model"] == told["model_hash"]


@pytest.mark.parametrize(
    ("options", "edit"),
    [
        (["7"], {"erase": "7"}),
        (["7", "--strength", "0.5"], {"erase": {"7": 0.5}}),
        (["7=-0.5", "3"], {"erase": {"7": -0.5, "3": 1.0}}),
        (["7", "--layers", "re:fc[23]"], {"erase": "7", "layers": ["fc2", "fc3"]}),
        (["7", "--layers", "fc1, fc3"], {"erase": "7", "layers": ["fc1", "fc3"]}),
        (["7", "--scaling", "adaptive"], {"erase": "7", "scaling": "adaptive"}),
        (["--keep", "7", "--keep", "2"], {"keep": ["7", "2"]}),
        (["--keep", "7", "--null", "in place"], {"keep": ["7"], "null": "in place"}),
        (["7", "--keep", "2", "--keep", "7"], {"erase": "7", "keep": ["2", "7"]}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_erase_measures_the_edit_that_was_asked_for(
    engram, options: list, edit: dict, digits_mlp: ec.Sample, atlas: ec.Atlas
) -> None:
    told = engram("erase", "digits-mlp", *options, "--json").json
    view = atlas.apply(**edit)
    assert told["edited"] == digits_mlp.task.measure(view, digits_mlp.concepts).score
    report = ec.live_edit(view).report()
    assert told["relative_change"] == pytest.approx(report.relative, rel=1e-4)
    assert list(told["layers"]) == list(report.layers)


def test_erase_as_a_table_shows_a_sham_beside_it(engram) -> None:
    told = engram("erase", "digits-mlp", "7", "--sharpness", "2", "--clip").out
    assert "sham" in told and "‖ΔW‖/‖W‖" in told and "The base model is untouched" in " ".join(told.split())


def test_one_seed_gives_one_sham(engram) -> None:
    one, again, other = (engram("erase", "digits-mlp", "7", "--seed", s, "--json").json for s in (1, 1, 2))
    assert one == again and one["control"] != other["control"] and one["edited"] == other["edited"]


# -- progress ----------------------------------------------------------------------------------------


def test_progress_goes_to_the_error_stream_once_a_second_has_passed(engram, monkeypatch) -> None:
    monkeypatch.setenv("ENGRAM_CACHE", "off")  # what is kept is not recorded again
    monkeypatch.setattr(progress_bar, "err_console", Console(stderr=True, force_terminal=True))
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(monotonic=lambda: 0.0))
    assert "recording" not in engram("extract", "digits-mlp", "--json").err
    ticks = iter(range(0, 10**6, 2))
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    told = engram("extract", "digits-mlp", "--json")
    assert "recording" in told.err and told.json["model"] == "digits-mlp"


# -- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["layers", "fashion-cn"], "Unknown sample 'fashion-cn'. Did you mean 'fashion-cnn'"),
        (["layers", "[/b]"], "Unknown sample '[/b]'. Known: "),
        (["erase", "digits-mlp", "77"], "Unknown concept '77'. Did you mean '7'?"),
        (["erase", "digits-mlp", "--keep", "seven"], "Unknown concept 'seven'. Known: '0', '1'"),
        (["erase", "digits-mlp"], "Name a concept to erase, or one to keep with --keep NAME."),
        (["erase", "digits-mlp", "7=much"], "'7=much': the strength after = must be a number."),
        (["erase", "digits-mlp", "7=nan"], "The strength of concept '7' must be a finite number; found nan."),
        (["erase", "digits-mlp", "7", "--strength", "inf"], "must be a finite number; found inf."),
        (["erase", "digits-mlp", "7", "--blocks", "one"], "--blocks takes whole numbers separated by commas"),
        (["erase", "digits-mlp", "7", "--blocks", "3"], "No covered layer matches"),
        (["erase", "digits-mlp", "7", "--layers", "fc4"], "Unknown layer 'fc4'. Did you mean 'fc3'"),
        (["erase", "digits-mlp", "7", "--layers", "re:[a"], "'[a' is not a regular expression"),
        (["erase", "digits-mlp", "7", "--layers", "re:[/x]"], "No covered layer matches layers='[/x]'"),
        (["erase", "digits-mlp", "--keep", "7", "--scaling", "adaptive"], "Use scaling='plain'"),
        (["extract", "digits-mlp", "--cut", "2"], "Layer 'fc1': The cut is a fraction"),
        (["extract", "digits-mlp", "--sharpness", "0"], "The sharpness power must be above 0"),
        (["extract", "digits-mlp", "--recording", "/no/such/file"], "There is no file /no/such/file."),
        (["record", "digits-mlp", "--out", "/no/such/folder/file"], "Could not write /no/such/folder/file"),
        (["criteria", "digits-mlp", "--controls", "1"], "--controls must be 0, or at least 2"),
        (["criteria", "digits-mlp", "--strength", "nan"], "must be a finite number; found nan."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_sentence_on_the_error_stream(engram, arguments: list, message: str) -> None:
    told = engram(*arguments, "--json")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("Error: ") and message in told.err and told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["erase", "digits-mlp", "7", "--strength", "abc"], "Invalid value for '--strength'"),
        (["criteria", "digits-mlp", "--scaling", "wild"], "'wild' is not one of"),
        (["criteria", "digits-mlp", "--seed", "-1"], "Invalid value for '--seed'"),
        (["record", "digits-mlp"], "Missing option '--out'"),
        (["erasee"], "No such command 'erasee'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_of_the_wrong_kind_is_told_without_traceback(
    engram, arguments: list, message: str, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = engram(*arguments)
    assert (told.code, told.out) == (2, "")
    assert message in told.err and "Traceback" not in told.err


def test_a_recording_of_another_model_is_refused(engram, tmp_path: Path) -> None:
    model = torch.nn.Linear(5, 2)
    ec.record(model, {"a": torch.rand(3, 5)}).save(tmp_path / "r")
    told = engram("extract", "digits-mlp", "--recording", tmp_path / "r")
    assert told.code == 2 and "This belongs to another model" in told.err


def test_a_file_of_another_kind_is_refused(engram, tmp_path: Path) -> None:
    write_tensors(tmp_path / "w", {"a": torch.rand(2)}, {"kind": "edited weights"})
    told = engram("extract", "digits-mlp", "--recording", tmp_path / "w")
    assert told.code == 2 and "holds an edited weights; expected a recording" in told.err


def test_an_interrupted_run_stops_without_traceback(engram, monkeypatch) -> None:
    def interrupted(*_args, **_options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(listing, "list_layers", interrupted)
    told = engram("layers", "digits-mlp")
    assert told.code in (1, 130) and "Traceback" not in told.err


def test_app_without_its_packages_says_what_to_install(engram, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit", None)
    told = engram("app")
    assert told.code == 2 and "pip install 'engram-explorer[app]'" in told.err


def test_app_starts_what_its_options_say(engram, monkeypatch) -> None:
    pytest.importorskip("streamlit")
    started: list[list[str]] = []

    def become(command: list[str], env: dict[str, str]) -> None:
        started.append(command)
        raise typer.Exit(3)

    monkeypatch.setattr(launching, "become", become)
    assert engram("app", "--port", "9001", "--no-browser").code == 3
    assert started[0][1:3] == ["-m", "app.launch"] and "--no-browser" in started[0]
    assert started[0][3:7] == ["--host", "127.0.0.1", "--port", "9001"]


def test_app_listens_on_this_machine_only_and_sends_no_statistics() -> None:
    launch = importlib.import_module("app.launch")
    command = launch.command(port=9001)
    assert (
        command[command.index("--host") + 1] == "127.0.0.1" and command[command.index("--port") + 1] == "9001"
    )
    assert "--no-browser" in command and launch.SETTINGS["server.headless"] is True
    assert launch.SETTINGS["browser.gatherUsageStats"] is False
