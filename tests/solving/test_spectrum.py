"""Both forms of a total against one dense oracle."""

import pytest
import torch
from helpers import relative, structured
from torch import Tensor

from engram_core.errors import EngramError
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
        return DualForm.of({"all": part}, bias=False, cut=CUT)
    return PrimalForm.of((rows.mT @ rows)[None], cut=CUT)


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
