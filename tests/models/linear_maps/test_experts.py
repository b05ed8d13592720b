"""Fused experts: every slice is a layer of its own, with the rows that the router sends to it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from helpers import pinv_under_cut, relative
from torch import Tensor, nn
from transformers import (
    GptOssConfig,
    GptOssForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

import engram_core as ec
from engram_core.editing.weights import write_matrix
from engram_core.models.layers import find_linear_maps as find_slots
from engram_core.models.layers import list_layers, select_layers
from engram_core.models.linear_maps.expert_ports import ExpertPort, OpenExperts, close_experts
from engram_core.models.linear_maps.experts import (
    ExpertMap as ExpertSlot,
)
from engram_core.models.linear_maps.experts import open_experts
from engram_core.models.usage import NEVER_CALLED
from engram_core.models.view import shared_copy
from engram_core.recording.statistics import homogeneous_moment

EXPERTS = 6
_SIZE: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "initializer_range": 0.3,
    "max_position_embeddings": 32, "num_experts_per_tok": 2,
}  # fmt: skip
MODELS = {
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**_SIZE, num_local_experts=EXPERTS)),
    "qwen3-moe": lambda: Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**_SIZE, num_experts=EXPERTS, moe_intermediate_size=12)
    ),
    # Slices the other way round, with biases, and gate and up interleaved.
    "gpt-oss": lambda: GptOssForCausalLM(
        GptOssConfig(**_SIZE, num_local_experts=EXPERTS, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    ),
}


def build(family: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = MODELS[family]()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.2)
    return model.eval()


def tokens(seed: int, count: int = 5, length: int = 7) -> Tensor:
    return torch.randint(3, 40, (count, length), generator=torch.Generator().manual_seed(seed))


def batch(ids: Tensor) -> dict[str, Any]:
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}


CONCEPTS = {"a": batch(tokens(1)), "b": batch(tokens(2)), "c": batch(tokens(3))}


def logits(model: nn.Module, ids: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return model(**batch(tokens(1) if ids is None else ids)).logits


@pytest.fixture(scope="module", params=list(MODELS))
def model(request) -> nn.Module:
    return build(request.param)


@pytest.fixture(scope="module")
def atlas(model) -> ec.Atlas:
    return ec.extract(model, ec.record(model, CONCEPTS))


def expert_layers(atlas: ec.Atlas) -> list[str]:
    return [name for name, linear_map in atlas.linear_maps.items() if isinstance(linear_map, ExpertSlot)]


def heard(model: nn.Module, ids: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What the blocks of the untouched model are called with: hidden states and chosen experts."""
    found, handles = {}, []
    for name, module in model.named_modules():
        if hasattr(module, "down_proj") and hasattr(module, "num_experts"):

            def hook(_module, args, kwargs, name=name) -> None:
                hidden, chosen = [*args, *kwargs.values()][:2]
                found[name] = (hidden.detach().reshape(-1, hidden.shape[-1]), chosen)

            handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
    logits(model, ids)
    for handle in handles:
        handle.remove()
    return found


# -- what is covered ---------------------------------------------------------------------------------


def test_every_expert_is_listed_by_its_number_and_the_router_with_its_reason(model) -> None:
    infos = {info.name: info for info in list_layers(model)}
    blocks = [n for n, m in model.named_modules() if type(m).__name__.endswith("Experts")]
    assert len(blocks) == 2
    for block in blocks:
        for parameter in ("gate_up_proj", "down_proj"):
            for expert in range(EXPERTS):
                assert infos[f"{block}.{parameter}[{expert}]"].covered
        assert block not in infos
    routers = [i for i in infos.values() if "Router" in i.kind]
    assert len(routers) == 2 and all("router" in i.reason for i in routers)


def test_a_suffix_without_a_number_selects_all_experts_and_with_one_that_expert(model) -> None:
    names = [linear_map.name for linear_map in find_slots(model)]
    every = select_layers(names, ["experts.down_proj"])
    assert len(every) == 2 * EXPERTS and all("down_proj[" in name for name in every)
    assert len(select_layers(names, ["gate_up_proj[3]"])) == 2


