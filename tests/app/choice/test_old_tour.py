"""Links into the first tour open the same lesson of today's."""

from __future__ import annotations

import pytest

from app.choice.old_tour import moved


@pytest.mark.parametrize(("step", "lesson"), [("1", "1"), ("2", "3"), ("3", "4"), ("9", "10")])
def test_a_step_is_moved_to_its_lesson(step, lesson):
    old = {"page": ["live"], "step": [step], "model": ["digits-mlp"], "concepts": ["7"]}
    found = moved(old)
    assert found["page"] == ["learn"] and found["lesson"] == [lesson]
    assert "step" not in found and "predicted" not in found and found["concepts"] == ["7"]
    assert moved(old | {"shown": ["true"]})["predicted"] == ["-" * (int(lesson) - 1) + "x"]
    assert old["page"] == ["live"]  # what was given is as it was


@pytest.mark.parametrize("step", ["0", "10", "-1", "x", "9" * 400, "", "٣"])
def test_what_was_no_step_is_none_now(step):
    assert moved({"page": ["live"], "step": [step], "shown": ["true"]}) == {"page": ["live"]}


def test_other_addresses_stay_as_they_are():
    address = {"page": ["map"], "lesson": ["3"], "predicted": ["012"]}
    assert moved(address) == address
