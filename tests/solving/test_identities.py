"""The identities of docs/science.md section 2, over shapes, ranks, types, biases and both solves."""

from dataclasses import dataclass

import pytest
import scipy.linalg
import torch
from helpers import (
    EPS32,
    engram_by_hand,
    homogeneous,
    matrix_of,
    orthogonal,
    pinv_under_cut,
    relative,
    structured,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import ConceptOutsideTotalError, DataError, EngramError, UnknownNameError
from engram_core.recording.statistics import Statistics
from engram_core.solving.filters import Sharpness
from engram_core.solving.spectrum import Spectrum
from engram_core.solving.spectrum_dual import DualForm

LAYER = "Linear"


@dataclass(frozen=True)
class World:
    """One Linear layer and the rows of its concepts."""

    layer: nn.Linear
    concepts: dict[str, Tensor]

    @property
    def precise(self) -> bool:
        return self.layer.weight.dtype == torch.float64

    @property
    def matrix(self) -> Tensor:
        return matrix_of(self.layer)

    def rows(self, *names: str) -> Tensor:
        """Rows with the bias column, float64; of all concepts if none is named."""
        picked = [self.concepts[name] for name in names or self.concepts]
        return homogeneous(torch.cat(picked), self.layer.bias is not None).double()

    def atlas(self, **options) -> ec.Atlas:
        return ec.extract(self.layer, ec.record(self.layer, self.concepts), **options)


@st.composite
def worlds(draw, *, solve: str | None = None, precise: bool | None = None, full: bool = False) -> World:
    """Draw a layer and structured rows: dual (fewer rows than width) or primal, of any or of full rank."""
    width = draw(st.integers(4, 24))
    out = draw(st.integers(1, 12))
    bias = draw(st.booleans())
    dtype = torch.float64 if (draw(st.booleans()) if precise is None else precise) else torch.float32
    solve = draw(st.sampled_from(["dual", "primal"])) if solve is None else solve
    names = "abc"[: draw(st.integers(2, 3))]
    most = max(1, (width - 1) // len(names)) if solve == "dual" else 2 * width
    least = 1 if solve == "dual" else width // len(names) + 1
    counts = [draw(st.integers(least, max(least, most))) for _ in names]
    rank = width if full else draw(st.integers(1, width))
    seed = draw(st.integers(0, 10_000))
    everything = structured(seed, sum(counts), width, rank, decay=0.95 if full else 0.8) + draw(
        st.sampled_from([0.0, 0.5])
    )
    layer = nn.Linear(width, out, bias=bias, dtype=dtype)
    with torch.no_grad():
        for i, parameter in enumerate(layer.parameters()):
            parameter.copy_(structured(seed + 1 + i, out, parameter[0].numel()).reshape(parameter.shape))
    parts = everything.to(dtype).split(counts)
    return World(layer, dict(zip(names, parts, strict=True)))


def tolerance(world: World) -> float:
    # Float32 rows times float32 duals; the worst direction kept is amplified by 1/√cut at most.
    return 1e-7 if world.precise else 2e-3


# -- the engram itself -----------------------------------------------------------------------------------


@given(worlds())
def test_the_engram_is_w_sigma_c_sigma_pinv(world: World) -> None:
    atlas = world.atlas()
    for name in world.concepts:
        expected = engram_by_hand(world.matrix, world.rows(name), world.rows())
        assert relative(atlas[name].matrix(LAYER)[0], expected) < tolerance(world)


@given(worlds())
def test_a_target_that_is_the_total_has_the_layer_itself_on_the_span(world: World) -> None:
    whole = World(world.layer, {"all": torch.cat(list(world.concepts.values()))})
    engram = whole.atlas()["all"].matrix(LAYER)[0].double()
    rows = whole.rows()
    inside = rows.mT @ rows @ pinv_under_cut(rows.mT @ rows)
    assert relative(engram, world.matrix @ inside) < tolerance(world)
    # What the cut takes away is missing from the response too, and nothing else is.
    cut_away = relative(world.matrix @ inside @ rows.mT, world.matrix @ rows.mT)
    assert cut_away < 0.05
    assert relative(engram @ rows.mT, world.matrix @ rows.mT) < cut_away + tolerance(world)


@given(worlds())
def test_engrams_of_all_concepts_sum_to_w_on_the_span(world: World) -> None:
    atlas = world.atlas()
    total = sum((atlas[name] for name in atlas), start=ec.Engram(atlas, {}))
    rows = world.rows()
    values, vectors = torch.linalg.eigh(rows.mT @ rows)
    kept = vectors[:, values > len(values) * EPS32 * values[-1]]
    assert relative(total.matrix(LAYER)[0], world.matrix @ kept @ kept.mT) < tolerance(world)


@given(worlds(precise=True))
def test_the_rank_of_an_engram_is_at_most_its_concepts(world: World) -> None:
    atlas = world.atlas()
    for name in world.concepts:
        rank = int(torch.linalg.matrix_rank(atlas[name].matrix(LAYER)[0], rtol=1e-7))
        assert rank <= int(torch.linalg.matrix_rank(world.rows(name), rtol=1e-9))
        assert rank <= atlas[name].rank(LAYER)


@given(worlds(solve="dual"))
def test_dual_and_primal_agree(world: World) -> None:
    """Every row thirty times is the same engram, and pushes the dual form over to the primal one."""
    often = {name: torch.cat([x] * 30) for name, x in world.concepts.items()}
    dual, primal = world.atlas(), World(world.layer, often).atlas()
    assert (dual.spectrum(LAYER).form, primal.spectrum(LAYER).form) == ("dual", "primal")
    for name in world.concepts:
        assert relative(dual[name].matrix(LAYER), primal[name].matrix(LAYER)) < tolerance(world)
        assert dual[name].norm(LAYER) == pytest.approx(
            primal[name].norm(LAYER), rel=tolerance(world), abs=1e-12
        )
        one, two = (a.trace(LAYER, name).exclusivity[0] for a in (dual, primal))
        shared = min(len(one), len(two))
        # In float32 an exclusivity next to the cut is known to a few thousandths and no better.
        near = 1e-7 if world.precise else 5e-3
        assert torch.allclose(one[:shared], two[:shared], atol=near)
        assert not one[shared:].abs().gt(near).any() and not two[shared:].abs().gt(near).any()


def folded(statistics: Statistics) -> Statistics:
    copied = statistics.copy()
    copied._fold()
    return copied


@given(worlds(solve="dual"), st.integers(0, 1))
def test_folding_a_concept_by_force_changes_nothing(world: World, which: int) -> None:
    bias = world.layer.bias is not None
    statistics = ec.record(world.layer, world.concepts).sources[0].statistics
    name = list(world.concepts)[which]
    one = Spectrum(statistics, bias=bias)
    two = Spectrum(statistics | {name: folded(statistics[name])}, bias=bias)
    assert (one.form, two.form) == ("dual", "primal")
    for other in world.concepts:
        first = one.trace(other, statistics[other]).projector
        mine = folded(statistics[other]) if other == name else statistics[other]
        assert relative(two.trace(other, mine).projector, first) < max(tolerance(world), 1e-4)
    assert torch.allclose(one.eigenvalues[0, : one.rank], two.eigenvalues[0, : two.rank], rtol=1e-4)
    assert int(one.rank) == int(two.rank)


def test_groups_of_a_convolution_are_solved_apart() -> None:
    layer = nn.Conv2d(4, 6, 2, groups=2, bias=True)
    x = structured(3, 90, 4 * 16).float().reshape(90, 4, 4, 4)
    atlas = ec.extract(layer, ec.record(layer, {"a": x[:30], "b": x[30:]}))
    engram = atlas["a"]
    left, right = engram.factors("Conv2d")
    assert left.ndim == right.ndim == 3 and left.shape[:2] == (2, 3) and right.shape[::2] == (2, 9)
    for group in range(2):
        rows = [nn.functional.unfold(p[:, 2 * group :][:, :2], 2).mT.reshape(-1, 8) for p in (x[:30], x)]
        matrix = torch.cat([layer.weight[3 * group :][:3].flatten(1), layer.bias[3 * group :][:3, None]], 1)
        expected = engram_by_hand(matrix.detach(), *(homogeneous(r, True) for r in rows))
        assert relative(engram.matrix("Conv2d")[group], expected) < 1e-4
        assert relative(left[group] @ right[group], expected) < 1e-4
    assert engram.weight("Conv2d").shape == layer.weight.shape
    torch.testing.assert_close(engram.bias("Conv2d"), engram.matrix("Conv2d")[..., -1].reshape(-1))


# -- the cut ---------------------------------------------------------------------------------------------


def spread(values: list[float], dtype: torch.dtype = torch.float64, extra: int = 4) -> Tensor:
    """Rows whose second moment has exactly these eigenvalues (and `extra` zeros)."""
    basis = orthogonal(len(values), len(values) + extra)
    return (torch.tensor(values, dtype=torch.float64).sqrt()[:, None] * basis).to(dtype)


@pytest.mark.parametrize("form", ["dual", "primal"])
@pytest.mark.parametrize(("above", "kept"), [(1.05, 3), (0.95, 2)])
def test_the_default_cut_is_width_times_float32_epsilon(form: str, above: float, kept: int) -> None:
    width = 7
    rows = spread([4.0, 1.0, 4.0 * above * width * EPS32])
    if form == "primal":
        rows = torch.cat([rows / 2] * 4)
    layer = nn.Linear(width, 5, bias=False, dtype=torch.float64)
    atlas = ec.extract(layer, ec.record(layer, {"a": rows[:1], "b": rows[1:]}))
    spectrum = atlas.spectrum(LAYER)
    assert spectrum.form == form
    assert spectrum.cut == pytest.approx(width * EPS32)
    assert int(spectrum.rank) == kept
    total = atlas["a"] + atlas["b"]
    assert int(torch.linalg.matrix_rank(total.matrix(LAYER)[0], rtol=1e-6)) == kept


@given(worlds(precise=True), st.floats(0, 0.5))
def test_any_cut_keeps_exactly_the_eigenvalues_above_it(world: World, cut: float) -> None:
    rows = world.rows()
    values = torch.linalg.eigvalsh(rows.mT @ rows)
    share = values / values[-1]
    assume(not ((share - cut).abs() < 1e-9).any())  # too close to call
    atlas = world.atlas(cut=cut)
    kept = int((share > cut).sum())
    assert int(atlas.spectrum(LAYER).rank) == kept
    assert int(atlas.spectra().kept.sum()) == kept
    for name in world.concepts:
        expected = engram_by_hand(world.matrix, world.rows(name), rows, cut)
        assert relative(atlas[name].matrix(LAYER)[0], expected) < 1e-6


@pytest.mark.parametrize("cut", [-0.1, 1.0, float("nan"), float("inf")])
def test_a_cut_that_is_no_fraction_is_refused(cut: float) -> None:
    layer, rows = nn.Linear(6, 3), structured(0, 20, 6).float()
    with pytest.raises(DataError, match=r"Layer 'Linear'.*cut"):
        ec.extract(layer, ec.record(layer, {"a": rows}), cut=cut)


@pytest.mark.parametrize(("smallest", "taken"), [(1e-4, True), (0.9 * 40 * EPS32, False), (0.0, False)])
def test_the_cholesky_shortcut_is_taken_only_when_nothing_is_cut(
    smallest: float, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [1.0, 0.5, 0.1, smallest]
    rows = (torch.tensor(values, dtype=torch.float64).sqrt()[:, None] * orthogonal(4, 40)).float()
    rows = orthogonal(4, 4, seed=1).float() @ rows  # no row is an eigenvector by itself
    layer = nn.Linear(40, 5, bias=False)
    recording = ec.record(layer, {"a": rows[:2], "b": rows[2:]})
    calls: list[int] = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda *args: calls.append(1) or eigh(*args))
    short = ec.extract(layer, recording)["a"].matrix(LAYER)
    assert (not calls) == taken
    monkeypatch.setattr(DualForm, "_full_rank_inverse", lambda self, gram: None)
    long = ec.extract(layer, recording)["a"].matrix(LAYER)
    assert calls
    assert relative(short, long) < 1e-5
    assert relative(long[0], engram_by_hand(matrix_of(layer), rows[:2], rows)) < 1e-3


def test_rows_are_held_once_and_duals_are_made_when_asked_for() -> None:
    layer = nn.Linear(60, 5, bias=False)
    rows = structured(3, 24, 60).float()
    recording = ec.record(layer, {"a": rows[:8], "b": rows[8:]})
    atlas = ec.extract(layer, recording)
    for name in "ab":
        kept, seen = atlas.trace(LAYER, name).rows, recording.sources[0].of(name).rows()
        assert kept.untyped_storage().data_ptr() == seen.untyped_storage().data_ptr()
        assert torch.equal(kept, seen)
    before = atlas.nbytes
    duals = atlas.trace(LAYER, "a").duals
    assert atlas.nbytes == before + duals.numel() * duals.element_size()
    # What was let go is solved again, to the same numbers.
    spectrum = atlas.spectrum(LAYER)
    again = spectrum.times_pinv(atlas.trace(LAYER, "a").rows)
    assert relative(duals, again) < 1e-5
    spectrum.let_go()
    assert torch.equal(spectrum.times_pinv(atlas.trace(LAYER, "a").rows), again)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duals_of_the_primal_form_are_made_when_asked_for(dtype: torch.dtype, tmp_path) -> None:
    layer = nn.Linear(20, 5, dtype=dtype)
    rows = structured(3, 90, 20).to(dtype)
    concepts = {"a": rows[:8], "b": rows[8:25], "c": rows[25:]}
    recording = ec.record(layer, concepts)
    atlas = ec.extract(layer, recording)
    assert atlas.spectrum(LAYER).form == "primal" and atlas.trace(LAYER, "c").folded
    for name in "ab":
        trace, before = atlas.trace(LAYER, name), atlas.nbytes
        own = homogeneous(concepts[name], True).double()
        expected = own @ pinv_under_cut(
            homogeneous(rows, True).double().mT @ homogeneous(rows, True).double()
        )
        assert relative(trace.duals[0].double(), expected) < (1e-9 if dtype == torch.float64 else 1e-5)
        assert atlas.nbytes == before + trace.duals.numel() * trace.duals.element_size()
    fresh = ec.extract(layer, recording)
    fresh.save(tmp_path / "atlas.safetensors")  # asks for all that nobody asked for yet
    again = ec.Atlas.load(tmp_path / "atlas.safetensors", layer)
    for name in "ab":
        assert torch.equal(again.trace(LAYER, name).duals, atlas.trace(LAYER, name).duals)


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_noise_below_the_cut_does_not_reach_the_engram(form: str) -> None:
    """What a library-default pseudo-inverse gets wrong: directions that are only rounding."""
    torch.manual_seed(0)
    width = 30
    signal = structured(0, 60 if form == "primal" else 24, width, rank=4)
    layer = nn.Linear(width, 8, bias=False)
    clean = engram_by_hand(matrix_of(layer), signal[:8], signal)
    noisy = (signal + 1e-6 * torch.randn(signal.shape, dtype=torch.float64)).float()
    concepts = {"a": noisy[:8], "b": noisy[8:]}
    found = ec.extract(layer, ec.record(layer, concepts))["a"].matrix(LAYER)[0]
    assert relative(found, clean) < 1e-3
    careless = ec.extract(layer, ec.record(layer, concepts), cut=1e-15)["a"].matrix(LAYER)[0]
    assert relative(careless, clean) > 0.1


@pytest.mark.parametrize("count", [5, 50])
def test_rows_of_zeros_have_an_engram_of_zero(count: int) -> None:
    layer = nn.Linear(10, 4, bias=False)
    atlas = ec.extract(layer, ec.record(layer, {"a": torch.zeros(count, 10), "b": torch.zeros(count, 10)}))
    assert atlas["a"].norm(LAYER) == 0.0
    assert not atlas["a"].matrix(LAYER).any()
    assert not atlas.apply(erase="a")(torch.ones(1, 10)).isnan().any()


# -- the leak certificate and optimality -----------------------------------------------------------------


def measured_errors(world: World, engram: Tensor, name: str) -> tuple[float, float]:
    rest = [other for other in world.concepts if other != name]
    leak = engram @ world.rows(*rest).mT
    residue = (world.matrix - engram) @ world.rows(name).mT
    return float(leak.square().sum()), float(residue.square().sum())


def nothing_cut(world: World) -> bool:
    rows = world.rows()
    values = torch.linalg.eigvalsh(rows @ rows.mT if len(rows) < rows.shape[1] else rows.mT @ rows)
    return bool(values[0] > 100 * rows.shape[1] * EPS32 * values[-1])


@given(worlds(precise=True, full=True))
def test_the_leak_certificate_is_the_measured_error(world: World) -> None:
    assume(nothing_cut(world))
    atlas = world.atlas()
    table = atlas.certificates().set_index("concept")
    for name in world.concepts:
        leak, residue, whole = atlas.trace(LAYER, name).leak(atlas.matrix(LAYER))
        measured = measured_errors(world, atlas[name].matrix(LAYER)[0].double(), name)
        scale = float((world.matrix @ world.rows(name).mT).square().sum())
        assert whole == pytest.approx(scale, rel=1e-6)
        assert leak == pytest.approx(measured[0], rel=1e-4, abs=1e-7 * scale)
        assert residue == pytest.approx(measured[1], rel=1e-4, abs=1e-7 * scale)
        assert table.error[name] == pytest.approx(sum(measured) / scale, rel=1e-4, abs=1e-6)
        assert -1e-6 <= table.error[name] <= 1 + 1e-6
        # Both errors are one matrix: E Σ_rest = W Q = (W − E) Σ_c.
        rest, own = world.rows(*(n for n in world.concepts if n != name)), world.rows(name)
        engram = atlas[name].matrix(LAYER)[0].double()
        one, two = engram @ rest.mT @ rest, (world.matrix - engram) @ own.mT @ own
        assert float((one - two).norm()) <= 1e-6 * float((world.matrix @ own.mT @ own).norm())


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_concepts_whose_rows_meet_only_in_zero_have_no_leak(form: str) -> None:
    one, two = structured(1, 3, 12), structured(2, 4, 12)  # generic: seven independent directions of twelve
    times = 1 if form == "dual" else 5
    layer = nn.Linear(12, 6, bias=False, dtype=torch.float64)
    concepts = {"a": one.repeat(times, 1), "b": two.repeat(times, 1)}
    atlas = ec.extract(layer, ec.record(layer, concepts), cut=1e-12)
    assert atlas.spectrum(LAYER).form == form
    assert atlas.certificates().error.abs().max() < 1e-8
    assert relative(layer(one), layer(one) * 0 + nn.functional.linear(one, atlas["a"].weight(LAYER))) < 1e-6
    view = atlas.apply(erase="a")
    assert view(one).abs().max() < 1e-6 and relative(view(two), layer(two)) < 1e-6


@given(worlds(precise=True, full=True))
def test_the_engram_is_where_the_gradient_of_its_loss_vanishes(world: World) -> None:
    assume(nothing_cut(world))
    atlas = world.atlas()
    name = next(iter(world.concepts))
    own, rest = world.rows(name), world.rows(*list(world.concepts)[1:])

    def loss(engram: Tensor) -> Tensor:
        stays = (engram - world.matrix) @ own.mT
        leaks = engram @ rest.mT
        return 2 * stays.square().sum() + 2 * leaks.square().sum()

    found = atlas[name].matrix(LAYER)[0].double().clone().requires_grad_()
    loss(found).backward()
    elsewhere = world.matrix.clone().requires_grad_()
    loss(elsewhere).backward()
    scale = max(float(elsewhere.grad.norm()), float((world.matrix @ own.mT @ own).norm()))
    assert float(found.grad.norm()) < 1e-6 * scale
    # And the minimum is 2 tr(W Q Wᵀ), as the certificate says without looking.
    leak, residue, _ = atlas.trace(LAYER, name).leak(atlas.matrix(LAYER))
    assert float(loss(found).detach()) == pytest.approx(2 * (leak + residue), rel=1e-4, abs=1e-7 * scale)


@given(worlds(precise=True))
def test_erasing_is_one_unit_natural_gradient_step_on_the_forgetting_loss(world: World) -> None:
    """K-FAC with isotropic output curvature: the step is gradient · Σ†, the metric the total's Σ."""
    name, own, rows = "a", world.rows("a"), world.rows()
    weights = world.matrix.clone().requires_grad_()
    (0.5 * (weights @ own.mT).square().sum()).backward()  # the gradient is W Σ_c
    stepped = world.matrix - weights.grad @ pinv_under_cut(rows.mT @ rows)
    view = world.atlas().apply(erase=name)
    assert relative(ec.bake(view).weight, stepped[:, : world.layer.in_features]) < 1e-7
    if world.layer.bias is not None:
        assert relative(ec.bake(view).bias, stepped[:, -1]) < 1e-7


# -- exclusivity and sharpness ---------------------------------------------------------------------------


@given(worlds(precise=True))
def test_exclusivities_are_the_generalised_eigenvalues_of_concept_against_total(world: World) -> None:
    atlas, rows = world.atlas(), world.rows()
    values, vectors = torch.linalg.eigh(rows.mT @ rows)
    kept = vectors[:, values > len(values) * EPS32 * values[-1]]  # scipy needs a definite total
    for name in world.concepts:
        own = world.rows(name) @ kept
        total = rows @ kept
        expected = scipy.linalg.eigh((own.mT @ own).numpy(), (total.mT @ total).numpy(), eigvals_only=True)
        expected = torch.tensor(expected).flip(0)
        found = atlas.trace(LAYER, name).exclusivity[0]
        shared = min(len(found), len(expected))
        assert torch.allclose(found[:shared], expected[:shared], atol=1e-6)
        assert not (expected[shared:].abs() > 1e-6).any() and not (found[shared:].abs() > 1e-6).any()
        assert found.min() > -1e-6 and found.max() < 1 + 1e-6


def filtered_by_hand(world: World, name: str, sharpness: Sharpness, strength: float) -> Tensor:
    """Return ``W Σ^½ f(M) Σ^-½`` with ``M = Σ^-½ Σ_c Σ^-½``: the filter, dense and symmetric."""
    rows, own = world.rows(), world.rows(name)
    values, vectors = torch.linalg.eigh(rows.mT @ rows)
    keep = values > len(values) * EPS32 * values[-1]
    values, vectors = values[keep], vectors[:, keep]
    root, inverse = (vectors * values.sqrt()) @ vectors.mT, (vectors / values.sqrt()) @ vectors.mT
    mu, basis = torch.linalg.eigh(inverse @ own.mT @ own @ inverse)
    wanted = abs(strength) * mu.clamp(0, 1) ** sharpness.power
    wanted = wanted.clamp(max=1) if sharpness.clip else wanted
    wanted = torch.where(mu > 1e-9, wanted, 0.0) * (1 if strength >= 0 else -1)
    return world.matrix @ root @ (basis * wanted) @ basis.mT @ inverse


@given(
    worlds(precise=True),
    st.sampled_from([0.5, 1.0, 1.5, 2.0, 4.0]),
    st.booleans(),
    st.sampled_from([1.0, 0.3, 5.0, -2.0]),
)
def test_sharpness_is_the_filter_on_exclusivity_in_both_solves(
    world: World, power: float, clip: bool, strength: float
) -> None:
    sharpness = Sharpness(power, clip)
    atlas = world.atlas(sharpness=sharpness)
    name = "b"
    expected = filtered_by_hand(world, name, sharpness, strength)
    # A concept's rows in the kept span are what the filter turns; what the cut drops is not in it.
    rows = world.rows()
    span = rows.mT @ rows @ pinv_under_cut(rows.mT @ rows)
    found = (atlas[name] * strength).matrix(LAYER)[0].double()
    lost = float((world.rows(name) - world.rows(name) @ span).norm() / world.rows(name).norm())
    # μ below 1e-9 counts as none by hand; with a power under 1 those directions are not negligible.
    loose = 1e-4 if power >= 1 else 1e-2
    scale = max(float(expected.norm()), 1e-3 * float(world.matrix.norm()))
    assert float((found - expected).norm()) < (loose + 10 * lost) * scale
    left, right = (atlas[name] * strength).factors(LAYER)
    assert relative(left @ right, found) < 1e-6 or float(found.norm()) < 1e-9


def test_the_papers_engram_is_power_one_and_sharpening_solves_nothing(monkeypatch, digits) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, {n: x[:3] for n, x in digits.concepts.items()}))
    sharp = atlas.sharpen(2.0)
    before = sharp["3"].matrix("2")
    assert relative(atlas.sharpen(1.0, clip=True)["3"].matrix("2"), atlas["3"].matrix("2")) < 1e-5

    def refuse(*_):
        raise AssertionError("solved again")

    monkeypatch.setattr(torch.linalg, "eigh", refuse)
    monkeypatch.setattr(torch.linalg, "cholesky_ex", refuse)
    again = atlas.sharpen(2.0, clip=True).sharpen(2.0)
    assert torch.equal(again["3"].matrix("2"), before)


