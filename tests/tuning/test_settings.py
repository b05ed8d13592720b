"""What cannot be swept is told before any edit is scored."""

import math

import pytest

from engram_core.errors import DataError, UnknownNameError
from engram_core.tuning.sweep import sweep


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"strengths": (0, 1)}, DataError, "must be a number above 0; found 0"),
        ({"strengths": (math.nan,)}, DataError, "must be a number above 0; found nan"),
        ({"strengths": ()}, DataError, "at least one strength"),
        ({"scalings": ("wild",)}, DataError, "'plain' or 'adaptive'; found 'wild'"),
        ({"concepts": ["22"]}, UnknownNameError, "Unknown concept '22'"),
        ({"concepts": []}, DataError, "no concept to erase"),
        ({"concepts": ["2"], "together": ["3"]}, DataError, "either concepts"),
        ({"together": list("0123456789")}, DataError, "leave some"),
        ({"groups": ["attention"]}, UnknownNameError, "Unknown group of layers 'attention'"),
        ({"others": 0}, DataError, "others must be 1 or more"),
    ],
    ids=str,
)
def test_bad_options_are_told_before_any_edit_is_scored(subject, atlas, options, error, message) -> None:
    scored: list[int] = []
    with pytest.raises(error, match=message):
        sweep(subject, atlas, **options, progress=lambda done, *_: scored.append(done))
    assert not scored
