"""Which tokens count, and the chat template: for samples, by every command, and said in the files."""

from __future__ import annotations

import json

import pytest
import torch
from language_helpers import byte_tokenizer, tiny
from typer.testing import CliRunner

import engram_core as ec
from engram_core.cli import app
from engram_core.commands.subject import open_subject
from engram_core.errors import DataError, EngramError, UnknownNameError
from engram_core.language import LanguageConcepts
from engram_core.opening import prepared as preparing
from engram_core.opening.load import with_positions

NAMES = ("sky", "grass", "sea")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    rows = [{"concept": n, "prompt": f"The {n} we saw is", "answer": f"all {n}ish"} for n in NAMES]
    rows += [{"concept": "sky", "prompt": "Sky:", "answer": "blue", "split": "probe"}]
    path = tmp_path_factory.mktemp("texts") / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    """A folder with a model whose tokenizer has a chat template."""
    folder = tmp_path_factory.mktemp("models") / "chatty"
    tiny("llama").save_pretrained(folder)
    byte_tokenizer(ends=True, chat=True).save_pretrained(folder)
    return folder


def rows_of(subject, name="sky") -> int:
    recording = ec.record(subject.model, subject.concepts)
    return recording.rows(next(iter(recording.source_of)), name)


def run(*arguments) -> str:
    ran = CliRunner().invoke(app, list(map(str, arguments)))
    assert ran.exit_code == 0, (ran.output, ran.exception)
    return ran.stdout


# -- samples -------------------------------------------------------------------------------------------


def test_a_sample_with_texts_takes_the_positions_asked_for(texts) -> None:
    found = {p: rows_of(ec.load_subject("authors-lm", texts, positions=p)) for p in ("all", "answer")}
    assert 0 < found["answer"] < found["all"] == rows_of(ec.load_subject("authors-lm", texts))
    concepts = ec.load_subject("authors-lm", texts, positions="predict").concepts
    assert isinstance(concepts, LanguageConcepts)
    assert concepts.positions == "predict" and concepts.template is False


def test_an_option_that_is_not_taken_is_named_with_those_that_are(texts, chatty, tmp_path) -> None:
    with pytest.raises(UnknownNameError, match=r"language sample takes no option 'nonsense', 'dtype'"):
        ec.load_subject("authors-lm", texts, positions="answer", nonsense=3, dtype="float32")
    with pytest.raises(
        UnknownNameError, match=r"'nonsense'. It takes positions, template, columns, dtype, device"
    ):
        ec.load_subject(chatty, texts, nonsense=3)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UnknownNameError, match=r"'positions'. It takes held_out, seed"):
        ec.load_subject("digits-mlp", tmp_path / "pictures", positions="all")
    with pytest.raises(DataError, match="pictures holds pictures, and .* is a language model"):
        ec.load_subject(chatty, tmp_path / "pictures", positions="all")


def test_what_a_sample_cannot_do_is_said(texts) -> None:
    with pytest.raises(DataError, match="authors-lm has no chat template"):
        ec.load_subject("authors-lm", texts, template=True)
    with pytest.raises(DataError, match="positions must be one of all, predict, answer; found 'last'"):
        ec.load_subject("authors-lm", texts, positions="last")
    with pytest.raises(DataError, match="digits-mlp is no language model"):
        open_subject("digits-mlp", positions="answer")


def test_a_samples_own_texts_can_be_recorded_otherwise() -> None:
    sample = ec.load_sample("authors-lm")
    changed = with_positions(sample, positions="answer")
    assert changed.concepts.positions == "answer" and changed.concepts.texts is sample.concepts.texts
    assert changed.model is sample.model and sample.concepts.positions == "all"
    assert open_subject("authors-lm", positions="predict").concepts.positions == "predict"