@pytest.mark.parametrize("strength", [1.0, 3.0, 50.0])
def test_a_clipped_filter_never_removes_a_direction_more_than_once(digits, strength: float) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, digits.concepts), sharpness=Sharpness(1.5, True))
    for layer in atlas.layers:
        mu = atlas.trace(layer, "4").exclusivity
        removed = atlas.sharpness.weights(mu, strength) * mu
        assert removed.max() <= 1 + 1e-9 and removed.min() >= 0


def test_sharper_engrams_spare_the_shared_directions(digits) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, digits.concepts))
    for layer in atlas.layers:
        sizes = [atlas.sharpen(power)["8"].norm(layer) for power in (1.0, 1.5, 2.0, 4.0)]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("power", [0.0, -1.0, 65.0, float("nan"), float("inf")])
def test_an_impossible_sharpness_is_refused(power: float) -> None:
    with pytest.raises(DataError, match="power"):
        Sharpness(power)


# -- the target must be in the total ---------------------------------------------------------------------


def toy() -> tuple[nn.Linear, dict[str, Tensor], Tensor]:
    """A total that is weak where a stranger is strong."""
    total = torch.cat([spread([9.0, 4.0, 1.0, 1e-4]), spread([9.0, 4.0, 1.0, 1e-4])]).float()
    stranger = 2.0 * orthogonal(4, 8)[3:].float()
    return nn.Linear(8, 5, bias=False), {"a": total[:4], "b": total[4:]}, stranger


