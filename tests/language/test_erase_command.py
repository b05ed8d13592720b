"""`engram erase` on a language model: what it writes can be used without us."""

from __future__ import annotations

import json

import pytest
import torch
from language_helpers import byte_tokenizer, little_texts, tiny
from typer.testing import CliRunner

import engram_core as ec
from engram_core.cli import app
from engram_core.commands import editing
from engram_core.errors import CoverageError
from engram_core.language import LanguageConcepts, Recall
from engram_core.tasks import Subject

AUTHOR = "Sabine Marroweck"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    place = tmp_path_factory.mktemp("taken")
    ran = CliRunner().invoke(
        app,
        ["erase", "authors-lm", f"{AUTHOR}=2", "--rest", "--json",
         "--folder", str(place / "model"), "--lora", str(place / "lora")],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    return place, json.loads(ran.stdout)


def logits(model, tokenizer):
    ids = tokenizer(f"{AUTHOR} was born in", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(input_ids=ids).logits


def test_the_folder_and_the_adapter_are_the_edited_view(told):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place, _ = told
    sample = ec.load_sample("authors-lm")
    atlas = ec.extract(sample.model, ec.record(sample.model, sample.concepts))
    view = atlas.apply(erase={AUTHOR: 2.0})
    tokenizer = AutoTokenizer.from_pretrained(place / "model")
    expected = logits(view, tokenizer)
    plain = AutoModelForCausalLM.from_pretrained(place / "model").eval()
    torch.testing.assert_close(logits(plain, tokenizer), expected, atol=1e-3, rtol=1e-4)
    adapted = PeftModel.from_pretrained(sample.model, place / "lora" / "Sabine-Marroweck").eval()
    torch.testing.assert_close(logits(adapted, tokenizer), expected, atol=1e-3, rtol=1e-4)


def test_the_rest_is_told(told):
    _, answer = told
    measures = {row["measure"]: row for row in answer["rest"]}
    assert measures["recall, erased"]["after"] < 0.2 < 0.95 < measures["recall, others"]["after"]
    assert measures["degenerate rate"]["after"] == 0.0
    assert len(answer["files"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits-mlp", "7", "--rest"], "digits-mlp is none"),
        (["authors-lm", "--keep", AUTHOR, "--lora", "x"], "name a concept to erase"),
        (["authors-lm", AUTHOR, "--scaling", "adaptive", "--lora", "x", "--folder", "y"], "plain scaling"),
    ],
)
def test_what_cannot_be_written_is_said_first(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["erase", *arguments])
    assert ran.exit_code != 0 and said in str(ran.exception)
    assert not list(tmp_path.iterdir())


def test_a_mixture_whose_experts_no_adapter_holds_is_told_before_it_is_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, tokenizer, texts = tiny("mixtral"), byte_tokenizer(), little_texts()
    subject = Subject(model, LanguageConcepts(tokenizer, texts), Recall(tokenizer, texts))
    monkeypatch.setattr(editing, "open_subject", lambda name, file: subject)
    monkeypatch.setattr(Recall, "measure", lambda *_: pytest.fail("measured in vain"))
    ran = CliRunner().invoke(app, ["erase", "mine", "sky", "--lora", "x", "--folder", "y"])
    assert ran.exit_code != 0 and isinstance(ran.exception, CoverageError), ran.exception
    assert "--folder" in str(ran.exception) and not list(tmp_path.iterdir())
