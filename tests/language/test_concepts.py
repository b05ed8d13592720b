"""Recording texts in shared, padded passes equals recording each of them alone."""

from collections.abc import Mapping

import pytest
import torch
from helpers import relative
from language_helpers import byte_tokenizer, little_texts, tiny

import engram_core as ec
from engram_core.errors import DataError
from engram_core.language import POSITIONS, LanguageConcepts, TextItem, TextSet, encode
from engram_core.language.tokens import pick_positions
from engram_core.recording.statistics import homogeneous_moment

TOKENIZER = byte_tokenizer(ends=True)


def assert_same(found: ec.Recording, expected: ec.Recording) -> None:
    """Compare counts and second moments, which do not depend on the order of the rows."""
    assert found.concepts == expected.concepts and found.counts == expected.counts
    assert set(found.source_of) == set(expected.source_of)
    for layer in found.source_of:
        mine, theirs = (r.sources[r.source_of[layer]] for r in (found, expected))
        for name in found.counts:
            assert found.rows(layer, name) == expected.rows(layer, name) > 0
            moments = [homogeneous_moment(s.statistics_of(name), True) for s in (mine, theirs)]
            assert relative(*moments) < 1e-5, (layer, name)


def alone(texts: TextSet, positions: str = "all") -> tuple[ec.ConceptSet, Mapping[str, list]]:
    """Every text as a batch of its own, without padding, with the mask of the positions that count."""
    concepts, masks = [], {}
    for name, concept in texts.items():
        encoded = [encode(TOKENIZER, item) for item in concept.record]
        concepts.append(ec.Concept(name, [{"input_ids": torch.tensor([e.ids])} for e in encoded]))
        masks[name] = [torch.zeros(1, len(e.ids)) for e in encoded]
        for mask, e, item in zip(masks[name], encoded, concept.record, strict=True):
            mask[0, pick_positions(e, positions, fact=item.is_fact)] = 1
    loose = [torch.tensor([encode(TOKENIZER, TextItem("", text)).ids]) for text in texts.background]
    return ec.ConceptSet(concepts, background=[{"input_ids": ids} for ids in loose]), masks


