"""Which tokens, layers and modules carry a concept: against dense matrices and hooks."""

import threading

import pytest
import torch
from language_helpers import byte_tokenizer, little_texts, tiny
from transformers import MixtralConfig, MixtralForCausalLM

import engram_core as ec
from engram_core.errors import EngramError, UnknownNameError
from engram_core.language import LanguageConcepts, TextSet, module_energy, module_kinds, reactivation_map

TOKENIZER = byte_tokenizer()
TEXT = "By day the sky is blue"


def atlas_of(model, texts=None, **options):
    recording = ec.record(model, LanguageConcepts(TOKENIZER, texts or little_texts()))
    return ec.extract(model, recording, **options)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "qwen2"])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_map_is_the_ratio_of_dense_answers(family, power):
    model = tiny(family)
    atlas = atlas_of(model, sharpness=power)
    table = reactivation_map(model, atlas, "sky", TOKENIZER, TEXT)
    heard, ids = {}, TOKENIZER(TEXT)["input_ids"]
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _m, args, name=name: heard.update({name: args[0].detach().reshape(-1, args[0].shape[-1])})
        )
        for name in atlas.layers
    ]
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    assert list(table["layer"].unique()) == atlas.layers
    for layer, frame in table.groupby("layer"):
        x = heard[layer].double()
        if atlas.linear_map(layer).bias:
            x = torch.cat([x, x.new_ones(len(x), 1)], 1)
        engram, matrix = atlas["sky"].matrix(layer)[0].double(), atlas.matrix(layer)[0].double()
        expected = (x @ engram.mT).norm(dim=1) / (x @ matrix.mT).norm(dim=1)
        assert frame["ratio"].to_numpy() == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-5)
        assert "".join(frame["token"]) == TEXT and list(frame["position"]) == list(range(len(ids)))


def test_a_concept_that_is_all_there_is_reactivates_its_own_text_fully():
    model = tiny("llama")
    texts = TextSet.of([{"concept": "all", "text": TEXT}])
    table = reactivation_map(model, atlas_of(model, texts), "all", TOKENIZER, TEXT)
    assert table["ratio"].to_numpy() == pytest.approx(1.0, abs=1e-3)


def test_experts_have_rows_for_the_tokens_they_were_sent():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MixtralForCausalLM(
            MixtralConfig(
                vocab_size=300, hidden_size=24, intermediate_size=32, num_hidden_layers=1,
                num_attention_heads=2, num_key_value_heads=1, num_local_experts=4, num_experts_per_tok=2,
                initializer_range=0.2, max_position_embeddings=64,
            )
        ).eval()  # fmt: skip
    atlas = atlas_of(model)
    table = reactivation_map(model, atlas, "sky", TOKENIZER, TEXT)
    routed = table[table["layer"].str.contains(r"gate_up_proj\[")]
    assert routed.groupby("position")["layer"].nunique().to_list() == [2] * len(TOKENIZER(TEXT)["input_ids"])
    assert (table["ratio"] >= 0).all() and table["ratio"].max() > 0.1


def test_the_map_leaves_the_model_as_it_was_and_stops_when_told():
    model = tiny("gpt2")
    atlas, event = atlas_of(model), threading.Event()
    one = reactivation_map(model, atlas, "sky", TOKENIZER, TEXT, layers=atlas.layers[1:2])
    assert list(one["layer"].unique()) == atlas.layers[1:2]
    assert not any(m._forward_pre_hooks for m in model.modules())
    event.set()
    assert reactivation_map(model, atlas, "sky", TOKENIZER, TEXT, stop=event).empty
    edited = atlas.apply(erase="sky")
    assert reactivation_map(edited, atlas, "sky", TOKENIZER, TEXT, layers=atlas.layers[1:2]).equals(one)


def test_unknown_names_and_texts_too_long_are_refused():
    model = tiny("llama")
    atlas = atlas_of(model)
    with pytest.raises(UnknownNameError, match="'sea'"):
        reactivation_map(model, atlas, "sea", TOKENIZER, TEXT)
    with pytest.raises(EngramError, match="at most 64"):
        reactivation_map(model, atlas, "sky", TOKENIZER, "x" * 65)
    with pytest.raises(EngramError, match="another model"):
        reactivation_map(tiny("qwen2"), atlas, "sky", TOKENIZER, TEXT)
    with pytest.raises(UnknownNameError):
        module_energy(atlas, "sea")


@pytest.mark.parametrize(
    ("family", "kinds"),
    [
        ("llama", {"q", "k", "v", "o", "gate", "up", "down"}),
        ("gpt2", {"c_attn", "attention c_proj", "c_fc", "mlp c_proj"}),
        ("opt", {"q", "k", "v", "out", "fc1", "fc2"}),
    ],
)
def test_modules_have_the_names_their_family_gives_them(family, kinds):
    atlas = atlas_of(tiny(family))
    table = module_energy(atlas, "grass")
    assert set(table["module"]) == kinds
    assert list(table["layer"]) == atlas.layers
    assert table.groupby("block").size().to_list() == [len(kinds)] * 2
    whole = atlas.energy().query("concept == 'grass'")
    assert table["relative"].to_list() == whole["relative"].to_list()
    assert module_kinds(["lm_head", "model.layers.0.mlp.up_proj"]) == {
        "lm_head": "lm_head", "model.layers.0.mlp.up_proj": "up",
    }  # fmt: skip
