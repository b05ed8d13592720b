"""Record a language model over text concepts: short texts of many concepts share forward passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from ..batching import BACKGROUND, Owned
from ..concepts import Batch
from ..recording import Progress, Recording, record_batches
from .models import call_options, token_limit
from .texts import TextItem, TextSet
from .tokens import Encoded, Positions, by_length, encode, padded, pick_positions

__all__ = ["record_texts"]


def record_texts(
    model: nn.Module,
    tokenizer: Any,
    texts: TextSet,
    *,
    positions: Positions = "all",
    template: bool = False,
    layers: str | Iterable[str] | None = None,
    blocks: Iterable[int] | None = None,
    batch_tokens: int = 4096,
    progress: Progress | None = None,
) -> Recording:
    """Record every concept's texts and the background, in one pass over the data.

    Args:
        model: a causal language model that takes input_ids and attention_mask, batch first.
        tokenizer: its tokenizer.
        texts: concepts (their recorded items) and background. The background always counts in full.
        positions: which positions of a concept's texts count: ``"all"`` (measured best, SCIENCE.md
            section 4), ``"predict"`` or ``"answer"``.
        template: put prompts into the chat template.
        layers: see `recording.record`.
        blocks: see `recording.record`.
        batch_tokens: most positions per forward pass.
        progress: see `recording.record`.
    """
    names = (*texts, *([BACKGROUND] if texts.background else []))
    counts = dict.fromkeys(names, 0)
    limit = token_limit(model)
    options = call_options(model, head=False)

    def entries() -> Iterator[tuple[tuple[int, list[int]], Encoded]]:
        for index, name in enumerate(texts):
            for item in texts[name].record:
                encoded = encode(tokenizer, item, template=template, limit=limit, label=name)
                yield (index, pick_positions(encoded, positions, fact=item.is_fact)), encoded
        for text in texts.background:
            encoded = encode(tokenizer, TextItem("", text), limit=limit, label=BACKGROUND)
            yield (len(texts), list(range(len(encoded.ids)))), encoded

    def stream() -> Iterator[Owned]:
        for group in by_length(entries(), batch_tokens):
            ids, mask = padded([e for _, e in group])
            owner = torch.full(ids.shape, -1)
            for row, ((index, counted), _) in enumerate(group):
                owner[row, counted] = index
                counts[names[index]] += 1
            said = ", ".join(dict.fromkeys(names[index] for (index, _), _ in group))
            kwargs = {"input_ids": ids, "attention_mask": mask, **options}
            yield said if len(said) < 60 else said[:57] + "…", Batch((), kwargs, len(group)), owner

    total = sum(len(texts[name].record) for name in texts) + len(texts.background)
    return record_batches(
        model, names, stream(), counts, total=total, layers=layers, blocks=blocks, progress=progress
    )
