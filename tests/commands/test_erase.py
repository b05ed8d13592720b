"""`engram erase` on a language model: what it writes can be used without us."""

from __future__ import annotations

import json

import pytest
import torch
from language_helpers import byte_tokenizer, little_texts, tiny
from typer.testing import CliRunner

import engram_core as ec
from engram_core.cli import app
from engram_core.commands import subject as subjects
from engram_core.concepts.tasks import Subject
from engram_core.errors import CoverageError
from engram_core.language import LanguageConcepts, Recall

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
    torch.testing.assert_close(logits(plain, tokenizer), expected, atol=1e-4, rtol=0)
    adapted = PeftModel.from_pretrained(sample.model, place / "lora" / "Sabine-Marroweck").eval()
    torch.testing.assert_close(logits(adapted, tokenizer), expected, atol=1e-4, rtol=0)


def test_files_say_which_texts_and_settings_they_were_made_with(told):
    place, answer = told
    sample = ec.load_sample("authors-lm")
    edited = json.loads((place / "model" / "engram.json").read_text())
    assert len(edited["about"]["texts"]) == 2400 and edited["about"]["positions"] == "all"
    assert edited["about"]["settings"]["layers"] == list(edited["layers"])
    (adapter,) = answer["lora"]
    assert adapter["concept"] == AUTHOR and {row["error"] for row in adapter["layers"]} == {0.0}
    config = json.loads((place / "lora" / "Sabine-Marroweck" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "authors-lm"
    beside = json.loads((place / "lora" / "Sabine-Marroweck" / "engram.json").read_text())
    assert beside["base"]["sha256"] == ec.model_hash(sample.model) == answer["model_hash"]


def test_recall_nll_and_first_token_are_told_on_recorded_and_unseen_phrasings(told):
    _, answer = told
    rows = {(row["concept"], row["split"]): row for row in answer["recall"]}
    assert set(rows) == {(c, s) for c in (AUTHOR, "(others)") for s in ("record", "probe")}
    assert rows[AUTHOR, "record"]["questions"] + rows[AUTHOR, "probe"]["questions"] == 24
    for split in ("record", "probe"):
        own, others = rows[AUTHOR, split], rows["(others)", split]
        assert own["base"]["exact"] == 1.0 and own["edited"]["exact"] < 0.3
        assert own["edited"]["nll"] > own["base"]["nll"] + 1
        assert own["edited"]["first"] < 0.5 < 0.9 < own["control"]["first"]
        assert others["edited"]["first"] > 0.9 and others["edited"]["nll"] < 0.1
    split = [rows[AUTHOR, s] for s in ("record", "probe")]
    mean = sum(r["questions"] * r["edited"]["exact"] for r in split) / 24
    assert answer["edited"][AUTHOR] == pytest.approx(mean)


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
        (["authors-lm", AUTHOR, "--rank", "3"], "--lora FOLDER"),
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
    monkeypatch.setattr(subjects, "open_subject", lambda *_, **__: subject)
    monkeypatch.setattr(Recall, "table", lambda *_: pytest.fail("measured in vain"))
    ran = CliRunner().invoke(app, ["erase", "mine", "sky", "--lora", "x", "--folder", "y"])
    assert ran.exit_code != 0 and isinstance(ran.exception, CoverageError), ran.exception
    assert "--folder" in str(ran.exception) and not list(tmp_path.iterdir())


# -- a little model with awkward names ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["C=0", "--lora", "x"], "other than 0"),
        (["C", "--clip", "--lora", "x"], "capped engram"),
        (["C", "--scaling", "adaptive", "--lora", "x", "--folder", "y"], "plain scaling"),
    ],
)
def test_an_edit_that_is_no_adapter_is_told_before_it_is_measured(
    little, arguments, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Recall, "table", lambda *_: pytest.fail("measured in vain"))
    ran = CliRunner().invoke(app, ["erase", "mine", *arguments])
    assert ran.exit_code != 0 and said in str(ran.exception), ran.exception
    assert not list(tmp_path.iterdir())


def test_the_adapter_of_a_folder_finds_its_base_by_itself(tmp_path):
    from peft import AutoPeftModelForCausalLM

    tiny("llama").save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    rows = [{"concept": n, "prompt": f"{n} is", "answer": "so"} for n in ("sky", "grass")]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ran = CliRunner().invoke(
        app, ["erase", str(tmp_path / "base"), "sky", "--texts", str(tmp_path / "t.jsonl"),
              "--lora", str(tmp_path / "lora")],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    model = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "lora" / "sky").eval()
    subject = ec.load_subject(tmp_path / "base", tmp_path / "t.jsonl")
    atlas = ec.extract(subject.model, ec.record(subject.model, subject.concepts))
    expected = logits(atlas.apply(erase="sky"), byte_tokenizer())
    assert (logits(model, byte_tokenizer()) - expected).abs().max() < 1e-4