def test_experts_of_an_unknown_form_are_named_and_not_guessed_at() -> None:
    class StrangeExperts(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_up_proj = nn.Parameter(torch.ones(2, 4, 3))
            self.down_proj = nn.Parameter(torch.ones(2, 3, 2))

    infos = list_layers(nn.Sequential(nn.Linear(3, 3), StrangeExperts()))
    assert not infos[1].covered and "fused experts" in infos[1].reason


# -- what is recorded --------------------------------------------------------------------------------


def test_an_expert_reads_the_tokens_that_the_router_sends_to_it(model) -> None:
    recording = ec.record(model, CONCEPTS)
    for concept, inputs in CONCEPTS.items():
        for block, (hidden, chosen) in heard(model, inputs["input_ids"]).items():
            for expert in range(EXPERTS):
                mine = hidden[(chosen == expert).any(-1)].double()
                layer = f"{block}.gate_up_proj[{expert}]"
                if layer not in recording.source_of:
                    assert not len(mine)
                    continue
                source = recording.sources[recording.source_of[layer]]
                statistics = source.statistics_of(concept)
                assert statistics.count == len(mine)
                if statistics.folded:
                    assert statistics.moment is not None
                    assert relative(statistics.moment[0], mine.mT @ mine) < 1e-5
                elif len(mine):
                    assert relative(statistics.rows()[0], mine) < 1e-5


def test_the_engram_of_an_expert_is_that_of_its_rows(model, atlas) -> None:
    calls = {name: heard(model, inputs["input_ids"]) for name, inputs in CONCEPTS.items()}
    parameters = dict(model.named_parameters())
    for block in calls["a"]:
        for expert in range(EXPERTS):
            layer = f"{block}.gate_up_proj[{expert}]"
            if layer not in atlas.layers:
                continue
            linear_map = atlas.linear_map(layer)
            weight = parameters[f"{block}.gate_up_proj"][expert].detach().double()
            matrix = weight.t() if linear_map.transposed else weight
            moments = {}
            for name, call in calls.items():
                hidden, chosen = call[block]
                rows = hidden[(chosen == expert).any(-1)].double()
                moments[name] = _homogeneous(rows, linear_map.bias)
            if linear_map.bias:
                bias = parameters[f"{block}.gate_up_proj_bias"][expert].detach().double()
                matrix = torch.cat([matrix, bias[:, None]], 1)
            sigma = sum(rows.mT @ rows for rows in moments.values())
            own = moments["a"].mT @ moments["a"]
            assert relative(atlas["a"].matrix(layer)[0], matrix @ own @ pinv_under_cut(sigma)) < 1e-3, layer


def _homogeneous(rows: Tensor, bias: bool) -> Tensor:
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1) if bias else rows


def test_recording_concepts_in_one_pass_or_apart_gives_the_same(model) -> None:
    apart, mixed = ec.record(model, CONCEPTS), ec.record(model, CONCEPTS, mix=True)
    assert set(apart.source_of) == set(mixed.source_of)
    for layer in apart.source_of:
        for concept in CONCEPTS:
            assert apart.rows(layer, concept) == mixed.rows(layer, concept), (layer, concept)
            one, two = (
                homogeneous_moment(r.sources[r.source_of[layer]].statistics_of(concept), True)
                for r in (apart, mixed)
            )
            assert relative(one, two) < 1e-5, (layer, concept)


def test_a_mask_over_positions_leaves_out_the_routed_tokens_it_hides(model) -> None:
    mask = torch.zeros(5, 7)
    mask[:, 2:4] = 1
    recording = ec.record(model, CONCEPTS, masks={"a": mask})
    block = next(iter(heard(model, tokens(1))))
    both = [recording.rows(f"{block}.gate_up_proj[{e}]", "a")
            for e in range(EXPERTS) if f"{block}.gate_up_proj[{e}]" in recording.source_of]  # fmt: skip
    assert sum(both) == 2 * 10  # ten tokens count, and each goes to two experts


def test_an_expert_that_no_token_reaches_is_named_and_one_token_is_enough(model) -> None:
    few = {"a": batch(tokens(1, 1, 1)), "b": batch(tokens(2, 1, 2))}
    recording = ec.record(model, few)
    silent = [i.name for i in recording.layers if i.reason == NEVER_CALLED]
    assert silent and all("[" in name for name in silent)
    single = [n for n in recording.source_of if sum(recording.rows(n, c) for c in few) == 1]
    assert single
    small = ec.extract(model, recording)
    for layer in single:
        owner = next(c for c in few if recording.rows(layer, c))
        other = next(c for c in few if c != owner)
        assert small[owner].norm(layer) > 0 and small[other].norm(layer) == 0
    assert torch.isfinite(logits(small.apply(erase=["a", "b"]))).all()


def test_a_subset_that_misses_an_expert_is_located_all_the_same(model, atlas) -> None:
    part = ec.record(model, {"part": batch(tokens(1)[:1])})
    located = atlas.locate(part)
    missing = [n for n in expert_layers(atlas) if n not in part.source_of]
    assert missing
    for layer in missing:
        assert located["part"].norm(layer) == 0


def test_merging_two_recordings_equals_recording_both(model, atlas) -> None:
    one = ec.record(model, {"a": CONCEPTS["a"]})
    two = ec.record(model, {n: CONCEPTS[n] for n in "bc"})
    merged = ec.extract(model, one.merge(two))
    assert set(merged.layers) == set(atlas.layers)
    for layer in atlas.layers:
        assert relative(merged["b"].matrix(layer), atlas["b"].matrix(layer)) < 1e-3 or (
            atlas["b"].norm(layer) == 0 == merged["b"].norm(layer)
        )


