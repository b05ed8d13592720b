"""Every family of causal language models the product promises: recorded, solved, edited, switched off."""

from __future__ import annotations

import pytest
import torch
from families import CONFIGS, build
from helpers import relative
from language_helpers import byte_tokenizer, little_texts
from torch import Tensor, nn

import engram_core as ec
from engram_core.language import LanguageConcepts, TextSet, recall
from engram_core.language.hub import load_language_model
from engram_core.models.linear_maps.expert_ports import OpenExperts

# Bare parameters that are no linear map, or tables: what may stay out, and the word its reason must have.
_OUT = ("embedding", "normalisation", "router", "tied", "GptOssAttention")


class Made:
    """A model with its recording and engrams."""

    def __init__(self, family: str):
        self.family = family
        self.model = build(family)
        # No background, so that the concepts are all there is.
        texts = TextSet(little_texts().concepts)
        self.concepts = LanguageConcepts(byte_tokenizer(), texts)
        self.recording = ec.record(self.model, self.concepts)
        self.atlas = ec.extract(self.model, self.recording)
        self.ids = torch.tensor([byte_tokenizer()("The sky is blue")["input_ids"]])
        self.base = self.logits(self.model)

    def logits(self, model: nn.Module) -> Tensor:
        with torch.no_grad():
            return model(input_ids=self.ids, use_cache=False).logits


@pytest.fixture(scope="module", params=list(CONFIGS))
def made(request) -> Made:
    return Made(request.param)


def test_every_layer_is_covered_or_named_with_its_reason(made: Made) -> None:
    listed = {info.name: info for info in ec.list_layers(made.model)}
    for name, module in made.model.named_modules():
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        mine = [i for n, i in listed.items() if n == name or n.startswith(f"{name}.") and "[" in n]
        assert mine, name
        for info in mine:
            assert info.covered != bool(info.reason)
            if not info.covered:
                assert any(word in info.reason for word in _OUT), (info.name, info.reason)
    linear = [n for n, m in made.model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"]
    assert set(linear) <= {i.name for i in listed.values() if i.covered}
    skipped = [i for i in made.atlas.coverage if not i.covered]
    assert all(i.reason for i in skipped) and set(made.atlas.layers).isdisjoint(i.name for i in skipped)


def test_the_engrams_sum_to_the_weights_on_the_span_of_the_rows(made: Made) -> None:
    for layer in made.atlas.layers:
        matrix = made.atlas.matrix(layer)
        parts = sum(made.atlas[concept].matrix(layer) for concept in made.atlas)
        assert relative(parts, made.atlas.spectrum(layer).inside(matrix)) < 2e-3, layer


def test_keeping_every_concept_gives_the_base_back_where_its_rows_were_recorded(made: Made) -> None:
    view = made.atlas.apply(keep=list(made.atlas))
    assert relative(made.logits(view), made.base) < 2e-2
    assert relative(made.logits(made.atlas.apply(keep={"sky": 1e-6})), made.base) > 0.1


def test_erasing_shows_and_off_is_the_base_bit_for_bit(made: Made) -> None:
    before = {n: p.detach().clone() for n, p in made.model.named_parameters()}
    view = made.atlas.apply(erase={"sky": 1.0})
    control = ec.live_edit(view)
    edited = made.logits(view)
    assert relative(edited, made.base) > 0.05
    control.set(erase={"sky": 0.5, "grass": -0.3})
    assert not torch.allclose(made.logits(view), edited)
    control.set(erase={"sky": 1.0})
    assert torch.equal(made.logits(view), edited)
    assert torch.equal(made.logits(control.off()._view), made.base)
    assert not any(isinstance(m, OpenExperts) for m in view.modules())
    assert torch.equal(made.logits(made.model), made.base)
    assert all(torch.equal(p, before[n]) for n, p in made.model.named_parameters())


def test_the_saved_model_is_loaded_as_it_is(made: Made, tmp_path) -> None:
    made.model.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    loaded, _ = load_language_model(tmp_path)
    assert ec.model_hash(loaded) == ec.model_hash(made.model)


def test_recall_is_scored_and_falls_apart_or_not_but_is_a_number(made: Made) -> None:
    texts = little_texts()
    for model in (made.model, made.atlas.apply(erase={"sky": 1.0})):
        table = recall(model, byte_tokenizer(), texts)
        assert len(table) == 4 and table["nll"].between(0, 100).all() and table["first"].between(0, 1).all()
    before, after = (recall(m, byte_tokenizer(), texts)["nll"] for m in (made.model, model))
    assert not before.equals(after)


def test_a_baked_model_answers_as_the_view(made: Made) -> None:
    view = made.atlas.apply(erase={"sky": 0.7, "plain": 0.2})
    assert relative(made.logits(ec.bake(view)), made.logits(view)) < 1e-4
    assert torch.equal(made.logits(made.model), made.base)
