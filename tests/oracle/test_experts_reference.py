"""Fused experts against ai-engram 0.11.0 with its opt-in adapter: the same engrams, the same edits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import pinv_under_cut, relative
from torch import Tensor, nn
from transformers import MixtralConfig, MixtralForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

import engram_core as ec
from engram_core.models.linear_maps.experts import ExpertMap as ExpertSlot

reference = pytest.importorskip("engram", reason="the reference package is a development dependency")
moe = pytest.importorskip("engram.moe")

_SIZE: dict[str, Any] = {
    "vocab_size": 60, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "initializer_range": 0.3,
    "max_position_embeddings": 32, "num_experts_per_tok": 2,
}  # fmt: skip
MODELS = {
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**_SIZE, num_local_experts=4)),
    "qwen3-moe": lambda: Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**_SIZE, num_experts=4, moe_intermediate_size=20)
    ),
}


def texts(seed: int, count: int) -> Tensor:
    return torch.randint(3, 60, (count, 12), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=list(MODELS))
def pair(request):
    """Our engrams, the reference's, and the reference's editor, from the same texts."""
    assert reference.__version__ == "0.11.0", "these tests describe exactly that version"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = MODELS[request.param]().eval()
    target, rest = texts(1, 20), texts(2, 40)
    atlas = ec.extract(model, ec.record(model, {"target": target, "rest": rest}))
    editor = reference.EngramEditor(model, adapters=[moe.FusedExpertAdapter()])

    def statistics(*batches: Tensor):
        return editor.collect_statistics(list(batches), batch_fn=lambda ids: {"input_ids": ids})

    result = editor.compute_engram_weights(statistics(target), statistics(target, rest))
    return model, atlas, editor, result


def key(layer: str) -> str:
    """Their name of one of our layers."""
    return layer.replace("[", ".").replace("]", "")


def experts(atlas: ec.Atlas) -> list[str]:
    return [name for name, linear_map in atlas.linear_maps.items() if isinstance(linear_map, ExpertSlot)]


def test_every_expert_has_the_engram_the_reference_gives_it(pair) -> None:
    model, atlas, _, result = pair
    layers = experts(atlas)
    assert len(layers) == 2 * 2 * 4
    for layer in layers:
        info = result.layers[key(layer)]
        # They project by mean covariances, so the share n / N of the routed tokens is missing.
        theirs = info.projection * info.n / info.N
        assert atlas.trace(layer, "target").spectrum.count == info.N
        total = sum(atlas.trace(layer, name).moment[0] for name in atlas)
        exact = (
            atlas.matrix(layer)[0].double() @ atlas.trace(layer, "target").moment[0] @ pinv_under_cut(total)
        )
        assert relative(atlas["target"].weight(layer), exact) <= 1e-4, layer
        # Where their float32 moments put them further from the exact engram, so do they stand from ours.
        assert relative(atlas["target"].weight(layer), theirs) <= max(1e-3, 1.1 * relative(theirs, exact)), (
            layer
        )


def test_the_edited_slices_are_theirs(pair) -> None:
    model, atlas, editor, result = pair
    edited: nn.Module = editor.apply(result, alpha=0.6)
    baked = ec.bake(atlas.apply(erase={"target": 0.6}))
    for layer in experts(atlas):
        linear_map = atlas.linear_map(layer)
        assert relative(linear_map.matrix(baked), linear_map.matrix(edited)) <= 2e-3, layer
        assert relative(linear_map.matrix(baked), linear_map.matrix(model)) > 1e-2, layer


def test_the_edited_models_answer_alike(pair) -> None:
    _, atlas, editor, result = pair
    ids = texts(5, 3)
    with torch.no_grad():
        theirs = editor.apply(result, alpha=0.6)(input_ids=ids).logits
        view = atlas.apply(erase={"target": 0.6})
        mine = view(input_ids=ids).logits
        base = atlas.model(input_ids=ids).logits
    assert relative(mine, theirs) <= 2e-2
    assert relative(mine, base) > 5 * relative(mine, theirs)
