"""The models and data of the cases: random weights of real shapes, all seeded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

SENTENCES, TARGET, TOKENS, VOCABULARY = 32, 8, 16, 32_000
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class LanguageCase:
    """A language model and 32 sentences of 16 random tokens; the first 8 are the target."""

    model: nn.Module
    tokens: Tensor

    def plain(self, rows: slice = slice(None)) -> dict:
        """Return arguments as users call the model."""
        ids = self.tokens[rows]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def lean(self, rows: slice = slice(None)) -> dict:
        """Return arguments that save what no covered layer needs: the cache and all logits but the last."""
        return self.plain(rows) | {"use_cache": False, "logits_to_keep": 1}


def qwen() -> LanguageCase:
    """Case A: Qwen3-shaped, 4 layers."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        hidden_size=1024, intermediate_size=3072, num_attention_heads=16, num_key_value_heads=8, head_dim=128,
        num_hidden_layers=4, vocab_size=VOCABULARY, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return LanguageCase(Qwen3ForCausalLM(config).eval(), _tokens())


def llama() -> LanguageCase:
    """Case B: Llama-3.2-1B-shaped, 1 layer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_attention_heads=32, num_key_value_heads=8, head_dim=64,
        num_hidden_layers=1, vocab_size=VOCABULARY, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return LanguageCase(LlamaForCausalLM(config).eval(), _tokens())


def _tokens() -> Tensor:
    # 0 is kept for padding, of which there is none: every sentence has the same length.
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, VOCABULARY, (SENTENCES, TOKENS), generator=generator)


def classifier() -> tuple[nn.Sequential, dict[str, Tensor]]:
    """Return a 784-500-100-10 network and ten classes of 1,000 structured images of 28 × 28.

    Every class is a smooth prototype; an image is its prototype, shifted by up to two pixels, mixed with
    smooth variation of its own and pixel noise, clipped to [0, 1] as real images are.
    """
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(784, 500, bias=False), nn.ReLU(), nn.Linear(500, 100, bias=False), nn.ReLU(),
        nn.Linear(100, 10, bias=False),
    ).eval()  # fmt: skip

    def smooth(count: int, cells: int) -> Tensor:
        coarse = torch.randn(count, 1, cells, cells)
        return nn.functional.interpolate(coarse, size=(28, 28), mode="bicubic")[:, 0]

    prototypes = smooth(10, 7)
    classes = {}
    for label, prototype in enumerate(prototypes):
        shifts = torch.randint(-2, 3, (1000, 2)).tolist()
        images = torch.stack([prototype.roll(shift, (0, 1)) for shift in shifts])
        images = images + 0.5 * smooth(1000, 5) + 0.05 * torch.randn(1000, 28, 28)
        classes[str(label)] = images.clamp(0, 1).reshape(1000, 784)
    return model, classes
