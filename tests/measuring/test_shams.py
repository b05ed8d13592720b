"""A control is what it claims: the edit's norm, or a concept's number of inputs, and nothing else of it."""

import copy

import pytest
import torch
from helpers import Case, engram_by_hand, homogeneous, matrix_of, orthogonal, relative
from subsets import CONCEPTS, EVERYTHING, WIDTH, drawn
from torch import Tensor, nn

import engram_core as ec
from engram_core.concepts.concepts import ConceptSet
from engram_core.editing.change import edit_sizes
from engram_core.editing.edit import Edit
from engram_core.errors import ConceptOutsideTotalError
from engram_core.measuring.shams import gaussian_matrices, gaussian_view, subset_atlas

EDITS = {
    "erase": {"erase": {"3": 1.3}},
    "erase several": {"erase": {"3": 1.0, "5": -0.5}},
    "keep from nothing": {"keep": {"3": 0.8, "4": 1.0}},
    "keep and erase": {"keep": ["3", "4"], "erase": {"5": 0.5}},
    "keep in place": {"keep": ["3"], "null": "in place"},
    "adaptive": {"erase": {"3": 1.3}, "scaling": "adaptive", "adaptive_power": 2.0},
    "two layers": {"erase": {"3": 1.0}, "layers": ["3", "8"]},
}


@pytest.fixture(scope="module")
def atlas(digits_cnn: Case) -> ec.Atlas:
    """Engrams of a plain, a grouped and a 1 × 1 convolution and a Linear layer."""
    few = {name: x[:30] for name, x in digits_cnn.concepts.items()}
    return ec.extract(digits_cnn.model, ec.record(digits_cnn.model, few))


def written(atlas: ec.Atlas, layer: str, view: nn.Module) -> Tensor:
    return atlas.linear_map(layer).matrix(view).double()


# -- the Gaussian sham -----------------------------------------------------------------------------


@pytest.mark.parametrize("sharp", [None, (2.0, True)], ids=["plain", "sharp"])
@pytest.mark.parametrize("options", EDITS.values(), ids=EDITS.keys())
def test_a_gaussian_sham_has_the_norm_of_the_edit_in_every_layer(
    atlas: ec.Atlas, options: dict, sharp
) -> None:
    atlas = atlas if sharp is None else atlas.sharpen(sharp[0], clip=sharp[1])
    edit = Edit.of(atlas, **options)
    edited = ec.bake(atlas.apply(**options))
    sham = gaussian_view(atlas, edit, seed=4)
    for layer in edit.layers:
        start = 0.0 if edit.from_nothing else atlas.matrix(layer).double()
        real, noise = written(atlas, layer, edited) - start, written(atlas, layer, sham) - start
        size = float(torch.linalg.vector_norm(real))
        rounding = 1e-7 * atlas.weight_norm(layer)
        assert torch.linalg.vector_norm(noise) == pytest.approx(size, rel=1e-4, abs=rounding)
        assert relative(noise, real) > 0.5  # the same norm, not the same edit


