"""Models that write what is wanted, and what any model writes, token by token."""

from __future__ import annotations

import torch
from language_helpers import byte_tokenizer, little_texts
from torch import nn
from transformers.modeling_outputs import CausalLMOutput

import engram_core as ec
from engram_core.language import (
    LanguageConcepts,
)

TOKENIZER = byte_tokenizer()


class Script(nn.Module):
    """Writes given tokens after a prompt of given length, over and over; has no cache."""

    def __init__(self, prompt: int, ids: list[int], vocabulary: int = 300) -> None:
        super().__init__()
        self.start, self.ids, self.vocabulary = prompt, ids, vocabulary
        self.scale = nn.Parameter(torch.tensor(30.0))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> CausalLMOutput:
        steps = torch.arange(input_ids.shape[1]) + 1 - self.start
        told = torch.tensor(self.ids)[steps % len(self.ids)]
        one_hot = nn.functional.one_hot(told, self.vocabulary).float()
        return CausalLMOutput(logits=(one_hot * self.scale).expand(len(input_ids), -1, -1))


def atlas_of(model: nn.Module) -> ec.Atlas:
    return ec.extract(model, ec.record(model, LanguageConcepts(TOKENIZER, little_texts())))


def by_hand(model: nn.Module, prompt: str, count: int) -> list[int]:
    """Greedy, the whole text anew for every token."""
    ids = TOKENIZER(prompt)["input_ids"]
    start = len(ids)
    with torch.no_grad():
        for _ in range(count):
            ids = [*ids, int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[start:]


def written(tokens) -> list[int]:
    return [token.id for token in tokens]
