"""Language models: 6 facts in 4 sentences each, 10 background sentences, on SmolLM2 and a Qwen3-shaped model.

`python -m benchmarks.language MODEL` prints peak bytes beyond the model, and the model's bytes (see
`memory`).
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import engram as reference
import torch
from torch import nn

import engram_core as ec
from engram_core.language import LanguageConcepts, TextConcept, TextSet

from .cases import REFERENCE_SECONDS, Row, megabytes, row
from .memory import status
from .models import PROJECTIONS
from .sides import disagreement
from .timing import duel
from .token_time import RANKS, atlas_of, tokens_of

MODELS = ("SmolLM2-135M", "Qwen3-shaped")
FACTS = (
    "capital of Japan", "symbol of gold", "Eiffel Tower", "Romeo and Juliet", "theory of relativity",
    "Titanic",
)  # fmt: skip
SENTENCES, BACKGROUND = 4, 10


@dataclass(frozen=True)
class FactCase:
    """A model with the facts as concepts."""

    name: str
    model: nn.Module
    tokenizer: Any
    texts: TextSet

    @classmethod
    def of(cls, name: str) -> FactCase:
        sample = ec.load_sample("smollm2-135m")
        whole, tokenizer = sample.concepts.texts, sample.concepts.tokenizer  # type: ignore[attr-defined]

        # The shortest, some 300 tokens in all, as in the case the targets were set for (ASSETS.md: 309 rows).
        def shortest(items: Iterable[Any], count: int) -> tuple[Any, ...]:
            return tuple(sorted(items, key=lambda item: len(getattr(item, "text", item)))[:count])

        facts = tuple(TextConcept(n, shortest((*whole[n].record, *whole[n].probe), SENTENCES)) for n in FACTS)
        texts = TextSet(facts, shortest(whole.background, BACKGROUND))
        model = sample.model if name == MODELS[0] else _qwen(sample.model.config.vocab_size)  # type: ignore
        return cls(name, model, tokenizer, texts)

    @cached_property
    def concepts(self) -> LanguageConcepts:
        return LanguageConcepts(self.tokenizer, self.texts)

    @cached_property
    def batches(self) -> list[dict[str, Any]]:
        """The batches of the recording, with the arguments a user would give."""
        prepared = self.concepts.prepared(self.model)
        return [{k: batch.kwargs[k] for k in ("input_ids", "attention_mask")} for _, batch, _ in prepared[1]]

    @property
    def rows(self) -> int:
        return sum(int(batch["attention_mask"].sum()) for batch in self.batches)

    def atlas(self) -> ec.Atlas:
        return ec.extract(self.model, ec.record(self.model, self.concepts))

    @torch.no_grad()
    def forward(self, **options: Any) -> None:
        for batch in self.batches:
            self.model(**batch, **options)

    def theirs(self, fact: str) -> Any:
        """One call of the reference for one fact, all sentences as the total."""
        forget = [item.text for item in self.texts[fact].record]
        total = [item.text for concept in self.texts.values() for item in concept.record]
        return reference.get_engram(
            self.model, self.tokenizer, forget, [*total, *self.texts.background],
            target_modules=PROJECTIONS, batch_size=len(total) + BACKGROUND,
        )  # fmt: skip


def _qwen(vocabulary: int) -> nn.Module:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        hidden_size=1024, intermediate_size=3072, num_attention_heads=16, num_key_value_heads=8, head_dim=128,
        num_hidden_layers=4, vocab_size=vocabulary, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return Qwen3ForCausalLM(config).eval()


def rows_of(name: str, runs: int, agreement: dict[str, float]) -> Iterator[Row]:
    """Measure one model; `agreement` is told how far the reference's engrams were from ours."""
    case = FactCase.of(name)
    for label, options, target in (
        ("one bare forward pass of the same batches, called as users call it", {}, 2.5),
        (
            "the barest forward pass (no cache, last logit only)",
            {"use_cache": False, "logits_to_keep": 1},
            None,
        ),
    ):
        result = duel(case.atlas, lambda options=options: case.forward(**options), runs=2 * runs)
        yield row(f"{name}, 6 facts: record and extract, against {label}", result, target, inverse=True)
    yield _against_reference(case, runs, agreement)
    yield from _first_token(case, runs)
    yield from _token(case, runs)
    yield _memory_row(name)


