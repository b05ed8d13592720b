"""Folders of a tiny base, of a fine-tune of it, and of an adapter for it, with texts."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from language_helpers import byte_tokenizer, tiny
from peft import LoraConfig, get_peft_model

TEXTS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black"}


def write_fine_tune(root: Path) -> dict[str, Path]:
    """Write ``base``, ``tuned``, ``adapter`` (which names the base) and ``texts``; return where."""
    found = {name: root / name for name in ("base", "tuned", "adapter")}
    found["texts"] = root / "texts.jsonl"
    rows = [{"concept": c, "prompt": f"The {c} is", "answer": a} for c, a in TEXTS.items()]
    found["texts"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = tiny("llama")
    base.save_pretrained(found["base"])
    byte_tokenizer().save_pretrained(found["base"])
    generator = torch.Generator().manual_seed(1)
    tuned = copy.deepcopy(base)
    with torch.no_grad():
        for name in ("model.layers.0.mlp.up_proj.weight", "model.norm.weight"):
            parameter = tuned.get_parameter(name)
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    tuned.save_pretrained(found["tuned"])
    byte_tokenizer().save_pretrained(found["tuned"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
        adapted = get_peft_model(copy.deepcopy(base), config)
    adapted.peft_config["default"].base_model_name_or_path = str(found["base"])
    adapted.save_pretrained(found["adapter"])
    return found
