"""A check-up says before the work what the work then finds."""

from __future__ import annotations

import json

import pytest
import torch
from language_helpers import broken, byte_tokenizer, little_texts, merging_tokenizer, tiny

import engram_core as ec
from engram_core.language import (
    LanguageConcepts,
    TextSet,
)
from engram_core.opening import checkup
from engram_core.opening.checkup import CheckUp, check_up


def test_the_check_up_counts_rows_and_layers_as_recording_then_finds_them() -> None:
    model, concepts = tiny("llama"), LanguageConcepts(byte_tokenizer(), little_texts())
    found = check_up(model, concepts)
    recording = ec.record(model, concepts)
    atlas = ec.extract(model, recording)
    layers = found.layers.set_index("layer")
    for info in recording.layers:
        assert (
            bool(layers.loc[info.name, "covered"]) == info.covered
            and layers.loc[info.name, "reason"] == info.reason
        )
    for layer in recording.source_of:
        spectrum = atlas.spectrum(layer)
        assert layers.loc[layer, "rows"] == spectrum.count and layers.loc[layer, "form"] == spectrum.form
    rows = found.concepts.set_index("concept")["rows"]
    first = next(iter(recording.source_of))
    assert {name: rows[name] for name in concepts} == {name: recording.rows(first, name) for name in concepts}
    assert found.ok and found.parameters == sum(p.numel() for p in model.parameters())
    shared = set(layers.index[layers["shares"] != ""])
    followers = ("self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj")
    assert shared == {f"model.layers.{block}.{name}" for block in (0, 1) for name in followers}
    held = recording.nbytes
    assert held <= found.memory_bytes <= 20 * held
    assert 0 < found.seconds < 60


def test_the_check_up_names_every_text_that_cannot_be_used_at_once() -> None:
    texts = TextSet.of(
        [
            {"concept": "fine", "text": "short"},
            {"concept": "long", "text": "x" * 65},
            {"concept": "long", "text": "short"},
            {"concept": "asked", "prompt": "p", "answer": "a"},
            {"concept": "asked", "prompt": "y" * 70, "answer": "a", "split": "probe"},
        ]
    )
    found = check_up(tiny("llama"), LanguageConcepts(byte_tokenizer(), texts))
    assert len(found.problems) == 2 and not found.ok
    assert found.problems[0].startswith("long, text 1") and "65 tokens" in found.problems[0]
    assert found.problems[1].startswith("asked, text 1") and "at most 64" in found.problems[1]


def test_the_check_up_tells_of_nan_and_of_models_without_layers_without_raising() -> None:
    concepts = LanguageConcepts(byte_tokenizer(), little_texts())
    found = check_up(broken("model.layers.0.self_attn.v_proj"), concepts)
    assert len(found.problems) == 1 and "reads NaN" in found.problems[0]
    assert (found.layers["bytes"] == 0).all()
    found = check_up(torch.nn.Sequential(torch.nn.LSTM(4, 3)), {"a": torch.zeros(3, 5, 4)})
    assert any("no layer that can hold an engram" in p for p in found.problems)
    assert any("one concept" in note for note in found.notes)


def test_the_check_up_lists_the_prompts_that_cannot_be_asked() -> None:
    rows = [
        {"concept": "sky", "prompt": "Up is", "answer": "red"},
        {"concept": "sky", "prompt": "The sky is", "answer": "blue"},
        {"concept": "sea", "prompt": "The sea is", "answer": "red"},
        {"concept": "sea", "prompt": "Water is", "answer": "blue", "split": "probe"},
        {"concept": "sea", "text": "It is blue"},
    ]
    concepts = LanguageConcepts(merging_tokenizer(), TextSet.of(rows))
    found = ec.check_up(tiny("llama"), concepts)
    assert len(found.problems) == 2 and not found.ok
    assert found.problems[0].startswith(
        "Concept 'sky', record 2: the prompt 'The sky is' ends inside a token"
    )
    assert found.problems[1].startswith("Concept 'sea', probe 1: the prompt 'Water is' ends inside a token")
    # They are recorded all the same, and counted as they will be.
    recording = ec.record(tiny("llama"), concepts)
    counted = found.concepts.set_index("concept")
    assert {n: counted.loc[n, "inputs"] for n in ("sky", "sea")} == recording.counts == {"sky": 2, "sea": 2}
    first = next(iter(recording.source_of))
    assert all(counted.loc[name, "rows"] == recording.rows(first, name) for name in ("sky", "sea"))


CONCEPTS = {"big": torch.randn(30, 4), "little": torch.randn(3, 4)}


def test_a_check_up_goes_through_json_and_comes_back_the_same() -> None:
    found = check_up(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3)), CONCEPTS)
    told = json.loads(json.dumps(found.state(), allow_nan=False))
    again = CheckUp.restore(told)
    assert again.state() == found.state() and again.ok and again.seconds == found.seconds
    assert again.notes == found.notes and isinstance(again.parameters, int)
    assert list(again.layers["layer"]) == list(found.layers["layer"])
    assert again.layers["covered"].tolist() == [True, False]


def test_the_check_up_notes_what_would_mislead() -> None:
    notes = check_up(torch.nn.Linear(4, 3), CONCEPTS).notes
    assert any("Concept 'big' is 91% of all rows" in note for note in notes)
    assert any("2 concepts have nothing held out to measure on ('big', 'little')" in note for note in notes)


def test_the_check_up_says_when_memory_will_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "free_bytes", lambda: 10)
    found = check_up(torch.nn.Linear(4, 3), CONCEPTS)
    assert len(found.problems) == 1 and "0.0 GB are free. Take fewer concepts" in found.problems[0]
    monkeypatch.setattr(checkup, "free_bytes", lambda: None)
    assert check_up(torch.nn.Linear(4, 3), CONCEPTS).ok


def test_inputs_that_can_be_read_only_once_and_none_at_all_are_told() -> None:
    found = check_up(torch.nn.Linear(4, 3), {"once": iter([torch.randn(3, 4)]), "fine": torch.randn(3, 4)})
    assert any("Concept 'once': its inputs can be read only once" in said for said in found.problems)