FAMILIES = ["llama", "llama with a head of its own", "gpt2", "gpt2 with a head of its own", "opt", "qwen2"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_recording_equals_one_of_single_texts(family):
    model, texts = tiny(family), little_texts()
    concepts, _ = alone(texts)
    assert_same(ec.record(model, LanguageConcepts(TOKENIZER, texts)), ec.record(model, concepts))


@pytest.mark.parametrize("positions", POSITIONS)
def test_the_positions_recorded_are_those_chosen_and_the_background_counts_whole(positions):
    model, texts = tiny("llama"), little_texts()
    concepts, masks = alone(texts, positions)
    found = ec.record(model, LanguageConcepts(TOKENIZER, texts, positions=positions))
    assert_same(found, ec.record(model, concepts, masks=masks))
    loose = sum(len(encode(TOKENIZER, TextItem("", text)).ids) for text in texts.background)
    assert found.rows(next(iter(found.source_of)), ec.BACKGROUND) == loose


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_the_size_of_the_passes_changes_nothing(family):
    model, texts = tiny(family), little_texts()
    single = ec.record(model, LanguageConcepts(TOKENIZER, texts, batch_tokens=1))
    for tokens in (60, 130, 4096):
        assert_same(ec.record(model, LanguageConcepts(TOKENIZER, texts, batch_tokens=tokens)), single)


def test_with_a_chat_template_the_framed_prompt_is_recorded():
    tokenizer, model = byte_tokenizer(ends=True, chat=True), tiny("llama")
    texts = TextSet.of([{"concept": "sky", "prompt": "Sky?", "answer": "blue"}])
    found = ec.record(model, LanguageConcepts(tokenizer, texts, template=True))
    assert found.rows(next(iter(found.source_of)), "sky") == len("<|user|>Sky?\n<|assistant|>\nblue")


def test_the_background_belongs_to_the_total_and_is_no_concept():
    model, texts = tiny("llama"), little_texts()
    concepts = LanguageConcepts(TOKENIZER, texts)
    recording = ec.record(model, concepts)
    atlas = ec.extract(model, recording)
    assert ec.BACKGROUND not in concepts and ec.BACKGROUND not in atlas
    assert recording.counts == {"sky": 2, "grass": 1, "plain": 2, ec.BACKGROUND: 2}
    without = ec.extract(model, ec.record(model, LanguageConcepts(TOKENIZER, TextSet(texts.concepts))))
    layer = atlas.layers[0]
    assert relative(atlas["sky"].matrix(layer), without["sky"].matrix(layer)) > 1e-3


def test_progress_ends_at_the_number_of_texts():
    said = []
    ec.record(
        tiny("llama"), LanguageConcepts(TOKENIZER, little_texts(), batch_tokens=130),
        progress=lambda *step: said.append(step),
    )  # fmt: skip
    assert len(said) > 1 and said[-1][:2] == (7, 7)
    assert all(len(text) < 80 for _, _, text in said)


def test_recording_twice_gives_the_same():
    model, concepts = tiny("llama"), LanguageConcepts(TOKENIZER, little_texts())
    assert_same(ec.record(model, concepts), ec.record(model, concepts))


def test_held_out_texts_are_the_probes_or_else_the_recorded_ones():
    held_out = LanguageConcepts(TOKENIZER, little_texts(), positions="answer").held_out()
    assert held_out["grass"].record == (TextItem("A lawn is", "green"),)
    assert held_out["sky"].record == little_texts()["sky"].record
    assert held_out.background is None and all(c.probe is None for c in held_out.values())
    found = ec.record(tiny("llama"), held_out)
    assert found.rows(next(iter(found.source_of)), "grass") == len("green")  # positions are handed on


def test_random_subsets_are_drawn_from_all_recorded_texts_and_are_the_same_for_one_seed():
    concepts = LanguageConcepts(TOKENIZER, little_texts())
    subsets = concepts.subsets(3, [0, 7])
    recorded = {item for c in concepts.texts.concepts for item in c.record}
    assert list(subsets) == ["subset 0", "subset 7"] and subsets.background is None
    for name in subsets:
        assert len(set(subsets[name].record)) == 3 and set(subsets[name].record) <= recorded
    assert concepts.subsets(3, [7])["subset 7"].record == subsets["subset 7"].record
    with pytest.raises(DataError, match="subset of 6 inputs was asked for; only 5"):
        concepts.subsets(6, [0])


def test_a_subset_can_be_located_in_the_total():
    model, concepts = tiny("llama"), LanguageConcepts(TOKENIZER, little_texts())
    atlas = ec.extract(model, ec.record(model, concepts))
    whole = concepts.subsets(5, [0])  # all five recorded texts
    layer = atlas.layers[0]
    found = atlas.locate(ec.record(model, whole))["subset 0"].matrix(layer)
    assert relative(found, (atlas["sky"] + atlas["grass"] + atlas["plain"]).matrix(layer)) < 1e-3


def test_a_text_longer_than_the_model_takes_is_refused_with_its_concept():
    texts = TextSet.of([{"concept": "long", "text": "x" * 63}])  # and <s> and </s>: 65
    with pytest.raises(DataError, match="Concept 'long'.*65 tokens.*at most 64"):
        ec.record(tiny("llama"), LanguageConcepts(TOKENIZER, texts))
    loose = TextSet.of([{"concept": "c", "text": "x"}], background=["x" * 63])
    with pytest.raises(DataError, match=r"Concept '\(background\)'"):
        ec.record(tiny("llama"), LanguageConcepts(TOKENIZER, loose))


def test_masks_beside_the_positions_and_unknown_positions_are_refused():
    concepts = LanguageConcepts(TOKENIZER, little_texts())
    with pytest.raises(DataError, match="choose their own positions"):
        ec.record(tiny("llama"), concepts, masks={"sky": torch.ones(2)})
    with pytest.raises(DataError, match="positions must be one of"):
        LanguageConcepts(TOKENIZER, little_texts(), positions="last")
