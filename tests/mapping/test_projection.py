"""Maps: PCA and UMAP, joint fits, trace strengths, hidden states and cosines against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engram_core.errors import DataError, NonFiniteError
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


# -- traces and hidden states ---------------------------------------------------------------------------


# -- cosines --------------------------------------------------------------------------------------------


# -- command line ---------------------------------------------------------------------------------------
