"""Attention, a convolution and linear layers in one model, with three concepts."""

import torch
from torch import Tensor, nn

import engram_core as ec

X = (torch.randn(24, 6, 12, generator=torch.Generator().manual_seed(0)) + 1).split(8)


CONCEPTS = dict(zip("abc", X, strict=True))


class Mixed(nn.Module):
    """Attention, a convolution and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.one = nn.Linear(12, 12)
            self.attn = nn.MultiheadAttention(12, 3, batch_first=True)
            self.conv = nn.Conv1d(6, 6, 3, padding=1, groups=2)
            self.encoder = nn.TransformerEncoderLayer(12, 2, 16, batch_first=True)
            self.two = nn.Linear(12, 4, bias=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.one(x))
        x = self.conv(x + self.attn(x, x, x)[0])
        return self.two(self.encoder(x).mean(1))


def atlas_of(model: nn.Module, rows: int = 8) -> ec.Atlas:
    return ec.extract(model, ec.record(model, {n: x[:rows] for n, x in CONCEPTS.items()}))
