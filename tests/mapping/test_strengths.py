"""Trace strengths, hidden states and cosines against dense matrices and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import homogeneous, matrix_of

import engram_core as ec


def test_trace_strengths_are_the_ratio_of_norms(sample, atlas, inputs):
    found = ec.trace_strengths(sample.model, atlas, inputs)
    number = inputs.concept.index("3")
    image = sample.concepts["3"].probe[inputs.number[number] - 1][None].flatten(1)
    layer = atlas.layers[0]
    module = sample.model.get_submodule(layer)
    row = homogeneous(image.double(), module.bias is not None)
    for place, concept in enumerate(found.concepts):
        engram = atlas.dense(layer, concept)[0].double()
        expected = torch.linalg.vector_norm(row @ engram.mT) / torch.linalg.vector_norm(
            row @ matrix_of(module).mT
        )
        assert found.values[number, 0, place] == pytest.approx(float(expected), rel=1e-4)
    assert found.matrix.shape == (len(inputs), len(atlas.layers) * 10)
    table = found.table()
    assert len(table) == found.values.size
    line = table[(table.engram == "3") & (table.layer == layer)].iloc[number]
    assert line.strength == found.values[number, 0, found.concepts.index("3")]
    assert (found.specificity > 0).mean() > 0.8


def test_an_edit_is_seen_only_behind_it(sample, atlas, inputs):
    """The ruler is the base's: what comes before every edited layer reads the same, to the last bit."""
    middle = atlas.layers[1]
    edited = atlas.apply(erase={"7": 1.0}, layers=[middle])
    before, after = (ec.trace_strengths(m, atlas, inputs).values for m in (sample.model, edited))
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert np.abs(before[:, 2:] - after[:, 2:]).max() > 0.05
    for layer in atlas.layers:
        base, other = (ec.hidden_states(m, atlas, inputs, layer).matrix for m in (sample.model, edited))
        assert np.array_equal(base, other) == (layer in atlas.layers[:2])
    ec.live_edit(edited).off()
    np.testing.assert_array_equal(ec.trace_strengths(edited, atlas, inputs).values, before)


def test_listening_leaves_model_and_view_as_they_were(sample, atlas, inputs):
    edited = atlas.apply(erase={"7": 1.0})
    digest = ec.model_hash(sample.model)
    ec.trace_strengths(edited, atlas, inputs)
    for model in (sample.model, edited):
        assert not any(module._forward_pre_hooks for module in model.modules())
    assert ec.model_hash(sample.model) == digest


@pytest.mark.parametrize("name", ["digits_cnn", "digits_attention"])
def test_sharp_low_rank_and_dense_engrams_and_every_layer_kind(request, name):
    """Against each layer's own rows and dense engrams, for convolutions (grouped too) and attention."""
    case = request.getfixturevalue(name)
    concepts = {c: x[:12] for c, x in case.concepts.items()}
    subject = ec.Subject(
        case.model,
        ec.ConceptSet(ec.Concept(c, x, x[:2]) for c, x in concepts.items()),
        ec.Classification(tuple(concepts)),
    )
    atlas = ec.extract(case.model, ec.record(case.model, concepts), sharpness=1.5)
    inputs = ec.draw_inputs(subject)
    found = ec.trace_strengths(case.model, atlas, inputs)
    assert found.layers == tuple(atlas.layers) and np.isfinite(found.values).all()
    # One input's answer is what `responses` measures for a concept that holds only this input.
    singles = inputs.singles()
    only = ec.ConceptSet(
        [ec.Concept(c, concepts[c], singles[str(2 * i)].record) for i, c in enumerate(concepts)]
    )
    table = ec.responses(ec.Subject(case.model, only, subject.task), atlas, controls=0)
    one_row = [i for i, layer in enumerate(atlas.layers) if "conv" in atlas.linear_map(layer).kind.casefold()]
    one_row = one_row or [len(atlas.layers) - 1]
    for place in one_row:
        part = table[table.layer == atlas.layers[place]].pivot(
            index="probe", columns="concept", values="ratio"
        )
        expected = part.loc[list(concepts), list(found.concepts)].to_numpy()
        np.testing.assert_allclose(found.values[::2, place], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("rows", [None, 5])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_cosines_are_those_of_the_dense_engrams(sample, rows, power):
    """Folded statistics and few rows (the low-rank form), plain and sharpened."""
    concepts = {name: c.record[:rows] for name, c in list(sample.concepts.items())[:4]}
    atlas = ec.extract(sample.model, ec.record(sample.model, concepts), sharpness=power)
    vectors = []
    for name in concepts:
        parts = [atlas.dense(layer, name).double().reshape(-1) for layer in atlas.layers]
        vectors.append(torch.cat(parts))
    stacked = torch.stack(vectors)
    unit = stacked / torch.linalg.vector_norm(stacked, dim=1, keepdim=True)
    found = ec.engram_cosines(atlas)
    np.testing.assert_allclose(found.cosines, (unit @ unit.mT).numpy(), atol=2e-5)
    np.testing.assert_array_equal(found.cosines, found.cosines.T)
    np.testing.assert_array_equal(np.diag(found.cosines), 1)
    np.testing.assert_allclose(found.matrix @ found.matrix.T, found.cosines, atol=1e-9)
    np.testing.assert_allclose(found.norms, torch.linalg.vector_norm(stacked, dim=1).numpy(), rtol=1e-4)
    layer = atlas.layers[1]
    one = ec.engram_cosines(atlas, layer, concepts=list(concepts)[:2])
    a, b = (atlas.dense(layer, name).double().reshape(-1) for name in list(concepts)[:2])
    assert one.cosines[0, 1] == pytest.approx(float(torch.cosine_similarity(a, b, 0)), abs=2e-5)
    assert one.nearest()["nearest"].tolist() == list(concepts)[1::-1]