def test_a_target_outside_the_total_would_explode() -> None:
    layer, concepts, stranger = toy()
    everything = torch.cat(list(concepts.values()))
    exploded = engram_by_hand(matrix_of(layer), stranger, everything)
    assert float(exploded.norm() / matrix_of(layer).norm()) > 100
    harmless = engram_by_hand(matrix_of(layer), stranger, torch.cat([everything, stranger]))
    assert float(harmless.norm() / matrix_of(layer).norm()) <= 1


@pytest.mark.parametrize("outside", ["too strong", "elsewhere"])
def test_a_target_outside_the_total_is_refused(outside: str) -> None:
    layer, concepts, stranger = toy()
    if outside == "elsewhere":
        stranger = torch.linalg.qr(torch.cat(list(concepts.values())).mT, mode="complete")[0][
            :, 4:6
        ].mT.contiguous()
    total, target = ec.record(layer, concepts), ec.record(layer, {"stranger": stranger})
    said = {"too strong": "times as strong", "elsewhere": "of its energy lies in directions"}[outside]
    with pytest.raises(
        ConceptOutsideTotalError, match=f"'Linear'.*'stranger' is not part of the total.*{said}"
    ):
        ec.extract(layer, target, total=total)
    with pytest.raises(ConceptOutsideTotalError, match=said):
        ec.extract(layer, total).locate(target)


