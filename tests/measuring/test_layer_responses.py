"""How strongly each layer responds: brute force over held-out inputs, with shams worked by hand."""

import copy
import json

import pytest
import torch
from helpers import subject_of
from torch import Tensor, nn

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.concepts import Concept, ConceptSet
from engram_core.concepts.tasks import Subject
from engram_core.measuring.shams import gaussian_matrices, subset_shams
from engram_core.measuring.significance import significance


@pytest.mark.parametrize("held_out", [2, 40], ids=["few rows", "folded"])
@pytest.mark.parametrize("case", ["digits", "digits_cnn", "digits_attention"])
def test_response_tables_are_brute_force_over_held_out_inputs(case: str, held_out: int, request) -> None:
    """Run the very layer with W, then with E in its place, on what it really reads."""
    subject = subject_of(request.getfixturevalue(case), held_out)
    atlas = ec.extract(subject.model, ec.record(subject.model, subject.concepts))
    table = ec.responses(subject, atlas, strength=0.7, controls=0).set_index(["layer", "concept", "probe"])
    checked = 0
    for layer in atlas.layers:
        module = dict(subject.model.named_modules()).get(layer)
        if module is None or isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
            continue  # a part of an attention has no module that could be called
        for probe in ("0", "7"):
            x = inputs_of(subject.model, module, subject.concepts[probe].probe)
            real = module(x).detach()
            for concept in ("0", "7"):
                answer = with_engram(module, 0.7 * atlas[concept], layer)(x)
                norm = torch.linalg.vector_norm
                expected = {
                    "ratio": norm(answer) / norm(real),
                    "cosine": (answer * real).sum() / (norm(answer) * norm(real)),
                    "explained": 1 - (norm(real - answer) / norm(real)) ** 2,
                }
                found = table.loc[layer, concept, probe]
                for name, value in expected.items():
                    assert found[name] == pytest.approx(float(value), abs=2e-4), (layer, concept, probe, name)
                checked += 1
    assert checked >= 12


def inputs_of(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    heard: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: heard.append(args[0].clone()))
    with torch.enable_grad():  # off the fused path, which calls no layer
        model(x)
    handle.remove()
    return heard[0].detach()


@torch.no_grad()
def with_engram(layer: nn.Module, engram: ec.Engram, name: str) -> nn.Module:
    twin = copy.deepcopy(layer)
    twin.weight.copy_(engram.weight(name))
    if twin.bias is not None:
        twin.bias.copy_(engram.bias(name))
    return twin.requires_grad_(False)


def test_sharpness_and_layers_reach_the_response(subject: Subject, atlas: ec.Atlas) -> None:
    plain = ec.specificity(subject, atlas, controls=0, layers=["2"])
    sharp = ec.specificity(subject, atlas.sharpen(2.0), controls=0, layers=["2"])
    assert set(plain["layer"]) == {"2"}
    other = plain["concept"] != plain["probe"]
    assert (sharp["value"] < plain["value"])[other].mean() > 0.9  # less reaches the others


def test_response_controls_are_worked_by_hand_too(subject: Subject, atlas: ec.Atlas) -> None:
    options = {"layers": ["4"], "controls": 4, "seed": 3, "strength": 1.2}
    table = ec.responses(subject, atlas, **options).set_index(["concept", "probe"])
    shams = subset_shams(subject, atlas, [3, 4, 5, 6])["2"]
    # Extracted engrams of the subsets, answered as concepts of a table of their own.
    answers = ec.responses(subject, shams, strength=1.2, layers=["4"], controls=0)
    ratios = answers[answers["probe"] == "7"]["ratio"]
    row = table.loc["2", "7"]
    mean, deviation, z, p = significance(row["ratio"], ratios)
    assert [row[f"ratio_subset{t}"] for t in ("", "_sd", "_z", "_p")] == pytest.approx(
        [mean, deviation, z, p]
    )
    # Noise of the engram's norm, run on the very inputs of the layer.
    module = subject.model[4]
    x = inputs_of(subject.model, module, subject.concepts["7"].probe)
    real = module(x).detach()
    size = {"4": 1.2 * atlas["2"].norm("4")}
    noise = [(m[0, :, :-1], m[0, :, -1]) for s in (3, 4, 5, 6) for _, m in gaussian_matrices(atlas, size, s)]
    answers = [x @ weight.mT + bias for weight, bias in noise]
    norm = torch.linalg.vector_norm
    expected = {
        "ratio": [float(norm(y) / norm(real)) for y in answers],
        "cosine": [float((y * real).sum() / norm(y) / norm(real)) for y in answers],
        "explained": [float(1 - (norm(real - y) / norm(real)) ** 2) for y in answers],
    }
    for name, values in expected.items():
        found = [row[f"{name}_gaussian{t}"] for t in ("", "_sd", "_z", "_p")]
        assert found == pytest.approx(significance(row[name], values), rel=1e-3, abs=1e-4)


def test_a_layer_that_no_held_out_input_reaches_has_no_value() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.always, self.seldom = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.always(x) + (self.seldom(x) if x.sum() > 100 else 0)

    torch.manual_seed(0)
    concepts = ConceptSet(
        [Concept(n, torch.rand(9, 4) + i * 50, torch.rand(5, 4)) for i, n in enumerate(("a", "b"))]
    )
    subject = Subject(Branch(), concepts, Classification(("a", "b")))
    atlas = ec.extract(subject.model, ec.record(subject.model, concepts))
    table = ec.specificity(subject, atlas, controls=0)
    assert table[table["layer"] == "seldom"]["value"].isna().all()
    assert table[table["layer"] == "always"]["value"].notna().all()
    found = ec.criteria(subject, atlas, controls=0).to_dict()
    assert found["specificity"]["layers"]["seldom"]["a"] == {"a": None, "b": None}
    json.dumps(found, allow_nan=False)
