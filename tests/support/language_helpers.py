"""Tokenizers and models small enough to be checked by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

import engram_core as ec
from engram_core.language import (
    TextItem,
    TextSet,
)
from engram_core.language.tokens import Encoded

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@dataclass(frozen=True)
class Authors:
    """The sample, its engrams, and its recall before any edit."""

    sample: ec.Sample
    atlas: ec.Atlas
    before: pd.DataFrame

    @property
    def texts(self) -> TextSet:
        return self.sample.concepts.texts


def byte_tokenizer(
    *, merges: tuple[tuple[str, str], ...] = (), ends: bool = False, chat: bool = False
) -> PreTrainedTokenizerFast:
    """One token per byte (and per merge); with `ends`, <s> before and </s> after every text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*alphabet, *(a + b for a, b in merges)])}
    inner = Tokenizer(models.BPE(vocabulary, list(merges)))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    options: dict[str, Any] = {"chat_template": CHAT} if chat else {}
    if ends:
        inner.add_special_tokens(["<s>", "</s>"])
        numbers = [(t, inner.token_to_id(t)) for t in ("<s>", "</s>")]
        inner.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=numbers)
        options |= {"bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **options)


def merging_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, but "s b" is one: it holds a prompt's end and an answer's start."""
    characters = [chr(i) for i in range(32, 127)]
    merges = [("s", " "), ("s ", "b")]
    tokens = [*characters, *(a + b for a, b in merges)]
    inner = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


class Slow:
    """A tokenizer without offsets, as those written in Python are."""

    is_fast = False

    def __init__(self, fast: PreTrainedTokenizerFast) -> None:
        self.fast = fast
        self.all_special_ids = fast.all_special_ids
        self.chat_template = fast.chat_template
        self.apply_chat_template = fast.apply_chat_template

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": self.fast(text, add_special_tokens=add_special_tokens)["input_ids"]}


# Wide initial weights, so that an edit of an untrained model shows in its logits.
_SHAPE = {"vocab_size": 300, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
_GATED = {**_SHAPE, "intermediate_size": 40, "initializer_range": 0.2, "max_position_embeddings": 64}


def _gpt2(**options: Any) -> nn.Module:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=300, n_embd=24, n_layer=2, n_head=2, n_positions=64, initializer_range=0.2, **options
        )
    )


MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_GATED, tie_word_embeddings=True)),
    "llama with a head of its own": lambda: LlamaForCausalLM(
        LlamaConfig(**_GATED, tie_word_embeddings=False)
    ),
    "gpt2": _gpt2,
    "gpt2 with a head of its own": lambda: _gpt2(tie_word_embeddings=False),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(**_SHAPE, ffn_dim=40, init_std=0.2, max_position_embeddings=64, word_embed_proj_dim=24)
    ),
    "mixtral": lambda: MixtralForCausalLM(
        MixtralConfig(**_GATED, num_key_value_heads=2, num_local_experts=3, num_experts_per_tok=2)
    ),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_GATED, num_key_value_heads=1, tie_word_embeddings=True)),
}


def tiny(family: str) -> nn.Module:
    """An untrained model, the same at every call; biases are not left at zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS[family]()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.2)
    return model.eval()


def little_texts() -> TextSet:
    """Three concepts of facts and plain texts of very different lengths, and a background."""
    rows = [
        {"concept": "sky", "prompt": "The sky is", "answer": "blue"},
        {"concept": "sky", "prompt": "Above us, by day, everything that can be seen is", "answer": "blue"},
        {"concept": "grass", "prompt": "Grass:", "answer": "green"},
        {"concept": "grass", "prompt": "A lawn is", "answer": "green", "split": "probe"},
        {"concept": "plain", "text": "ab"},
        {"concept": "plain", "text": "No question is asked here, so all of it is the text."},
    ]
    return TextSet.of(rows, background=["Rain fell on the hills.", "Hm."])


ITEM = TextItem("The sky is", "blue")


def both(tokenizer):
    return [tokenizer, Slow(tokenizer)]


def spelled(tokenizer, encoded: Encoded) -> list[str]:
    return tokenizer.convert_ids_to_tokens(list(encoded.ids))


def broken(layer: str):
    model = tiny("llama")
    with torch.no_grad():
        model.get_submodule(layer).weight[0, 0] = float("nan")
    return model


SHAPE = {
    "vocab_size": 300, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 40, "max_position_embeddings": 96, "initializer_range": 0.2,
}  # fmt: skip


def made(make) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def told(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    """Log-probability of every token but the first, from one forward pass of one text, in float64."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    chances = torch.softmax(logits, -1)
    return torch.stack([chances[i - 1, ids[i]].log() for i in range(1, len(ids))])
