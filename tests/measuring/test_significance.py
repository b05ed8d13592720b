"""How far an effect stands out from its shams, worked by hand."""

import numpy as np
import pytest

from engram_core.errors import DataError
from engram_core.measuring.significance import significance


def test_significance_is_the_formula_worked_by_hand() -> None:
    mean, deviation, z, p = significance(6.0, [1.0, 2.0, 3.0, 6.0])
    assert (mean, p) == (3.0, 2 / 5)  # one sham reaches the effect
    assert deviation == pytest.approx((14 / 3) ** 0.5)
    assert z == pytest.approx(3 / (14 / 3) ** 0.5)


def test_p_is_never_zero_and_never_above_one() -> None:
    shams = np.random.default_rng(0).normal(size=20)
    assert significance(1e9, shams)[3] == pytest.approx(1 / 21)
    assert significance(-1e9, shams)[3] == 1.0


@pytest.mark.parametrize(("effect", "z", "p"), [(0.1, 0.0, 1.0), (0.4, np.inf, 1 / 4), (-2.0, -np.inf, 1.0)])
def test_shams_that_are_all_alike_have_no_spread_to_divide_by(effect: float, z: float, p: float) -> None:
    assert significance(effect, [0.1, 0.1, 0.1])[2:] == (z, p)


@pytest.mark.parametrize("values", [(np.nan, [0.1, 0.2]), (0.5, [0.1, np.nan])])
def test_what_is_not_defined_is_not_significant(values: tuple) -> None:
    assert np.isnan(significance(*values)[2:]).all()


@pytest.mark.parametrize("shams", [[], [0.5]])
def test_a_control_needs_at_least_two_shams(shams: list) -> None:
    with pytest.raises(DataError, match=f"at least two shams; found {len(shams)}"):
        significance(1.0, shams)


def test_effects_drawn_as_the_shams_are_have_uniform_p() -> None:
    draws = np.random.default_rng(0).normal(size=(2000, 21))
    ps = np.array([significance(row[0], row[1:])[3] for row in draws])
    assert abs((ps <= 0.25).mean() - 5 / 21) < 0.03