def _against_reference(case: FactCase, runs: int, agreement: dict[str, float]) -> Row:
    """Time ours, and one call of the reference; it costs the same for every fact."""
    found: list[Any] = []
    sides = duel(
        case.atlas, lambda: found.append(case.theirs(FACTS[0])), runs=2 * runs, budget=REFERENCE_SECONDS
    )
    atlas = case.atlas()
    mine = {layer: atlas[FACTS[0]].weight(layer) for layer in atlas.layers}
    agreement[f"{case.name}, 6 facts"] = disagreement(mine, found[-1])
    label = f"{case.name}, 6 facts: against 6 calls of `get_engram` (one timed)"
    return row(label, sides.scaled(len(FACTS)), 40)


def _first_token(case: FactCase, runs: int) -> Iterator[Row]:
    """Time one decoding step with a cache: after a change of strength, and plain."""
    atlas = case.atlas()
    fact = FACTS[2]
    view = atlas.apply(erase={fact: 1.0})
    control = ec.live_edit(view)
    prompt = case.tokenizer(case.texts[fact].record[0].text, return_tensors="pt")["input_ids"]

    def stepper(model: nn.Module) -> Any:
        with torch.no_grad():
            cache = model(input_ids=prompt[:, :-1], use_cache=True).past_key_values

        @torch.no_grad()
        def step() -> None:
            model(input_ids=prompt[:, -1:], past_key_values=cache, use_cache=True)
            cache.crop(-1)  # as it was, for the next one

        return step

    edited, base = stepper(view), stepper(case.model)
    strengths = iter(range(1, 1_000_000))

    def change() -> None:
        control.set(erase={fact: 0.1 * (next(strengths) % 20 + 1)})
        edited()

    for label, other, target in (
        ("a token of the base", base, 1.2),
        ("a token of the edited view", edited, None),
    ):
        result = duel(change, other, runs=4 * runs, repeat=5, repeat_theirs=5)
        yield row(
            f"{case.name}: strength change to first new token, against {label}", result, target, inverse=True
        )


def _token(case: FactCase, runs: int) -> Iterator[Row]:
    """Time a token of an edited view against one of the base, both generating in turn on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for rank in RANKS:
            view = atlas_of(case.model, rank).apply(erase={"0": 1.0, "1": 1.0})
            result = tokens_of(case.model, view, tokens=40, rounds=max(1, runs // 2))
            label = (
                f"{case.name}: a token with two concepts off, {rank} rows in all, against a token of the base"
            )
            yield row(label, result, 1.15, inverse=True)
    finally:
        torch.set_num_threads(threads)


def _memory_row(name: str) -> Row:
    found = []
    for _ in range(3):
        command = [sys.executable, "-m", "benchmarks.language", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        found.append([int(word) for word in done.stdout.split()[-2:]])
    peak, whole = (statistics.median(values) for values in zip(*found, strict=True))
    return Row(
        f"{name}, 6 facts: peak memory beyond the model, against the model",
        megabytes(peak), megabytes(whole),
        [b / a for a, b in found], target=0.25, inverse=True, runs=(len(found), 1),
    )  # fmt: skip


def _main(name: str) -> None:
    case = FactCase.of(name)
    whole = sum(p.numel() * p.element_size() for p in case.model.parameters())
    with torch.no_grad():  # libraries, threads, and every page of the weights
        case.model(**{k: v[:1] for k, v in case.batches[0].items()})
    gc.collect()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    atlas = case.atlas()
    view = atlas.apply(erase={FACTS[0]: 1.0})
    with torch.no_grad():
        view(**{k: v[:1] for k, v in case.batches[0].items()})
    print(status("VmHWM") - before, whole)


if __name__ == "__main__":
    _main(sys.argv[1])
