"""Whether a model computes the same here as in transformers: `python -m docs.same_as_hf [SAMPLE …]`.

Every row holds the logits of one way to have a model against transformers' own forward pass. The base is read
by `from_pretrained` from a folder; the edited model is that, with `W − α E` written into its weights by plain
arithmetic. No code of ours runs in either. The page is docs/same-as-hugging-face.md.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

import engram_core as ec
from engram_core.language import save_edited, save_lora
from engram_core.libraries import TRANSFORMERS, need

__all__ = ["ROWS", "document", "rows"]

PAGE = Path(__file__).with_name("same-as-hugging-face.md")
SAMPLES = ("authors-lm", "smollm2-135m")
STRENGTH, CONCEPTS, PROMPTS = 1.0, 4, 8
_ABOVE = f"""# The same as Hugging Face

Made by `python -m docs.same_as_hf`, in float32 with one thread. Every row is one way to have a model. Its
logits are held against transformers' own forward pass: of the base, read from a folder by `from_pretrained`;
or of that model, with `W − {STRENGTH:g} E` of one concept written into the weights of all its layers by plain
arithmetic. Both compute attention the same way, of which transformers has several. The engrams are those of
{CONCEPTS} concepts, and the texts {PROMPTS} of theirs."""
_BELOW = """
The base and a view that is off run the same layers on the same weights. `bake` and the folder hold edited
weights. A view that is on holds them as well, or adds the engram's low-rank part to the answer of a layer
where that is cheaper; an adapter always adds it. What is added rounds differently, and layer after layer
passes that on. `tests/language/test_same_as_hf.py` measures `authors-lm` anew in every run of the tests.
"""
ROWS = ("base", "view, off", "view, on", "bake", "exported folder", "LoRA adapter")


def _read(folder: Path, attention: str) -> nn.Module:
    transformers = need("transformers", "Comparing with transformers")
    with TRANSFORMERS:
        model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, attn_implementation=attention
        )
    return model.eval()


def _adapted(base: Path, adapter: Path, attention: str) -> nn.Module:
    peft = need("peft", "Reading an adapter", install="pip install peft")
    with TRANSFORMERS:
        model: nn.Module = peft.PeftModel.from_pretrained(
            _read(base, attention), adapter, local_files_only=True
        )
    return model.eval()


@torch.no_grad()
def _written(base: nn.Module, engram: Any, layers: list[str]) -> nn.Module:
    """Return transformers' model with an engram subtracted from its weights."""
    edited = copy.deepcopy(base)
    modules = dict(edited.named_modules())
    for layer in layers:
        modules[layer].weight -= STRENGTH * engram.weight(layer)
    return edited


@torch.inference_mode()
def _logits(model: nn.Module, prompts: list[torch.Tensor]) -> list[torch.Tensor]:
    return [model(ids).logits[0].float() for ids in prompts]


def rows(name: str) -> list[dict[str, Any]]:
    """Compare every way to have a sample's model with transformers.

    Args:
        name: of a sample that is a language model.

    Returns:
        Of each row what it is, the largest difference of a logit, the share of positions at which both
        name the same next token, and the largest logit's size.
    """
    sample = ec.load_sample(name)
    names = list(sample.concepts)[:CONCEPTS]
    concept = names[0]
    atlas = ec.extract(sample.model, ec.record(sample.model, sample.concepts.subset(names)))
    tokenizer = sample.task.tokenizer
    texts = [text.text for name in names for text in sample.task.texts[name].record][:: len(names)][:PROMPTS]
    prompts = [torch.tensor([tokenizer(text)["input_ids"]]) for text in texts]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sample.model.save_pretrained(folder / "base")
        # Of several ways to compute attention, which differ by rounding: the same on both sides.
        attention = sample.model.config._attn_implementation
        base = _read(folder / "base", attention)
        edited = _written(base, atlas[concept], list(atlas.layers))
        right = {"base": _logits(base, prompts), "edited": _logits(edited, prompts)}
        del edited
        view = atlas.apply(sample.model, erase={concept: STRENGTH})
        found = {"base": _logits(sample.model, prompts), "view, on": _logits(view, prompts)}
        save_edited(view, folder / "edited")
        save_lora(atlas, concept, folder / "adapter", strength=STRENGTH)
        found["bake"] = _logits(ec.bake(view), prompts)
        view.engram_edit.off()
        found["view, off"] = _logits(view, prompts)
        found["exported folder"] = _logits(_read(folder / "edited", attention), prompts)
        found["LoRA adapter"] = _logits(_adapted(folder / "base", folder / "adapter", attention), prompts)
    return [
        _compared(row, found[row], right["base" if row in ("base", "view, off") else "edited"])
        for row in ROWS
    ]


def _compared(row: str, found: list[torch.Tensor], right: list[torch.Tensor]) -> dict[str, Any]:
    here, there = torch.cat(found), torch.cat(right)
    return {
        "row": row,
        "difference": float((here - there).abs().max()),
        "agree": float((here.argmax(-1) == there.argmax(-1)).float().mean()),
        "largest": float(there.abs().max()),
        "positions": len(there),
    }


def document(names: tuple[str, ...] = SAMPLES) -> str:
    """Measure and return the page."""
    lines = [_ABOVE]
    for name in names:
        found = rows(name)
        lines += [
            "",
            f"## {name}",
            "",
            f"{found[0]['positions']} positions; the largest logit is {found[0]['largest']:.1f}.",
            "",
            "| | largest difference of a logit | same likeliest token |",
            "|---|---|---|",
            *(f"| {one['row']} | {_said(one['difference'])} | {one['agree']:.1%} |" for one in found),
        ]
    return "\n".join([*lines, _BELOW])


def _said(difference: float) -> str:
    return "0" if difference == 0 else f"{difference:.1e}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    PAGE.write_text(document(tuple(sys.argv[1:]) or SAMPLES), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))
