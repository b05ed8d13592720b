"""A little model with its engrams, and the same model with an adapter of PEFT's."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from language_helpers import byte_tokenizer, little_texts, tiny
from peft import PeftModel
from torch import nn

import engram_core as ec
from engram_core.language import LanguageConcepts

IDS = torch.arange(40).reshape(2, 20) * 7 % 256


def atlas_of(family: str, *, sharpness: float = 1.0) -> ec.Atlas:
    model = tiny(family)
    return ec.extract(
        model, ec.record(model, LanguageConcepts(byte_tokenizer(), little_texts())), sharpness=sharpness
    )


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def adapted(atlas: ec.Atlas, folder: Path, name: str = "default") -> PeftModel:
    return PeftModel.from_pretrained(copy.deepcopy(atlas.model), str(folder), adapter_name=name).eval()
