"""How shared options are read, and how values become rows of JSON."""

import math

import pandas as pd
import pytest

from engram_core.commands.options import comma_list, layer_names, numbers
from engram_core.commands.tables import finite, records
from engram_core.errors import EngramError


@pytest.mark.parametrize(
    ("typed", "read"),
    [(None, None), ("fc1, fc3 ,", ["fc1", "fc3"]), ("re:fc[12],x", "fc[12],x"), ("", []), ("re:", "")],
)
def test_layers(typed: str | None, read: object) -> None:
    assert layer_names(typed) == read


@pytest.mark.parametrize(("typed", "read"), [(None, None), ("0", [0]), ("3, 1,-2", [3, 1, -2])])
def test_blocks(typed: str | None, read: object) -> None:
    assert numbers(typed) == read


@pytest.mark.parametrize("typed", ["", "one", "1,,2", "1.5"])
def test_blocks_are_whole_numbers(typed: str) -> None:
    with pytest.raises(EngramError, match="--blocks takes whole numbers"):
        numbers(typed)


def test_lists_have_no_empty_parts() -> None:
    assert comma_list(" a,b c,, d ") == ["a", "b c", "d"] and comma_list(",") == []


def test_json_has_no_infinity_and_no_nan() -> None:
    table = pd.DataFrame({"a": [1.5, math.inf, -math.inf], "b": ["x", "y", math.nan]})
    assert records(table) == [{"a": 1.5, "b": "x"}, {"a": None, "b": "y"}, {"a": None, "b": None}]
    assert finite(math.nan) is None and finite(0.0) == 0.0 and finite(None) is None and finite(7) == 7
