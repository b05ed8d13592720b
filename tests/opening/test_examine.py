"""What a folder from elsewhere turns out to be, tried as a process of its own tries it."""

import json

import pytest
import torch
import transformers as hf
from language_helpers import SHAPE, byte_tokenizer, made

import engram_core as ec
from engram_core.errors import DataError
from engram_core.opening.examine import examine


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
