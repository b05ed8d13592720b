"""All concepts are solved from one decomposition per distinct input."""

from __future__ import annotations

import pytest
import torch
from helpers import relative, structured
from torch import nn

import engram_core as ec
from engram_core.errors import UnknownNameError

LAYER = "Linear"


@pytest.fixture
def parts() -> dict[str, torch.Tensor]:
    x = structured(5, 24, 60).float()
    return {"a": x[:8], "b": x[8:16], "c": x[16:]}


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(60, 40)  # fewer outputs than inputs: edited at the output


def test_variants_are_of_the_class_they_come_from(layer, parts) -> None:
    class Mine(ec.Atlas):
        pass

    recording = ec.record(layer, parts)
    atlas = ec.extract(layer, recording)
    mine = Mine(
        layer, concepts=atlas.concepts, linear_maps=atlas.linear_maps, key_of=atlas._key_of,
        spectra=atlas._spectra, traces=atlas._traces, counts=atlas.counts,
        coverage=atlas.coverage, identity=atlas.identity,
    )  # fmt: skip
    assert type(mine.sharpen(2.0)) is Mine
    assert type(mine.locate(ec.record(layer, {"a": parts["a"]}))) is Mine
    assert repr(mine).startswith("Mine(3 concepts × 1 layers")


def test_variants_share_what_is_kept_and_count_it(layer, parts) -> None:
    atlas = ec.extract(layer, ec.record(layer, parts))
    before = atlas.nbytes
    dense = atlas.dense(LAYER, "a")
    sharp = atlas.sharpen(2.0)
    assert sharp.sharpen(1.0).dense(LAYER, "a") is dense
    assert sharp.dense(LAYER, "a") is not dense
    assert atlas.nbytes >= before + 2 * dense.nbytes


@pytest.mark.parametrize("power", [1.5, 3.0])
@pytest.mark.parametrize("first", [1.0, 2.0])
def test_an_edit_at_the_output_follows_the_sharpness_it_has(layer, parts, monkeypatch, first, power) -> None:
    """What is kept of one variant stands in another basis than what another needs."""
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    atlas = ec.extract(layer, ec.record(layer, parts))
    atlas.sharpen(first).apply(erase="a")
    view = atlas.sharpen(power).apply(erase="a")
    x = torch.cat(list(parts.values()))
    with torch.no_grad():
        wanted = ec.bake(view)(x)
        assert relative(view(x) - layer(x), wanted - layer(x)) < 1e-4


def test_the_background_is_in_the_total_and_is_no_concept(digits) -> None:
    names = ["0", "1", "2"]
    rest = torch.cat([x for n, x in digits.concepts.items() if n not in names])
    concepts = ec.ConceptSet([ec.Concept(n, digits.concepts[n]) for n in names], background=rest)
    some = ec.extract(digits.model, ec.record(digits.model, concepts))
    full = ec.extract(digits.model, ec.record(digits.model, digits.concepts))
    assert list(some) == names and some.counts[ec.BACKGROUND] == len(rest)
    for layer in full.layers:
        assert relative(some["1"].matrix(layer), full["1"].matrix(layer)) < 1e-3
    with pytest.raises(UnknownNameError):
        some[ec.BACKGROUND]


def test_each_distinct_input_is_decomposed_once_for_all_concepts(monkeypatch, digits_attention) -> None:
    model = digits_attention.model
    recording = ec.record(model, {n: x[:40] for n, x in digits_attention.concepts.items()})
    calls: list[tuple[int, ...]] = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda a: calls.append(tuple(a.shape)) or eigh(a))
    atlas = ec.extract(model, recording)
    for concept in atlas:
        for layer in atlas.layers:
            atlas[concept].norm(layer)
    assert len(calls) == len(recording.sources) < len(atlas.layers)
