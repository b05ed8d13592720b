"""What a folder from elsewhere turns out to be, tried as a process of its own tries it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers as hf
from language_helpers import SHAPE, byte_tokenizer, made

import engram_core as ec
from engram_core.errors import DataError, EngramError
from engram_core.opening import examine as module
from engram_core.opening.examine import Examined, content_of, examination_limits, examine, is_path


def test_a_folder_that_does_not_continue_texts_is_recorded_and_has_no_pages(tmp_path) -> None:
    made(lambda: hf.BertLMHeadModel(hf.BertConfig(**SHAPE))).save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    rows = [{"concept": c, "prompt": f"The {c} is", "answer": f"x{c}"} for c in ("sky", "sea")]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    subject = ec.load_subject(tmp_path / "model", tmp_path / "t.jsonl")
    assert ec.record(subject.model, subject.concepts).counts == {"sky": 1, "sea": 1}
    with pytest.raises(DataError, match="^BertLMHeadModel does not continue a text"):
        subject.task.measure(subject.model, subject.concepts)
    with pytest.raises(DataError, match="^BertLMHeadModel does not continue a text"):
        examine(
            str(tmp_path / "model"), str(tmp_path / "t.jsonl"), {}, most_concepts=9,
            threads=torch.get_num_threads(), report=lambda _: None,
        )  # fmt: skip


@pytest.fixture
def plain(saved, tmp_path) -> tuple[str, str]:
    """A model folder of this test's own and a file of texts."""
    model = tmp_path / "model"
    shutil.copytree(saved, model)
    rows = [{"concept": c, "prompt": f"The {c} is", "answer": f"x{c}"} for c in ("sky", "sea")]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(model), str(tmp_path / "t.jsonl")


def tried(plain: tuple[str, str], most: int = 9, report=lambda _: None) -> dict:
    return examine(*plain, {}, most_concepts=most, threads=torch.get_num_threads(), report=report)


def test_what_was_tried_comes_back_as_json_with_what_it_was_made_of(plain) -> None:
    told: list[str] = []
    answer = json.loads(json.dumps(tried(plain, report=told.append)))
    found = Examined.of(answer)
    assert found.check.ok and list(found.check.concepts["concept"]) == ["sky", "sea"]
    assert found.content == content_of(*plain)
    assert found.model == ec.model_hash(ec.load_subject(*plain).model)
    assert told[0].startswith("Reading") and told[-1].startswith("Comparing")


@pytest.mark.parametrize("answer", [None, {}, {"check": 3}, {"check": {"layers": {}}}, [1]])
def test_an_answer_of_another_form_is_told(answer) -> None:
    with pytest.raises(EngramError, match="no answer that can be understood"):
        Examined.of(answer)


def test_too_many_concepts_for_the_pages_are_told(plain) -> None:
    with pytest.raises(DataError, match="There are 2 concepts; these pages show at most 1"):
        tried(plain, most=1)


def test_a_file_that_is_changed_while_it_is_read_is_told(plain) -> None:
    def change(text: str) -> None:
        if text.startswith("A few inputs"):
            Path(plain[1]).write_text('{"concept": "sky", "text": "another"}', encoding="utf-8")

    with pytest.raises(DataError, match="changed while they were read"):
        tried(plain, report=change)


def test_the_content_is_of_every_file_that_is_read_and_of_no_other(plain) -> None:
    model, concepts = plain
    before = content_of(model, concepts)
    (Path(model) / "notes.md").write_text("not read")
    assert content_of(model, concepts) == before
    Path(concepts).write_text("x", encoding="utf-8")
    changed = content_of(model, concepts)
    (Path(model) / "config.json").write_text("{}", encoding="utf-8")
    assert len({before, changed, content_of(model, concepts)}) == 3


def test_a_folder_of_concepts_counts_with_all_its_files_and_what_is_nowhere_with_none(tmp_path) -> None:
    nothing = content_of("nobody/has-this", str(tmp_path / "none"))
    assert nothing == content_of("nobody/has-this", "\0") and not is_path("\0")
    (tmp_path / "p" / "cat").mkdir(parents=True)
    (tmp_path / "p" / "cat" / "0.png").write_bytes(b"x" * 2048)
    assert content_of("nobody/has-this", str(tmp_path / "p")) != nothing and is_path(str(tmp_path / "p"))


def test_limits_follow_the_sizes_of_weights_and_concepts(plain, tmp_path, monkeypatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(module.Limits, "for_bytes", lambda *sizes: asked.append(sizes))
    weights = sum(f.stat().st_size for f in Path(plain[0]).glob("*.safetensors"))
    examination_limits(*plain)
    examination_limits("digits-mlp", str(tmp_path / "none"))
    examination_limits("nobody/has-this", "\0")
    examination_limits(str(next(Path(plain[0]).glob("*.safetensors"))), plain[0])
    folder = sum(f.stat().st_size for f in Path(plain[0]).iterdir())
    texts = Path(plain[1]).stat().st_size
    assert asked == [(weights, texts), (1 << 30, 0), (0, 0), (weights, folder)]
