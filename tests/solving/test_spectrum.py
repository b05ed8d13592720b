"""Which eigenvalues count, and that what was cut off reaches nothing."""

from __future__ import annotations

import pytest
import torch
from helpers import (
    EPS32,
    engram_by_hand,
    matrix_of,
    orthogonal,
    relative,
    structured,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from worlds import LAYER, World, worlds

import engram_core as ec
from engram_core.errors import DataError, EngramError
from engram_core.recording.statistics import Statistics
from engram_core.solving.spectrum import Spectrum
from engram_core.solving.spectrum_dual import DualForm
from engram_core.solving.spectrum_primal import PrimalForm
from engram_core.solving.trace import Trace

WIDTH, CUT = 30, 1e-6


@pytest.fixture(params=[12, 90], ids=["fewer rows than width", "more rows than width"])
def rows(request) -> Tensor:
    return structured(1, request.param, WIDTH).double()


def form(kind: type, rows: Tensor) -> DualForm | PrimalForm:
    if kind is DualForm:
        part = Statistics(1, WIDTH, len(rows), [rows[None]], dtype=rows.dtype)
        return DualForm.decompose({"all": part}, bias=False, cut=CUT)
    return PrimalForm.decompose((rows.mT @ rows)[None], cut=CUT)


@pytest.mark.parametrize("kind", [DualForm, PrimalForm])
def test_every_product_is_that_of_the_pseudo_inverse(kind, rows) -> None:
    solved, total = form(kind, rows), rows.mT @ rows
    inverse = torch.linalg.pinv(total, rtol=CUT, hermitian=True)
    x, matrix = structured(2, 7, WIDTH).double(), structured(3, 5, WIDTH).double()
    moment = rows[:4].mT @ rows[:4]
    assert relative(solved.times_pinv(x[None])[0], x @ inverse) < 1e-5
    assert relative(solved.inside(x[None])[0], x @ total @ inverse) < 1e-5
    assert relative(solved.project(matrix[None], moment[None])[0], matrix @ moment @ inverse) < 1e-5
    values = torch.linalg.eigvalsh(total).flip(-1)[: min(len(rows), WIDTH)]
    found = solved.eigenvalues[0][: len(values)]
    torch.testing.assert_close(found, values, rtol=1e-6, atol=1e-8 * float(values[0]))
    if solved.pinv_root is not None:
        assert relative((solved.pinv_root @ solved.pinv_root.mT)[0], inverse) < 1e-5


@pytest.mark.parametrize("kind", [DualForm, PrimalForm])
def test_what_is_saved_gives_the_same_products(kind, rows) -> None:
    solved = form(kind, rows)
    state = {"eigenvalues": solved.eigenvalues, **solved.state(total=True)}
    again = kind.restore(state, CUT)
    x = structured(2, 7, WIDTH).double()[None]
    assert torch.equal(again.times_pinv(x), solved.times_pinv(x))
    assert torch.equal(again.eigenvalues, solved.eigenvalues)


def test_a_dual_total_without_its_rows_says_what_it_cannot_do(rows) -> None:
    solved = form(DualForm, rows)
    again = DualForm.restore({"eigenvalues": solved.eigenvalues, **solved.state(total=False)}, CUT)
    with pytest.raises(EngramError, match="Extract it again from the recording"):
        again.times_pinv(rows[None])


def test_a_part_known_by_its_moment_alone_has_the_engram_of_its_rows() -> None:
    """Whoever gives a moment where the total is kept as rows gets the same projector."""
    rows = structured(1, 12, WIDTH).double()
    statistics = {"a": Statistics(1, WIDTH, 5, [rows[None, :5]], dtype=rows.dtype),
                  "b": Statistics(1, WIDTH, 7, [rows[None, 5:]], dtype=rows.dtype)}  # fmt: skip
    spectrum = Spectrum(statistics, bias=False)
    assert spectrum.form == "dual"
    by_rows = spectrum.trace("a", statistics["a"])
    by_moment = Trace(spectrum, None, None, by_rows.moment)
    matrix = structured(3, 5, WIDTH).double()[None]
    wanted = matrix @ by_rows.projector
    assert relative(spectrum.project(matrix, by_moment.moment), wanted) < 1e-9
    assert relative(matrix @ by_moment.projector, wanted) < 1e-9
    torch.testing.assert_close(by_moment.exclusivity[..., :5], by_rows.exclusivity, rtol=1e-6, atol=1e-9)


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


def test_a_cut_of_zero_keeps_whatever_is_there() -> None:
    layer, rows = nn.Linear(6, 3).double(), structured(0, 20, 6) * torch.logspace(0, -5, 6).double()
    ranks = [
        int(ec.extract(layer, ec.record(layer, {"a": rows}), cut=cut).spectrum(LAYER).rank.sum())
        for cut in (0.0, 1e-3)
    ]
    assert ranks[0] == 7 > ranks[1]  # six columns and the bias


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
