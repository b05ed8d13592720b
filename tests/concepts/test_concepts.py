"""Concepts by name, and the inputs that are drawn from them."""

import copy

import numpy as np
import pytest
import torch
from helpers import relative
from subsets import CONCEPTS, EVERYTHING, WIDTH, drawn
from torch import Tensor, nn

import engram_core as ec
from engram_core.concepts.concepts import ConceptSet
from engram_core.errors import DataError
from engram_core.measuring.shams import subset_atlas


def test_a_random_subset_has_its_size_and_no_input_twice(exact: ec.Atlas) -> None:
    shams = subset_atlas(exact, ConceptSet.of(CONCEPTS), size=8, seeds=range(40))
    picks = [drawn(shams, name) for name in shams.concepts]
    assert list(shams.concepts) == [f"subset {seed}" for seed in range(40)]
    assert all(len(pick) == len(set(pick)) == 8 for pick in picks)
    assert all(count == 8 for count in shams.counts.values())
    assert len({tuple(pick) for pick in picks}) == 40  # every seed draws its own


def test_random_subsets_draw_every_input_with_equal_chance(exact: ec.Atlas) -> None:
    shams = subset_atlas(exact, ConceptSet.of(CONCEPTS), size=8, seeds=range(300))
    times = np.bincount(sum((drawn(shams, n) for n in shams.concepts), []), minlength=len(EVERYTHING))
    expected = 300 * 8 / len(EVERYTHING)
    assert abs(times - expected).max() < 5 * expected**0.5


def test_one_seed_draws_the_same_subset(exact: ec.Atlas) -> None:
    one, again = (subset_atlas(exact, ConceptSet.of(CONCEPTS), size=8, seeds=[5]) for _ in range(2))
    assert drawn(one, "subset 5") == drawn(again, "subset 5")


class Scaled(nn.Module):
    """Takes two tensors and a number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.Linear = nn.Linear(WIDTH, 5, dtype=torch.float64)

    def forward(self, x: Tensor, scale: Tensor, power: float = 1.0) -> Tensor:
        return self.Linear(x * scale**power)


@pytest.mark.parametrize("form", ["tuple", "mapping", "array"])
def test_inputs_of_several_arguments_are_drawn_together(exact: ec.Atlas, form: str) -> None:
    def given(x: Tensor) -> object:
        scale = 1 + torch.arange(len(x), dtype=torch.float64)[:, None]
        forms = {"tuple": (x / scale, scale), "mapping": {"scale": scale, "x": x / scale, "power": 1.0}}
        return forms.get(form, x.numpy())

    model = copy.deepcopy(exact.model) if form == "array" else Scaled()
    concepts = ConceptSet.of({name: given(x) for name, x in CONCEPTS.items()})
    shams = subset_atlas(ec.extract(model, ec.record(model, concepts)), concepts, size=8, seeds=[0])
    expected = subset_atlas(exact, ConceptSet.of(CONCEPTS), size=8, seeds=[0])
    assert relative(shams.trace("Linear", "subset 0").rows, expected.trace("Linear", "subset 0").rows) < 1e-9


def test_images_of_different_sizes_can_be_drawn_together() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(1, 3, 2)
    concepts = ConceptSet.of({"small": torch.rand(9, 1, 4, 4), "large": torch.rand(9, 1, 6, 5)})
    shams = subset_atlas(ec.extract(model, ec.record(model, concepts)), concepts, size=18, seeds=[0])
    assert shams.trace("Conv2d", "subset 0").moment[0, -1, -1] == pytest.approx(9 * 9 + 9 * 20)


def test_a_subset_larger_than_the_data_is_refused(exact: ec.Atlas) -> None:
    with pytest.raises(DataError, match=f"subset of 1000 inputs.*only {len(EVERYTHING)} are recorded"):
        subset_atlas(exact, ConceptSet.of(CONCEPTS), size=1000, seeds=[0])


def test_inputs_that_cannot_be_drawn_from_are_named(exact: ec.Atlas) -> None:
    concepts = CONCEPTS | {"b": iter([CONCEPTS["b"]])}
    with pytest.raises(DataError, match="Concept 'b': a random subset needs inputs that can be indexed"):
        subset_atlas(exact, ConceptSet.of(concepts), size=8, seeds=[0])


def test_a_negative_seed_is_refused(exact: ec.Atlas) -> None:
    with pytest.raises(DataError, match="seed .* must be 0 or more; found -1"):
        subset_atlas(exact, ConceptSet.of(CONCEPTS), size=8, seeds=[0, -1])
