"""The same work done by both sides, each in its best way."""

from __future__ import annotations

from typing import Any

import engram as reference
import torch
from torch import Tensor, nn

import engram_core as ec

from .models import PROJECTIONS, SENTENCES, TARGET, LanguageCase

TOLERANCE = 1e-3


class WordIds:
    """As much of a tokenizer as `get_engram` asks for: a text is token numbers with blanks between."""

    pad_token_id = eos_token_id = 0

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}


# -- language models ------------------------------------------------------------------------------


def their_engram(case: LanguageCase, target: slice = slice(0, TARGET)) -> Any:
    """`get_engram` on the layers that we cover too, everything in one batch."""
    texts = [" ".join(map(str, row)) for row in case.tokens.tolist()]
    return reference.get_engram(
        case.model, WordIds(), texts[target], texts, target_modules=PROJECTIONS, batch_size=SENTENCES
    )


def one_concept(case: LanguageCase, *, lean: bool = True) -> ec.ConceptSet:
    """8 sentences as the concept, the 24 others as background that counts in the total."""
    batch = case.lean if lean else case.plain
    concept = ec.Concept("target", batch(slice(0, TARGET)))
    return ec.ConceptSet([concept], background=batch(slice(TARGET, None)))


def eight_concepts(case: LanguageCase) -> ec.ConceptSet:
    """The same 32 sentences as 8 concepts of 4."""
    return ec.ConceptSet(ec.Concept(str(i), case.lean(part)) for i, part in enumerate(quarters()))


def quarters() -> list[slice]:
    """Return which sentences each of the 8 concepts has."""
    return [slice(start, start + 4) for start in range(0, SENTENCES, 4)]


def our_atlas(case: LanguageCase, concepts: ec.ConceptSet) -> ec.Atlas:
    """Record and extract."""
    return ec.extract(case.model, ec.record(case.model, concepts, mix=True))


# -- the classifier -------------------------------------------------------------------------------


def their_classes(model: nn.Module, classes: dict[str, Tensor]) -> dict[str, Any]:
    """Statistics once per class, their merge as the total, then class by class."""
    editor = reference.EngramEditor(model)
    found = {name: editor.collect_statistics([(images,)]) for name, images in classes.items()}
    total = editor.merge_statistics(*found.values())
    return {name: editor.compute_engram_weights(target, total) for name, target in found.items()}


def our_classes(model: nn.Module, classes: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """All ten engrams at once, and every dense weight, which the reference gives too."""
    atlas = ec.extract(model, ec.record(model, classes, batch_size=1000))
    return {name: {layer: atlas[name].weight(layer) for layer in atlas.layers} for name in atlas}


# -- do they agree? -------------------------------------------------------------------------------


def disagreement(ours: dict[str, Tensor], theirs: Any) -> float:
    """Return the greatest relative difference of an engram over all layers.

    Raises:
        AssertionError: if it is above `TOLERANCE`, or the two do not cover the same layers.
    """
    assert set(ours) == set(theirs.layers), set(ours) ^ set(theirs.layers)
    worst = 0.0
    for name, info in theirs.layers.items():
        expected = info.projection * (info.n / info.N)
        difference = torch.linalg.vector_norm(ours[name] - expected) / torch.linalg.vector_norm(expected)
        worst = max(worst, float(difference))
    assert worst <= TOLERANCE, f"the two sides differ by {worst:.1e}; at most {TOLERANCE} is allowed"
    return worst


def dense(atlas: ec.Atlas, concept: str) -> dict[str, Tensor]:
    """Return every layer's dense ΔW."""
    return {layer: atlas[concept].weight(layer) for layer in atlas.layers}
