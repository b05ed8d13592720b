"""A table's columns: their names, and the numbers that a model reads of theirs."""

import numpy as np
import pytest

from engram_core.concepts.features import Features
from engram_core.errors import DataError


def test_what_the_model_reads_is_scaled_and_comes_back_as_it_was() -> None:
    features = Features(("age", "height"), (40.0, 170.0), (10.0, 20.0))
    values = np.array([[50.0, 150.0], [40.0, 170.0]])
    read = features.read(values)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, [[1.0, -1.0], [0.0, 0.0]])
    np.testing.assert_allclose(features.shown(read), values)


def test_features_that_are_read_as_they_are() -> None:
    features = Features.plain(["a", "b"])
    np.testing.assert_array_equal(features.read(np.array([3.0, 4.0])), [3.0, 4.0])


@pytest.mark.parametrize(
    ("names", "mean", "std", "said"),
    [
        (("a", "b"), (0.0,), (1.0, 1.0), "2 names, 1 means and 2 deviations"),
        (("a",), (0.0,), (0.0,), "no std may be 0"),
        (("a",), (float("nan"),), (1.0,), "finite"),
        (("a", "a"), (0.0, 0.0), (1.0, 1.0), "one name"),
    ],
)
def test_what_cannot_be_scaled_is_refused(names, mean, std, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Features(names, mean, std)