# -- what is edited ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["eager", "batched_mm", "grouped_mm"])
def test_the_opened_block_computes_what_every_implementation_computes(model, way: str) -> None:
    view = shared_copy(model)
    before = view.config._experts_implementation
    try:
        for module in view.modules():
            if hasattr(module, "_is_expert_parallel"):
                module.config._experts_implementation = way
        plain = logits(view)
        open_experts(view, find_slots(model))
        assert sum(isinstance(m, OpenExperts) for m in view.modules()) == 2
        assert relative(logits(view), plain) < 1e-5
        close_experts(view)
        assert torch.equal(logits(view), plain)
    finally:
        model.config._experts_implementation = before


def test_an_edited_slice_is_the_slice_less_its_engram_and_the_rest_stays(model, atlas) -> None:
    view = atlas.apply(erase={"a": 0.8})
    baked = ec.bake(view)
    for layer in expert_layers(atlas):
        linear_map = atlas.linear_map(layer)
        wanted = atlas.matrix(layer) - 0.8 * atlas["a"].matrix(layer)
        assert relative(linear_map.matrix(baked), wanted) < 1e-5
    untouched = [s for s in find_slots(model) if s.name not in atlas.layers]
    for linear_map in untouched:
        assert torch.equal(linear_map.matrix(baked), linear_map.matrix(model))
    assert relative(logits(view), logits(baked)) < 1e-4


@pytest.mark.parametrize("null", ["nothing", "in place"])
def test_keeping_works_on_slices_too(model, atlas, null: str) -> None:
    view = atlas.apply(keep=["a"], null=null)
    assert relative(logits(view), logits(ec.bake(view))) < 1e-4


@pytest.mark.parametrize("rows", ["few", "many"])
def test_few_rows_are_edited_at_the_port_and_many_by_a_slice_of_the_views_own(model, atlas, rows) -> None:
    if rows == "few":
        atlas = ec.extract(model, ec.record(model, {"a": batch(tokens(1)[:1]), "b": batch(tokens(2))}))
    parameters = dict(model.named_parameters())
    before = {name: p.detach().clone() for name, p in parameters.items()}
    view = atlas.apply(erase={"a": 1.0})
    control = ec.live_edit(view)
    mine = dict(view.named_parameters())
    for name, parameter in parameters.items():
        if parameter.ndim == 3:  # never copied as a whole, whatever the edit
            assert mine[name].data_ptr() == parameter.data_ptr()
    ports = [m for m in view.modules() if isinstance(m, ExpertPort)]
    replaced = [p for p in ports if p.replaced is not None]
    hooked = [p for p in ports if "forward" in vars(p)]
    assert replaced if rows == "many" else hooked
    assert not set(map(id, replaced)) & set(map(id, hooked))
    base = logits(model)
    for strength in (0.3, -0.5, 1.0):
        control.set(erase={"a": strength})
        assert relative(logits(view), logits(control.bake())) < 1e-4
    assert relative(logits(view), base) > 1e-2
    control.off()
    assert torch.equal(logits(view), base)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    control.turn_on()
    assert relative(logits(view), base) > 1e-2


def test_one_expert_alone_can_be_edited(model, atlas) -> None:
    layer = max(expert_layers(atlas), key=atlas["a"].norm)
    view = atlas.apply(erase={"a": 1.0}, layers=[layer])
    assert ec.live_edit(view).report().layers == (layer,)
    baked = ec.bake(view)
    changed = [s.name for s in find_slots(model) if not torch.equal(s.matrix(baked), s.matrix(model))]
    assert changed == [layer]


def test_noise_of_the_same_size_can_be_put_on_slices(model, atlas) -> None:
    edit = ec.live_edit(atlas.apply(erase={"a": 1.0})).edit
    noisy = ec.gaussian_view(atlas, edit, seed=0)
    assert relative(logits(noisy), logits(model)) > 1e-2
    assert torch.equal(logits(model), logits(copy.deepcopy(model)))


def test_a_parameter_that_others_hold_is_copied_before_it_is_written(model) -> None:
    linear_map = next(s for s in find_slots(model) if isinstance(s, ExpertSlot))
    twin = copy.deepcopy(model)
    whole = linear_map.parameters(twin)[0]
    kept = whole.detach().clone()
    write_matrix(twin, linear_map, 2 * linear_map.matrix(model))
    assert torch.equal(whole, kept)
    assert relative(linear_map.matrix(twin), 2 * linear_map.matrix(model)) < 1e-6


def test_a_file_keeps_engrams_of_experts(model, atlas, tmp_path) -> None:
    atlas.save(tmp_path / "a.safetensors")
    loaded = ec.Atlas.load(tmp_path / "a.safetensors", model)
    view, other = atlas.apply(erase={"a": 1.0}), loaded.apply(erase={"a": 1.0})
    assert relative(logits(other), logits(view)) < 1e-5


def test_half_precision_experts_are_edited_and_baked_in_their_own_type() -> None:
    half = build("mixtral").to(torch.bfloat16)
    engrams = ec.extract(half, ec.record(half, CONCEPTS))
    view = engrams.apply(erase={"a": 1.0})
    baked = ec.bake(view)
    assert {p.dtype for p in baked.parameters()} == {torch.bfloat16}
    assert torch.isfinite(logits(view)).all() and torch.isfinite(logits(baked)).all()
