"""Untrained models of every family of causal language models that the product promises."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from torch import nn

_SIZE = {"vocab_size": 300, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
_WIDE = {**_SIZE, "intermediate_size": 40, "max_position_embeddings": 64, "initializer_range": 0.2}
_KEYS = {**_WIDE, "num_key_value_heads": 1, "head_dim": 12}
_ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

CONFIGS: dict[str, Any] = {
    "llama": lambda: hf.LlamaConfig(**_WIDE),
    "mistral": lambda: hf.MistralConfig(**_KEYS),
    "qwen2": lambda: hf.Qwen2Config(**_WIDE, num_key_value_heads=1),
    "qwen3": lambda: hf.Qwen3Config(**_KEYS, tie_word_embeddings=True),
    "gemma2": lambda: hf.Gemma2Config(**_KEYS, query_pre_attn_scalar=12),
    "gemma3": lambda: hf.Gemma3TextConfig(**_KEYS, query_pre_attn_scalar=12),
    "phi3": lambda: hf.Phi3Config(**_WIDE, num_key_value_heads=1, **_ENDS),
    "gpt2": lambda: hf.GPT2Config(
        vocab_size=300, n_embd=24, n_layer=2, n_head=2, n_positions=64, initializer_range=0.2
    ),
    "gpt-neox": lambda: hf.GPTNeoXConfig(**_WIDE),
    "opt": lambda: hf.OPTConfig(
        **_SIZE, ffn_dim=40, init_std=0.2, max_position_embeddings=64, word_embed_proj_dim=24
    ),
    "falcon": lambda: hf.FalconConfig(**_SIZE, alibi=False, initializer_range=0.2),
    "bloom": lambda: hf.BloomConfig(
        vocab_size=300, hidden_size=24, n_layer=2, n_head=2, initializer_range=0.2
    ),
    "olmo": lambda: hf.OlmoConfig(**_WIDE),
    "mixtral": lambda: hf.MixtralConfig(**_KEYS, num_local_experts=4, num_experts_per_tok=2),
    "qwen3-moe": lambda: hf.Qwen3MoeConfig(
        **_KEYS, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=20, decoder_sparse_step=1
    ),
    "gpt-oss": lambda: hf.GptOssConfig(**_KEYS, num_local_experts=4, num_experts_per_tok=2, **_ENDS),
}
MIXTURES = ("mixtral", "qwen3-moe", "gpt-oss")


def build(family: str) -> nn.Module:
    """An untrained model, the same at every call; biases and sinks are not left at zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.AutoModelForCausalLM.from_config(CONFIGS[family]())
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.2)
    return model.eval()
