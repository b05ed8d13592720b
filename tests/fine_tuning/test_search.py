"""The search for a filter: the least gain that is enough, and the power by what the others lose."""

from __future__ import annotations

from fine_tuned import NEW, small_fine_tune

from engram_core.fine_tuning.search import search_steps
from engram_core.progress import drain
from engram_core.solving.filters import Sharpness


def test_the_gain_is_the_least_that_is_enough_for_its_power() -> None:
    fine_tune = small_fine_tune()
    atlas = fine_tune.atlases()["fine-tune"]
    found = drain(search_steps(fine_tune, atlas, "erase", [NEW[3:4], NEW[4:5]], powers=(1.0,)))
    sharp = found.setting.sharpness

    def left(gain: float) -> float:
        there = Sharpness(1.0, True, gain)
        return sum(fine_tune.score(fine_tune.edited(atlas, there, "erase", [n]), [n]) for n in NEW[3:5]) / 2

    assert left(sharp.gain) <= 0.05 < left(0.9 * sharp.gain)
    assert found.figures.chosen == left(sharp.gain)
    assert found.trials == 2 * 9


def test_every_power_is_tried_and_told_of() -> None:
    fine_tune = small_fine_tune()
    atlas = fine_tune.atlases()["fine-tune"]
    steps = list(search_steps(fine_tune, atlas, "compose", [NEW[:2]], powers=(1.0, 3.0)))
    assert {step.what for step in steps} == {"μ^1", "μ^3", "found"}
    assert [step.done for step in steps] == list(range(19))[: len(steps)]
    assert steps[-1].partial.figures.chosen >= 0.8
