"""A model goes on writing, within its own limits and without a trace of it left in the model."""

import pytest
import torch
from language_helpers import tiny
from transformers import GPT2Config, GPT2LMHeadModel
from writing import TOKENIZER, by_hand, written

from engram_core.errors import DataError
from engram_core.language import (
    generate,
)


def test_the_model_s_own_limit_ends_the_text_and_a_longer_prompt_is_refused():
    model = tiny("llama")  # takes 64 tokens
    found = list(generate(model, TOKENIZER, "x" * 60, max_new_tokens=20))
    assert len(found) == 4 and found[-1].end == "limit"
    with pytest.raises(DataError, match="64 tokens and this model takes at most 64"):
        generate(model, TOKENIZER, "x" * 64)


def test_dropout_of_a_model_in_training_is_not_drawn_and_its_mode_stays():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=24, n_layer=2, n_head=2, n_positions=64))
    assert model.training
    found = written(generate(model, TOKENIZER, "abc", max_new_tokens=10))
    assert all(m.training for m in model.modules())
    assert found == by_hand(model.eval(), "abc", 10)
