"""The engrams of a little Llama, as the tests of adapters take them, and one that knows half its answers."""

import pytest
import torch
from adapters import atlas_of
from language_helpers import byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

import engram_core as ec
from engram_core.language import TextConcept, TextItem, TextSet


@pytest.fixture(scope="module")
def llama() -> ec.Atlas:
    return atlas_of("llama")


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
