"""Maps: PCA and UMAP, joint fits, trace strengths, hidden states and cosines against the definition."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers import homogeneous, matrix_of
from typer.testing import CliRunner

import engram_core as ec
from engram_core.cli import app
from engram_core.errors import DataError, NonFiniteError, UnknownNameError
from engram_core.mapping.inputs import answers, some_concepts
from engram_core.mapping.projection import joint_projection, project


def cloud(count=60, width=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) * np.linspace(4, 0.2, width)


# -- PCA --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [12, 200])
def test_pca_is_the_best_linear_map_and_says_how_much_it_shows(width):
    points = cloud(width=width)
    found = project(points, dimensions=3)
    centred = points - points.mean(0)
    singular = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(found.explained, singular[:3] ** 2 / (singular**2).sum(), rtol=1e-9)
    gram = found.coordinates.T @ found.coordinates
    np.testing.assert_allclose(gram, np.diag(singular[:3] ** 2), atol=1e-8 * singular[0] ** 2)


def test_pca_does_not_depend_on_the_order_or_place_of_the_points():
    points = cloud()
    order = np.random.default_rng(1).permutation(len(points))
    found = project(points).coordinates
    np.testing.assert_allclose(project(points[order] + 7.0).coordinates, found[order], atol=1e-9)
    np.testing.assert_array_equal(project(points).coordinates, found)


def test_points_with_fewer_directions_than_the_map_get_zeros():
    line = np.outer(np.arange(5.0), [3.0, 4.0])
    found = project(line, dimensions=3)
    np.testing.assert_allclose(found.explained, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.coordinates[:, 1:], 0, atol=1e-12)
    assert not project(np.ones((4, 3))).coordinates.any()


@pytest.mark.parametrize(
    ("points", "options", "said"),
    [
        (np.ones((1, 3)), {}, "at least 2"),
        (np.ones(3), {}, "(points, features)"),
        (np.ones((4, 3)), {"dimensions": 4}, "2 or 3"),
        (np.ones((4, 3)), {"method": "tsne"}, "tsne"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(points, options, said):
    with pytest.raises(DataError) as error:
        project(points, **options)
    assert said in str(error.value)


UNLAYABLE = {
    "two points": (np.array([[0.0, 1.0], [2.0, 5.0]]), "at least 5 different points and there are 2"),
    "four points": (np.random.default_rng(0).normal(size=(4, 3)), "there are 4"),
    "all equal": (np.ones((30, 4)), "of 30 only 1 differ"),
    "copies of four": (np.tile(np.eye(4), (10, 1)), "of 40 only 4 differ"),
    "one feature": (np.random.default_rng(0).normal(size=(30, 1)), "differ in 1 direction only"),
    "a line": (np.outer(np.arange(30.0), [1.0, 2.0, 3.0]), "differ in 1 direction only"),
    "one feature of many": (np.random.default_rng(1).normal(size=(30, 1)) * np.eye(1, 9), "1 direction only"),
}


@pytest.mark.parametrize(("points", "said"), UNLAYABLE.values(), ids=UNLAYABLE.keys())
@pytest.mark.parametrize("dimensions", [2, 3])
def test_points_that_umap_cannot_lay_out_are_drawn_by_pca_which_says_why(points, said, dimensions):
    found = project(points, method="umap", dimensions=dimensions)
    assert found.method == "pca" and said in found.note and found.note.endswith("so PCA is shown.")
    expected = project(points, dimensions=dimensions)
    np.testing.assert_array_equal(found.coordinates, expected.coordinates)
    assert np.isfinite(found.coordinates).all() and expected.note == ""
    for fit in ("base", "joint"):
        joint = joint_projection(points, points * 2, method="umap", dimensions=dimensions, fit=fit)
        assert np.isfinite(joint.base.coordinates).all() and np.isfinite(joint.edited).all()
        assert joint.base.method == "pca" or fit == "joint"
        assert bool(joint.base.note) == (joint.base.method == "pca")


def test_a_plane_is_drawn_in_two_dimensions_by_umap_and_in_three_by_pca():
    plane = np.random.default_rng(0).normal(size=(30, 2))
    assert project(plane, method="umap").note == ""
    assert "differ in 2 directions only" in project(plane, method="umap", dimensions=3).note


def test_features_that_are_no_numbers_are_refused():
    points = cloud()
    points[3, 2] = np.nan
    with pytest.raises(NonFiniteError, match="1 of"):
        project(points)


@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e-30, 1e38, 1e139])
@pytest.mark.parametrize("method", ["pca", "umap"])
def test_a_map_does_not_depend_on_the_size_of_the_numbers(size, method):
    points = np.random.default_rng(0).integers(-9, 9, (30, 4)).astype(float)
    plain, scaled = project(points), project(points * size, method=method)
    assert scaled.method == method and np.isfinite(scaled.coordinates).all()
    if method == "pca" and size > 1e-300:
        assert scaled.explained == pytest.approx(plain.explained)
        assert np.allclose(scaled.coordinates / size, plain.coordinates)
    joint = joint_projection(points * size, points[::-1] * size, method=method)
    assert np.isfinite(joint.edited).all() and np.isfinite(joint.moved).all()


@pytest.mark.parametrize(
    "points, said",
    [
        (np.full((8, 3), 1j) * np.arange(8)[:, None], "real numbers; found an array of complex128"),
        (np.array([["a", "b"], ["c", "d"]]), "real numbers"),
        (np.eye(4) * 1e300, "distances of more than 1e+140"),
        ([[1.0, None], [2.0, 3.0]], "an array of object"),
    ],
)
def test_what_is_no_real_number_of_a_size_is_refused(points, said):
    with pytest.raises(DataError, match=said.replace("+", r"\+")):
        project(points)


def test_tensors_of_any_type_are_points():
    points = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    for given in (points.bfloat16(), points.half(), points.double().requires_grad_()):
        found = project(given).coordinates
        assert np.allclose(found, project(given.detach().double().numpy()).coordinates)


# -- base and edited ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["base", "joint"])
def test_a_point_that_did_not_change_stays_where_it_is(fit):
    before = cloud()
    after = before.copy()
    after[:20] += np.random.default_rng(2).normal(size=(20, 12))
    found = joint_projection(before, after, fit=fit)
    np.testing.assert_array_equal(found.edited[20:], found.base.coordinates[20:])
    assert (found.moved[20:] == 0).all() and (found.moved[:20] > 0).all()
    assert set(found.most_moved(50)) == set(range(20))
    assert 0 < found.shown < 1


def test_a_map_of_the_base_is_the_same_for_every_edit_and_places_points_linearly():
    before, shift = cloud(), np.random.default_rng(3).normal(size=(60, 12))
    one = joint_projection(before, before + shift, fit="base")
    two = joint_projection(before, before + 2 * shift, fit="base")
    alone = project(before)
    np.testing.assert_array_equal(one.base.coordinates, alone.coordinates)
    np.testing.assert_array_equal(two.base.coordinates, alone.coordinates)
    first, second = one.edited - alone.coordinates, two.edited - alone.coordinates
    np.testing.assert_allclose(second, 2 * first, atol=1e-9)


def test_a_joint_map_shows_at_least_as_much_of_both_models_as_a_map_of_the_base():
    before = cloud()
    after = before.copy()
    after[:30, -1] += 30.0  # a direction that the base hardly has
    base, joint = (joint_projection(before, after, fit=fit) for fit in ("base", "joint"))
    assert base.shown < 0.01 and joint.shown > 0.9

    def variance(found):
        both = np.concatenate([found.base.coordinates, found.edited])
        return np.square(both - both.mean(0)).sum()

    assert variance(joint) > variance(base)


def test_a_joint_map_is_a_turned_pca_of_both():
    """Turning keeps every distance, so a joint map differs from PCA of the stack by nothing else."""
    before = cloud()
    after = before + np.random.default_rng(4).normal(size=before.shape)
    found = joint_projection(before, after)
    stacked = project(np.concatenate([before, after])).coordinates
    both = np.concatenate([found.base.coordinates, found.edited])
    np.testing.assert_allclose(both @ both.T, stacked @ stacked.T, atol=1e-8)
    assert sum(found.base.explained) == pytest.approx(sum(project(np.concatenate([before, after])).explained))


def test_nothing_edited_moves_nothing():
    before = cloud()
    found = joint_projection(before, before)
    np.testing.assert_array_equal(found.edited, found.base.coordinates)
    assert not found.moved.any() and not len(found.most_moved(5)) and np.isnan(found.shown)
    np.testing.assert_allclose(np.abs(found.base.coordinates), np.abs(project(before).coordinates), atol=1e-9)


def test_two_shapes_are_refused():
    with pytest.raises(DataError, match="one shape"):
        joint_projection(cloud(), cloud(count=59))


def test_umap_keeps_groups_apart_is_repeatable_and_lowers_its_neighbours():
    rng = np.random.default_rng(5)
    groups = np.repeat([0, 1], 6)
    points = rng.normal(size=(12, 5)) + 30 * groups[:, None]
    after = points.copy()
    after[0] += 1.0
    found = joint_projection(points, after, method="umap", neighbours=100)
    again = joint_projection(points, after, method="umap", neighbours=100)
    np.testing.assert_array_equal(found.edited, again.edited)
    assert found.base.neighbours == 12  # 12 base points and the one that moved, less one
    np.testing.assert_array_equal(found.edited[1:], found.base.coordinates[1:])
    few = project(points, method="umap", neighbours=3).coordinates
    near = np.linalg.norm(few[:, None] - few, axis=-1) + np.diag([np.inf] * 12)
    assert (groups[near.argmin(1)] == groups).all()


# -- inputs -------------------------------------------------------------------------------------------


def test_a_draw_is_seeded_bounded_and_grows(sample):
    few, more = (ec.draw_inputs(sample, per_concept=n, seed=3) for n in (4, 9))
    pairs = set(zip(few.concept, few.number, strict=True))
    assert pairs < set(zip(more.concept, more.number, strict=True)) and len(few) == 40
    assert few.table().equals(ec.draw_inputs(sample, per_concept=4, seed=3).table())
    assert not few.table().equals(ec.draw_inputs(sample, per_concept=4, seed=4).table())
    assert len(ec.draw_inputs(sample, most=50)) == 50
    assert few.available["7"] == len(sample.concepts["7"].probe)
    # Another choice of concepts leaves each concept's own draw alone.
    alone = ec.draw_inputs(sample, ["7"], per_concept=4, seed=3)
    assert set(zip(alone.concept, alone.number, strict=True)) <= pairs


def test_many_concepts_become_the_chosen_and_a_seeded_few():
    names = [f"c{i}" for i in range(100)]
    some = some_concepts(names, ["c99", "c3"], most=10)
    assert len(some) == 10 and {"c99", "c3"} <= set(some) and list(some) == sorted(some, key=names.index)
    assert some == some_concepts(names, ["c99", "c3"], most=10) and some_concepts(names[:5]) == tuple(
        names[:5]
    )
    with pytest.raises(UnknownNameError):
        some_concepts(names, ["c100"])


def test_answers_are_the_models(sample, atlas, inputs):
    said = np.array(answers(sample, inputs))
    share = (said == np.array(inputs.concept)).mean()
    assert share > 0.9
    without = np.array(answers(sample, inputs, atlas.apply(erase="7")))
    sevens = np.array(inputs.concept) == "7"
    assert (without[sevens] == "7").mean() < 0.5 <= (without[~sevens] == said[~sevens]).mean()


# -- traces and hidden states ---------------------------------------------------------------------------


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
    one_row = [i for i, layer in enumerate(atlas.layers) if "conv" in atlas.slot(layer).kind.casefold()]
    one_row = one_row or [len(atlas.layers) - 1]
    for place in one_row:
        part = table[table.layer == atlas.layers[place]].pivot(
            index="probe", columns="concept", values="ratio"
        )
        expected = part.loc[list(concepts), list(found.concepts)].to_numpy()
        np.testing.assert_allclose(found.values[::2, place], expected, rtol=2e-3, atol=1e-4)


def test_a_hidden_state_is_the_mean_of_what_the_layer_reads(sample, atlas, inputs):
    layer = atlas.layers[-1]
    found = ec.hidden_states(sample.model, atlas, inputs, layer)
    heard = []
    hook = sample.model.get_submodule(layer).register_forward_pre_hook(lambda _, args: heard.append(args[0]))
    try:
        sample.model(torch.cat([c.record for c in inputs.singles().values()]))
    finally:
        hook.remove()
    np.testing.assert_allclose(found.matrix, heard[0].detach().numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(UnknownNameError):
        ec.hidden_states(sample.model, atlas, inputs, "nowhere")


# -- cosines --------------------------------------------------------------------------------------------


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


# -- command line ---------------------------------------------------------------------------------------


def test_the_command_gives_what_the_api_gives(sample, atlas, tmp_path):
    path = tmp_path / "points.csv"
    run = CliRunner().invoke(
        app, ["map", "digits-mlp", "--erase", "7", "--per-concept", "5", "--json", "--csv", str(path)]
    )
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    inputs = ec.draw_inputs(sample, per_concept=5)
    before, after = (
        ec.trace_strengths(m, atlas, inputs).matrix for m in (sample.model, atlas.apply(erase={"7": 1.0}))
    )
    expected = joint_projection(before, after)
    points = np.array([[p["x"], p["y"], p["edited_x"], p["edited_y"]] for p in told["points"]])
    np.testing.assert_allclose(points, np.hstack([expected.base.coordinates, expected.edited]), atol=1e-5)
    assert len(path.read_text().splitlines()) == 51
    engrams = CliRunner().invoke(app, ["map", "digits-mlp", "--of", "engrams", "--json"])
    assert [p["concept"] for p in json.loads(engrams.stdout)["points"]] == list(sample.concepts)