@given(worlds(), st.integers(0, 1000))
def test_any_part_of_the_total_may_be_a_target(world: World, seed: int) -> None:
    everything = torch.cat(list(world.concepts.values()))
    part = everything[torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))]
    part = part[: max(1, len(part) // 3)]
    located = world.atlas().locate(ec.record(world.layer, {"part": part}))
    expected = engram_by_hand(world.matrix, homogeneous(part, world.layer.bias is not None), world.rows())
    assert relative(located["part"].matrix(LAYER)[0], expected) < tolerance(world)


def test_a_part_of_a_trained_models_total_may_be_a_target(digits) -> None:
    recording = ec.record(digits.model, digits.concepts)
    atlas = ec.extract(digits.model, recording)
    some = torch.randperm(len(digits.inputs))[:150]
    subset = ec.record(digits.model, {"subset": digits.inputs[some], "3": digits.concepts["3"]})
    located, given = atlas.locate(subset), ec.extract(digits.model, subset, total=recording)
    with torch.no_grad():
        rows = [homogeneous(digits.model[:2](x), True) for x in (digits.inputs[some], digits.inputs)]
    expected = engram_by_hand(matrix_of(digits.model[2]), *rows)
    for found in (located, given):
        assert relative(found["subset"].matrix("2")[0], expected) < 1e-3
        assert relative(found["3"].matrix("2"), atlas["3"].matrix("2")) < 1e-3


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


# -- arithmetic ------------------------------------------------------------------------------------------


@given(worlds(), st.floats(-3, 3), st.floats(-3, 3))
def test_engrams_add_and_scale_like_vectors_in_any_order(world: World, s: float, t: float) -> None:
    atlas = world.atlas()
    a, b = atlas["a"], atlas["b"]
    near = dict(rtol=1e-5, atol=1e-5)
    one, two = a.matrix(LAYER), b.matrix(LAYER)
    torch.testing.assert_close((s * a + b * t).matrix(LAYER), s * one + t * two, **near)
    torch.testing.assert_close((b * t + a * s).matrix(LAYER), (s * a + t * b).matrix(LAYER), **near)
    torch.testing.assert_close((a - b).matrix(LAYER), one - two, **near)
    assert not (a - a).matrix(LAYER).any()
    torch.testing.assert_close((-a).matrix(LAYER), -one)


@given(worlds(), st.sampled_from([{"a": 1.0}, {"a": 0.5, "b": -2.0}, {"b": 0.0}]))
def test_weight_bias_factors_norm_and_rank_tell_one_story(
    world: World, coefficients: dict[str, float]
) -> None:
    engram = ec.Engram(world.atlas(), coefficients)
    matrix = engram.matrix(LAYER)[0]
    columns = world.layer.in_features
    assert torch.equal(engram.weight(LAYER), matrix[:, :columns])
    bias = engram.bias(LAYER)
    assert (bias is None) == (world.layer.bias is None)
    if bias is not None:
        assert torch.equal(bias, matrix[:, -1])
    left, right = engram.factors(LAYER)
    scale = float(world.matrix.norm())
    assert float((left @ right - matrix).norm()) < tolerance(world) * scale
    assert engram.norm(LAYER) == pytest.approx(float(matrix.norm()), rel=5e-3, abs=1e-5 * scale)
    assert left.shape[1] == right.shape[0]
    found = int(torch.linalg.matrix_rank(matrix.double(), rtol=1e-4))
    assert found <= max(engram.rank(LAYER), 0)


def test_what_an_engram_hands_out_can_be_written_on(digits) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, digits.concepts))
    engram, size = atlas["5"], atlas["5"].norm("0")
    engram.matrix("0").zero_()
    engram.weight("0").zero_()
    engram.bias("0").zero_()
    for factor in engram.factors("0"):
        factor.zero_()
    assert atlas["5"].norm("0") == size > 0


def test_engrams_of_two_atlases_do_not_add(digits) -> None:
    recording = ec.record(digits.model, digits.concepts)
    one, two = ec.extract(digits.model, recording), ec.extract(digits.model, recording)
    with pytest.raises(EngramError, match="different totals"):
        one["1"] + two["1"]
    with pytest.raises(TypeError):
        one["1"] + 1.0
    with pytest.raises(UnknownNameError, match="Unknown concept '11'"):
        one["11"]
    with pytest.raises(UnknownNameError, match="Unknown layer 'fc9'"):
        one["1"].weight("fc9")


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
