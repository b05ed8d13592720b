"""What a sweep found is measured once more, on concepts that it was not found on."""

import pytest

from engram_core.errors import DataError
from engram_core.tuning.recommend import recommend
from engram_core.tuning.sweep import confirm, draw_concepts, sweep


def test_confirming_on_others_measures_the_same_edit_and_refuses_the_same_concepts(subject, atlas) -> None:
    searched = sweep(subject, atlas, concepts=["2", "5"], strengths=(0.7, 1.0), groups=["all"])
    found = recommend(searched, forget_at_most=0.5)
    held = confirm(subject, atlas, found.setting, concepts=["0", "7"], found_on=found.found_on)
    direct = sweep(
        subject, atlas, concepts=["0", "7"], strengths=[found.setting["strength"]], groups=["all"]
    ).iloc[0]
    assert list(held["concept"]) == ["0", "7"]
    for column in ("forget", "retain", "damage"):
        assert held[column].mean() == pytest.approx(direct[column])
    with pytest.raises(DataError, match="'5' took part in finding"):
        confirm(subject, atlas, found.setting, concepts=["7", "5"], found_on=found.found_on)


def test_drawn_concepts_are_others() -> None:
    names = [f"c{i}" for i in range(20)]
    first = draw_concepts(names, 8, seed=3)
    assert first == draw_concepts(names, 8, seed=3) != draw_concepts(names, 8, seed=4)
    assert first == [n for n in names if n in set(first)]
    assert not set(draw_concepts(names, 12, without=first)) & set(first)
    with pytest.raises(DataError, match="Cannot draw 13 concepts: there are 12"):
        draw_concepts(names, 13, without=first)
