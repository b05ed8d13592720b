"""Engrams and recordings on file give every command what it would have made itself."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from commands import run_command
from typer.testing import CliRunner

import engram_core as ec
from engram_core import cli
from engram_core.commands import engrams as source
from engram_core.commands.engrams import EngramOptions
from engram_core.errors import DataError, ModelMismatchError

_QUICK = {
    "erase": ["digits-mlp", "7"],
    "criteria": ["digits-mlp", "--concepts", "7", "--controls", "0"],
    "sweep": ["digits-mlp", "--concepts", "7", "--strengths", "1", "--groups", "all", "--selectivity", "1"],
    "map": ["digits-mlp", "--of", "engrams"],
}


@pytest.fixture
def engram(monkeypatch, capfd):
    return partial(run_command, monkeypatch, capfd)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Write a recording and engrams of digits-mlp; the engrams are selective."""
    folder = tmp_path_factory.mktemp("files")
    made = {"--recording": folder / "recording.safetensors", "--atlas": folder / "atlas.safetensors"}
    sample = ec.load_sample("digits-mlp")
    recording = ec.record(sample.model, sample.concepts)
    recording.save(made["--recording"])
    ec.extract(sample.model, recording).save(made["--atlas"])
    return made


@pytest.mark.parametrize("option", ["--atlas", "--recording"])
@pytest.mark.parametrize("command", _QUICK)
def test_a_file_gives_the_same_answer_and_nothing_is_recorded(
    engram, files, monkeypatch, command: str, option: str
) -> None:
    expected = engram(command, *_QUICK[command], "--json").json
    monkeypatch.setattr(source, "extracted", None)  # what would record and solve
    told = engram(command, *_QUICK[command], option, files[option], "--json").json
    assert json.dumps(told, sort_keys=True) == json.dumps(expected, sort_keys=True)


def test_a_question_is_asked_with_engrams_on_file(engram, tmp_path) -> None:
    atlas, question = tmp_path / "atlas.safetensors", ["ask", "facts-lm", "The capital of France is"]
    edit = ["France=2", "--max-new-tokens", "4", "--json"]
    assert engram("extract", "facts-lm", "-o", atlas).code == 0
    assert engram(*question, *edit, "--atlas", atlas).json == engram(*question, *edit).json


def test_a_file_keeps_its_own_selectivity_unless_another_is_asked_for(files, tmp_path) -> None:
    sample = ec.load_sample("digits-mlp")
    path = tmp_path / "selective.safetensors"
    ec.Atlas.load(files["--atlas"], sample.model).sharpen(2.0, clip=True).save(path)
    given = EngramOptions(atlas=path)
    assert given.of(sample, None).sharpness == ec.Sharpness(2.0, True)
    assert given.of(sample, None, power=1.5).sharpness == ec.Sharpness(1.5)
    assert EngramOptions(atlas=files["--atlas"]).of(sample, None).sharpness == ec.Sharpness()


def test_what_does_not_go_together_is_said_before_a_model_is_loaded(engram, files) -> None:
    both = engram("erase", "no-such-model", "7", *(part for pair in files.items() for part in pair))
    assert both.code == 2 and "not both" in both.err
    cut = engram("criteria", "no-such-model", "--atlas", files["--atlas"], "--cut", "0.1")
    assert cut.code == 2 and "solved already" in cut.err


def test_a_file_of_another_model_or_of_other_concepts_is_refused(files) -> None:
    with pytest.raises(ModelMismatchError):
        EngramOptions(atlas=files["--atlas"]).of(ec.load_sample("fashion-cnn"), None)
    sample = ec.load_sample("digits-mlp")
    few = ec.Subject(sample.model, sample.concepts.subset(["1", "2"]), sample.task)
    with pytest.raises(DataError, match="8 concepts.*such as '0'.*--concepts-file"):
        EngramOptions(recording=files["--recording"]).of(few, None)


@pytest.mark.parametrize("command", ["ask", "erase", "criteria", "sweep", "map"])
def test_every_command_that_needs_engrams_takes_them_from_a_file(command: str) -> None:
    told = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200"}).stdout
    assert "--atlas" in told and "--recording" in told
