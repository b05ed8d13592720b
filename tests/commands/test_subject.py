"""How the command line finds a model and its concepts."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import engram_core as ec
from engram_core import cli
from engram_core.commands import subject as subjects
from engram_core.errors import DataError, UnknownNameError


def run(*arguments: object) -> tuple[int, str, BaseException | None]:
    told = CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    return told.exit_code, told.stdout, told.exception


def test_samples_come_first_and_all_else_needs_concepts(tmp_path: Path, monkeypatch) -> None:
    asked: list[tuple[str, Path]] = []
    monkeypatch.setattr(
        subjects, "load_subject", lambda name, file: asked.append((name, file)) or "a subject"
    )
    assert isinstance(subjects.open_subject("digits-mlp"), ec.Sample) and not asked
    for name in (str(tmp_path), "org/model", "whatever"):
        assert subjects.open_subject(name, tmp_path / "c.jsonl") == "a subject"
        assert asked.pop() == (name, tmp_path / "c.jsonl")
    for name in (str(tmp_path), "org/model", "./here"):
        with pytest.raises(DataError, match="give --concepts-file FILE"):
            subjects.open_subject(name)
    for name in ("digit-mlp", "[/b]"):
        with pytest.raises(UnknownNameError, match="Unknown sample"):
            subjects.open_subject(name)
    assert not asked


def test_a_folder_and_texts_become_a_subject_that_every_command_takes(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sample = ec.load_sample("authors-lm")
    sample.model.save_pretrained(tmp_path / "model")
    sample.task.tokenizer.save_pretrained(tmp_path / "model")
    rows = [
        {"concept": name, "prompt": item.prompt, "answer": item.answer}
        for name in list(sample.concepts)[:4]
        for item in sample.task.texts[name].record[:3]
    ]
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    assert transformers.AutoConfig.from_pretrained(tmp_path / "model").model_type == "llama"
    code, out, error = run(
        "sweep", tmp_path / "model", "--concepts-file", file, "--random", "2", "--strengths", "0.001,1",
        "--groups", "attention", "--sharpness", "1", "--json",
    )  # fmt: skip
    assert code == 0, error
    weak, strong = json.loads(out)["settings"]
    assert weak["forget"] == weak["base_forget"] > 0.9 and strong["forget"] < weak["forget"]


def test_texts_go_to_language_samples_only(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    file = tmp_path / "c.jsonl"
    rows = [{"concept": c, "prompt": f"The city of {c} is", "answer": c[::-1]} for c in ("Ab", "Cd")]
    file.write_text("\n".join(map(json.dumps, rows)))
    found = subjects.open_subject("authors-lm", file)
    assert list(found.concepts) == ["Ab", "Cd"] and set(
        found.task.measure(found.model, found.concepts).score
    ) == {
        "Ab",
        "Cd",
    }
    for load in (subjects.open_subject, ec.load_subject):
        with pytest.raises(DataError, match="digits-mlp is no language model"):
            load("digits-mlp", file)


def test_columns_are_named_on_the_command_line(tmp_path) -> None:
    table = tmp_path / "texts.csv"
    table.write_text("who,frage,wort\nAda,Ada wrote,notes\n", encoding="utf-8")
    subject = subjects.open_subject("authors-lm", table, columns="concept=who,prompt=frage,answer=wort")
    assert list(subject.concepts) == ["Ada"]
    with pytest.raises(DataError, match="give it with --texts FILE"):
        subjects.open_subject("authors-lm", columns="concept=who,text=frage")
