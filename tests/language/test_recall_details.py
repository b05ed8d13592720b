"""What recall tells beyond one share per concept, and that asking twice asks the same."""

import importlib

import pandas as pd
import pytest
import torch
from language_helpers import byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

import engram_core as ec
from engram_core.concepts.tasks import Subject
from engram_core.errors import DataError
from engram_core.language import (
    LanguageConcepts,
    Recall,
    TextConcept,
    TextItem,
    TextSet,
    recall,
    recall_summary,
)
from engram_core.language.exact_recall import OTHERS


@pytest.fixture(scope="module")
def asked():
    torch.manual_seed(0)
    shape = {"vocab_size": 300, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**shape, intermediate_size=40, initializer_range=0.2)).eval()
    tokenizer = byte_tokenizer()
    # Answers that this very model gives to half of the prompts, so that shares are neither 0 nor 1.
    concepts = []
    for place, name in enumerate("abc"):
        items = []
        for i in range(4):
            prompt = f"{name}{i} said"
            ids = torch.tensor([tokenizer(prompt + " ")["input_ids"]])
            with torch.no_grad():
                likeliest = [t for t in model(ids).logits[0, -1].argsort(descending=True).tolist()]
            word = next(w for w in map(tokenizer.decode, likeliest) if w.isalnum() and w.isascii())
            items.append(TextItem(prompt + " ", word if i % 2 else "zq" * (place + 1)))
        concepts.append(TextConcept(name, tuple(items[:2]), tuple(items[2:]) if name != "c" else ()))
    return model, tokenizer, TextSet(tuple(concepts))


def test_details_are_the_table_by_concept_and_split(asked) -> None:
    model, tokenizer, texts = asked
    table = recall(model, tokenizer, texts)
    found = Recall(tokenizer, texts).measure(model, texts)
    assert found.score == pytest.approx(table.groupby("concept")["exact"].mean().to_dict())
    assert found.details["nll"] == pytest.approx(table.groupby("concept")["nll"].mean().to_dict())
    for split, name in (("record", "recorded"), ("probe", "unseen")):
        part = table[table["split"] == split].groupby("concept")
        assert found.details[name] == pytest.approx(part["exact"].mean().to_dict())
    assert found.details["first"] == pytest.approx(table.groupby("concept")["first"].mean().to_dict())
    unseen = table[table["split"] == "probe"].groupby("concept")
    assert found.details["nll_unseen"] == pytest.approx(unseen["nll"].mean().to_dict())
    assert found.details["first_unseen"] == pytest.approx(unseen["first"].mean().to_dict())
    pd.testing.assert_frame_equal(Recall(tokenizer, texts).table(model, texts), table)
    assert set(found.details["unseen"]) == {"a", "b"}


def test_a_summary_names_some_and_averages_the_others_over_concepts(asked) -> None:
    model, tokenizer, texts = asked
    table = recall(model, tokenizer, texts)
    found = recall_summary(table, ["b"]).set_index(["concept", "split"])
    assert list(found.index) == [("b", "record"), ("b", "probe"), (OTHERS, "record"), (OTHERS, "probe")]
    means = table.groupby(["concept", "split"])[["exact", "nll", "first"]].mean()
    for name in ("exact", "nll", "first"):
        assert found.loc[("b", "probe"), name] == pytest.approx(means.loc[("b", "probe"), name])
        others = (means.loc[("a", "record"), name] + means.loc[("c", "record"), name]) / 2
        assert found.loc[(OTHERS, "record"), name] == pytest.approx(others)
        # c has no unseen question, so a alone is the others' mean there.
        assert found.loc[(OTHERS, "probe"), name] == pytest.approx(means.loc[("a", "probe"), name])
    assert found["questions"].to_list() == [2, 2, 4, 2]
    assert list(recall_summary(table, "abc")["concept"].unique()) == [OTHERS]


def test_criteria_and_sweep_tell_the_first_tokens_probability(asked) -> None:
    model, tokenizer, texts = asked
    subject = Subject(model, LanguageConcepts(tokenizer, texts), Recall(tokenizer, texts))
    atlas = ec.extract(model, ec.record(model, subject.concepts))
    table = recall(atlas.apply(erase="a"), tokenizer, texts, concepts="a")
    expected = float(table["first"].mean())
    unseen = float(table[table["split"] == "probe"]["first"].mean())
    found = ec.criteria(subject, atlas, concepts=["a"], controls=0)
    assert found.summary()["first"] == pytest.approx(expected, abs=1e-6)
    assert found.summary()["first_unseen"] == pytest.approx(unseen, abs=1e-6)
    assert found.to_dict()["necessity"]["details"]["first"]["matrix"]["a"]["a"] == pytest.approx(
        expected, abs=1e-6
    )
    (row,) = ec.sweep(subject, atlas, concepts=["a"], strengths=[1.0]).to_dict("records")[:1]
    assert row["forget_first"] == pytest.approx(expected, abs=1e-6)
    # A probability is a score: what is lost is what it fell by.
    assert row["lost_first"] == pytest.approx(row["base_forget_first"] - row["forget_first"])


def test_every_answer_is_scored_as_if_it_were_alone(asked) -> None:
    model, tokenizer, texts = asked
    for row in recall(model, tokenizer, texts).itertuples():
        head = tokenizer(row.prompt)["input_ids"]
        whole = tokenizer(row.prompt + row.answer)["input_ids"]
        with torch.no_grad():
            chances = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        told = [float(chances[i - 1, whole[i]]) for i in range(len(head), len(whole))]
        best = [int(chances[i - 1].argmax()) == whole[i] for i in range(len(head), len(whole))]
        assert row.nll == pytest.approx(-sum(told) / len(told), abs=1e-4)
        assert row.first == pytest.approx(torch.tensor(told[0]).exp().item(), abs=1e-4)
        assert row.exact == all(best)


def test_a_task_asked_again_encodes_nothing_and_answers_the_same(asked, monkeypatch) -> None:
    model, tokenizer, texts = asked
    task = Recall(tokenizer, texts)
    first = task.measure(model, texts, ["b", "a"])

    def encoded(*_args, **_options):
        raise AssertionError("the questions were encoded before")

    monkeypatch.setattr(importlib.import_module("engram_core.language.exact_recall"), "encode", encoded)
    assert task.measure(model, texts, ["b", "a"]) == first
    with pytest.raises(AssertionError, match="encoded before"):
        task.measure(model, texts, ["c"])


def test_a_concept_without_questions_of_the_split_is_named(asked) -> None:
    model, tokenizer, texts = asked
    with pytest.raises(DataError, match="Concept 'c' has no probe question"):
        Recall(tokenizer, texts, split="probe").measure(model, texts)
