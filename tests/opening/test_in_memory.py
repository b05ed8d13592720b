"""Models held in memory: found by name, replaced by name, and never confused with the bundled samples."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from engram_core.errors import DataError
from engram_core.opening.in_memory import hold, in_memory, let_go, names_in_memory
from engram_core.opening.made import sample_of


@pytest.fixture
def sample():
    concepts = {"a": torch.rand(6, 3), "b": torch.rand(6, 3)}
    return sample_of(nn.Linear(3, 2), concepts, name="held for a test")


def test_what_is_held_is_found_until_it_is_let_go(sample) -> None:
    held = hold(sample, code="sample = mine")
    assert in_memory("held for a test") is held and "held for a test" in names_in_memory()
    assert held.sample.model is sample.model and held.code == "sample = mine"
    let_go(held)
    assert in_memory("held for a test") is None


def test_a_name_is_its_newest_model_s_and_the_one_before_takes_nothing_away(sample) -> None:
    first, second = hold(sample, code=""), hold(sample, code="")
    assert in_memory("held for a test") is second and first.version != second.version
    let_go(first)
    assert in_memory("held for a test") is second
    let_go(second)


def test_a_name_is_one_line_and_of_a_length_that_fits_an_address(sample) -> None:
    held = hold(replace(sample, name=" a\nb  c " + 200 * "d"), code="")
    assert held.sample.name.startswith("a b c d") and len(held.sample.name) == 80
    let_go(held)


@pytest.mark.parametrize("name", ["digits-mlp", "  \n"])
def test_a_sample_s_name_and_none_are_refused(sample, name: str) -> None:
    with pytest.raises(DataError, match="name="):
        hold(replace(sample, name=name), code="")
