"""The perplexity of plain texts is the one computed by hand."""

import math

import pytest
import torch
from language_helpers import byte_tokenizer, tiny, told

from engram_core.language import TextItem, encode, perplexity

TOKENIZER = byte_tokenizer(ends=True)


def test_perplexity_is_the_one_computed_by_hand():
    model, texts = tiny("llama"), ["Rain fell on the hills.", "Hm.", "A third one, of another length"]
    losses = torch.cat([-told(model, list(encode(TOKENIZER, TextItem("", t)).ids)) for t in texts])
    assert perplexity(model, TOKENIZER, texts) == pytest.approx(math.exp(float(losses.mean())), rel=1e-4)
