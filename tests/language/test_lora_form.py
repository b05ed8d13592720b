"""What PEFT's adapter files can say of an engram, and what they cannot."""

from pathlib import Path

import pytest
import torch
from adapters import adapted, atlas_of, logits
from helpers import relative
from safetensors.torch import load_file
from torch import nn

import engram_core as ec
from engram_core.errors import CoverageError
from engram_core.language import save_lora


def product(folder: Path, linear_map) -> torch.Tensor:
    """``B A`` of a layer from the file, with the bias column if the layer has a bias."""
    tensors = load_file(folder / "adapter_model.safetensors")
    stem = f"base_model.model.{linear_map.module}"
    whole = tensors[f"{stem}.lora_B.weight"].double() @ tensors[f"{stem}.lora_A.weight"].double()
    if linear_map.bias:
        whole = torch.cat([whole, tensors[f"{stem}.lora_B.bias"].double()[:, None]], 1)
    return whole


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_error_reported_for_a_rank_is_the_true_one_and_the_best_there_is(tmp_path, family):
    atlas = atlas_of(family)
    report = save_lora(atlas, "sky", tmp_path, rank=3).set_index("layer")
    for layer in atlas.layers:
        whole = atlas["sky"].matrix(layer)[0].double()
        singular = torch.linalg.svdvals(whole)
        best = float(singular[3:].norm() / singular.norm())
        assert report.loc[layer, "rank"] == 3
        assert report.loc[layer, "error"] == pytest.approx(best, abs=1e-4)
        assert relative(product(tmp_path, atlas.linear_map(layer)), whole) == pytest.approx(best, abs=1e-4)
    assert report["error"].max() > 0.01


def test_a_model_without_layers_for_lora_says_so(tmp_path):
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Conv2d(1, 2, 2, dilation=2))
    atlas = ec.extract(model, ec.record(model, {"a": torch.rand(3, 1, 3, 3), "b": torch.rand(3, 1, 3, 3)}))
    with pytest.raises(CoverageError, match=r"cannot hold 1 of the 1 layers \(0,.*no dilation"):
        save_lora(atlas, "a", tmp_path)


def test_experts_that_an_adapter_cannot_hold_are_named_with_what_to_do_instead(tmp_path):
    atlas = atlas_of("mixtral")
    experts = [name for name in atlas.layers if "experts" in name]
    assert experts and len(experts) < len(atlas.layers)
    with pytest.raises(CoverageError) as caught:
        save_lora(atlas, "sky", tmp_path)
    said = str(caught.value)
    assert f"cannot hold {len(experts)} of the {len(atlas.layers)} layers ({experts[0]}," in said
    assert "save_edited" in said and not list(tmp_path.iterdir())
    report = save_lora(atlas, "sky", tmp_path, layers=["q_proj", "k_proj", "v_proj", "o_proj"])
    expected = logits(atlas.apply(erase="sky", layers=list(report["layer"])))
    assert (logits(adapted(atlas, tmp_path)) - expected).abs().max() < 1e-4