def test_the_template_frames_what_is_recorded_and_what_is_asked(chatty, texts) -> None:
    plain, framed = (ec.load_subject(chatty, texts, template=t) for t in (False, True))
    # The template brings its own beginning: <s> and </s> are gone, and so is the space before the answer.
    extra = len("<|user|>\n<|assistant|>\n") - 3
    assert rows_of(framed) - rows_of(plain) == extra
    assert framed.task.template and framed.concepts.template
    scores = [s.task.measure(s.model, s.concepts).details["nll"]["sky"] for s in (plain, framed)]
    assert scores[0] != pytest.approx(scores[1], abs=1e-3)


# -- the command line ----------------------------------------------------------------------------------


def test_record_and_extract_take_them_and_their_files_say_so(chatty, texts, tmp_path) -> None:
    told = json.loads(
        run("record", chatty, "--texts", texts, "--positions", "answer", "--template", "--json",
            "-o", tmp_path / "r")
    )  # fmt: skip
    rows = next(iter(told["rows"].values()))
    assert rows == sum(len(f"all {name}ish") for name in NAMES)
    run("extract", chatty, "--texts", texts, "--recording", tmp_path / "r", "--cut", "1e-4",
        "--sharpness", "1.5", "--layers", "o_proj,v_proj", "-o", tmp_path / "a")  # fmt: skip
    run("extract", chatty, "--texts", texts, "--positions", "predict", "-o", tmp_path / "b")
    subject = ec.load_subject(chatty, texts)
    for name, positions, template in (("a", "answer", True), ("b", "predict", False)):
        atlas = ec.Atlas.load(tmp_path / name, subject.model)
        about = atlas.about
        assert (about["positions"], about["template"]) == (positions, template)
        assert [row["concept"] for row in about["texts"]] == ["sky", "sky", "grass", "sea"]
        assert about["texts"][1] == {
            "concept": "sky", "split": "probe", "prompt": "Sky:", "answer": "blue",
        }  # fmt: skip
        assert about["settings"]["layers"] == atlas.layers
        assert about["settings"]["sharpness"]["power"] == atlas.sharpness.power
        assert about["settings"]["cut"] == {layer: atlas.spectrum(layer).cut for layer in atlas.layers}
    cut = ec.Atlas.load(tmp_path / "a", subject.model).about["settings"]
    assert len(cut["layers"]) == 4 and set(cut["cut"].values()) == {1e-4}
    assert cut["sharpness"] == {"power": 1.5, "clip": False}


def test_a_recording_made_already_takes_no_positions(chatty, texts, tmp_path) -> None:
    ran = CliRunner().invoke(
        app, ["extract", str(chatty), "--recording", str(tmp_path / "r"), "--positions", "answer"]
    )
    assert isinstance(ran.exception, EngramError) and "engram record" in str(ran.exception)


def test_an_atlas_of_pictures_carries_its_settings(tmp_path) -> None:
    run("extract", "digits-mlp", "-o", tmp_path / "a", "--layers", "fc2")
    about = ec.Atlas.load(tmp_path / "a", ec.load_sample("digits-mlp").model).about
    assert list(about) == ["settings"] and about["settings"]["layers"] == ["fc2"]


@pytest.mark.parametrize(
    "command",
    [
        ["criteria", "--controls", "0"],
        ["sweep", "--strengths", "1", "--sharpness", "1", "--groups", "all"],
        ["erase", "sky"],
        ["map", "--method", "pca"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_that_loads_concepts_hands_the_choice_on(command, chatty, texts, monkeypatch) -> None:
    seen: list[tuple[str, bool]] = []
    record = preparing.record

    def watched(model, concepts, **options):
        seen.append((concepts.positions, concepts.template))
        return record(model, concepts, **options)

    monkeypatch.setattr(preparing, "record", watched)
    name, *rest = command
    options = ["--texts", texts, "--positions", "answer", "--template", "--json"]
    run(name, chatty, *rest, *options)
    assert seen[0] == ("answer", True)


def test_a_recording_keeps_what_was_said_of_it(tmp_path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3))
    recording = ec.record(model, {"a": torch.rand(5, 4), "b": torch.rand(5, 4)})
    assert recording.about == {}
    recording.about = {"texts": ["é"]}
    recording.save(tmp_path / "r")
    assert ec.Recording.load(tmp_path / "r").about == {"texts": ["é"]}
