"""What the task of recall tells beyond one share per concept, and that asking twice asks the same."""

import importlib

import pandas as pd
import pytest

import engram_core as ec
from engram_core.concepts.tasks import Subject
from engram_core.errors import DataError
from engram_core.language import (
    LanguageConcepts,
    Recall,
    recall,
)


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


def test_the_task_gives_the_share_of_exact_answers_of_the_split_asked_for(authors):
    name, other = list(authors.texts)[:2]
    view = authors.atlas.apply(erase={name: 1.0})
    tokenizer = authors.sample.concepts.tokenizer
    table = recall(view, tokenizer, authors.texts, concepts=[name, other])
    for split in ("record", "probe", "all"):
        part = table if split == "all" else table[table["split"] == split]
        task = Recall(tokenizer, authors.texts, split=split)
        scores = task.measure(view, authors.sample.concepts, [name, other])
        assert dict(scores.score) == {n: part[part["concept"] == n]["exact"].mean() for n in (name, other)}