def test_a_gaussian_sham_changes_only_the_edited_layers_and_never_the_base(atlas: ec.Atlas) -> None:
    before = copy.deepcopy(atlas.model.state_dict())
    sham = gaussian_view(atlas, Edit.of(atlas, erase={"3": 1.0}, layers=["8"]), seed=0)
    changed = {n for n, p in sham.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {"8.weight", "8.bias"}
    assert all(torch.equal(t, before[n]) for n, t in atlas.model.state_dict().items())
    shared = dict(atlas.model.named_parameters())
    assert all(p is shared[n] for n, p in sham.named_parameters() if n not in changed)


def test_an_edit_of_strength_zero_has_a_sham_that_is_the_base(atlas: ec.Atlas) -> None:
    sham = gaussian_view(atlas, Edit.of(atlas, erase={"3": 0.0}), seed=0)
    assert all(torch.equal(written(atlas, n, sham), atlas.matrix(n).double()) for n in atlas.layers)


def test_one_seed_gives_the_same_noise_and_another_gives_other_noise(atlas: ec.Atlas) -> None:
    edit = Edit.of(atlas, erase={"3": 1.0})
    one, again, other = (gaussian_view(atlas, edit, seed=s) for s in (7, 7, 8))
    for layer in atlas.layers:
        first = written(atlas, layer, one)
        assert torch.equal(first, written(atlas, layer, again))
        noise, another = first - atlas.matrix(layer), written(atlas, layer, other) - atlas.matrix(layer)
        assert relative(another, noise) > 0.5


def test_noise_leaves_the_callers_random_state_alone(atlas: ec.Atlas) -> None:
    state = torch.random.get_rng_state()
    gaussian_view(atlas, Edit.of(atlas, erase={"3": 1.0}), seed=7)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_given_sizes_are_used_instead_of_the_edits_own(atlas: ec.Atlas) -> None:
    edit = Edit.of(atlas, erase={"3": 1.0})
    sizes = {layer: 2 * size for layer, size in edit_sizes(atlas, edit).items()}
    sham = gaussian_view(atlas, edit, seed=0, sizes=sizes)
    for layer, size in sizes.items():
        noise = written(atlas, layer, sham) - atlas.matrix(layer)
        assert torch.linalg.vector_norm(noise) == pytest.approx(size, rel=1e-4)


@pytest.mark.parametrize("layer", ["3", "8"], ids=["grouped", "linear"])
def test_the_mean_answer_of_noise_is_what_theory_says(atlas: ec.Atlas, layer: str) -> None:
    """E‖G x‖² = ‖G‖² ‖x‖² / D for every x; a group of a convolution has its share of ‖G‖²."""
    groups, _, width = atlas.matrix(layer).shape
    x = torch.linspace(-1, 2, width, dtype=torch.float64)
    answers = [
        (matrix.double() @ x).square().sum(-1)
        for seed in range(400)
        for _, matrix in gaussian_matrices(atlas, {layer: 3.0}, seed)
    ]
    expected = torch.full((groups,), 3.0**2 / groups / width * float(x.square().sum()))
    assert relative(torch.stack(answers).mean(0), expected.double()) < 0.08


# -- random subsets of the data --------------------------------------------------------------------


@pytest.fixture(scope="module")
def linear() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(WIDTH, 5, dtype=torch.float64)


@pytest.fixture(scope="module")
def exact(linear: nn.Linear) -> ec.Atlas:
    return ec.extract(linear, ec.record(linear, CONCEPTS))


@pytest.mark.parametrize("size", [1, 8, 30], ids=["one", "rows", "folded"])
def test_a_subsets_engram_is_w_sigma_s_sigma_pinv(exact: ec.Atlas, linear: nn.Linear, size: int) -> None:
    shams = subset_atlas(exact, ConceptSet.of(CONCEPTS), size=size, seeds=[0, 1])
    for seed in (0, 1):
        trace = shams.trace("Linear", f"subset {seed}")
        assert trace.folded == (size > WIDTH)
        expected = engram_by_hand(matrix_of(linear), trace.rows[0], homogeneous(EVERYTHING, True))
        assert relative(shams[f"subset {seed}"].matrix("Linear")[0], expected) < 1e-9
        assert trace.moment[0, -1, -1] == pytest.approx(size)  # the column of ones counts the rows


def test_engrams_of_a_random_partition_sum_to_w(exact: ec.Atlas, linear: nn.Linear) -> None:
    order = torch.randperm(len(EVERYTHING), generator=torch.Generator().manual_seed(1))
    parts = {str(i): EVERYTHING[part] for i, part in enumerate(order.split(11))}
    located = exact.locate(ec.record(linear, parts))
    total = sum(located[name].matrix("Linear") for name in located)
    assert relative(total[0], matrix_of(linear)) < 1e-9


def test_a_subset_of_everything_has_the_layer_itself(exact: ec.Atlas, linear: nn.Linear) -> None:
    shams = subset_atlas(exact, ConceptSet.of(CONCEPTS), size=len(EVERYTHING), seeds=[0])
    assert relative(shams["subset 0"].matrix("Linear")[0], matrix_of(linear)) < 1e-9


def test_a_subset_is_drawn_from_all_data_even_if_one_concept_was_extracted(linear: nn.Linear) -> None:
    only = ec.extract(linear, ec.record(linear, CONCEPTS), concepts=["a"])
    shams = subset_atlas(only, ConceptSet.of(CONCEPTS), size=8, seeds=[0])
    assert max(drawn(shams, "subset 0")) >= len(CONCEPTS["a"])


def test_a_subset_keeps_the_sharpness_of_the_atlas(exact: ec.Atlas) -> None:
    plain, sharp = (
        subset_atlas(a, ConceptSet.of(CONCEPTS), size=8, seeds=[0]) for a in (exact, exact.sharpen(2.0))
    )
    assert sharp.sharpness == ec.Sharpness(2.0)
    assert sharp["subset 0"].norm("Linear") < 0.95 * plain["subset 0"].norm("Linear")


def test_inputs_that_were_not_recorded_are_refused(exact: ec.Atlas) -> None:
    other = ConceptSet.of({name: 100 * x for name, x in CONCEPTS.items()})
    with pytest.raises(ConceptOutsideTotalError, match="Layer 'Linear'"):
        subset_atlas(exact, other, size=8, seeds=[0])


def test_a_subset_of_concepts_that_share_nothing_is_no_concepts_engram() -> None:
    """Each orthogonal concept is wholly its own; a random half of the data is a bit of each."""
    basis = orthogonal(6, 6)
    concepts = {name: basis[2 * i : 2 * i + 2].repeat(10, 1) for i, name in enumerate("abc")}
    model = nn.Linear(6, 4, bias=False, dtype=torch.float64)
    atlas = ec.extract(model, ec.record(model, concepts))
    shams = subset_atlas(atlas, ConceptSet.of(concepts), size=20, seeds=range(5))
    assert atlas.trace("Linear", "a").exclusivity[0, :2].min() == pytest.approx(1.0)
    assert all(shams.trace("Linear", n).exclusivity.max() < 0.95 for n in shams)


# -- an effect against its shams -------------------------------------------------------------------


def test_a_subset_of_some_layers_is_that_of_all_layers_there() -> None:
    sample = ec.load_sample("digits-mlp")
    atlas = ec.extract(sample.model, ec.record(sample.model, sample.concepts))
    every, some = (
        subset_atlas(atlas, sample.concepts, size=8, seeds=[3], layers=layers) for layers in (None, ["fc2"])
    )
    assert every.layers == atlas.layers and some.layers == ["fc2"]
    torch.testing.assert_close(some.dense("fc2", "subset 3"), every.dense("fc2", "subset 3"))
