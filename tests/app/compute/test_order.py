"""A matrix's concepts in every order: all of them, once each, and by what the order says."""

from __future__ import annotations

import numpy as np
import pytest

from app.choice.matrix import CLUSTER, DAMAGE, NAME, ORDERS, PLAIN
from app.compute.order import ordered

NAMES = ("delta", "Alpha", "charlie", "bravo", "echo")
ROWS = {"delta": [0, 9.0], "Alpha": [5.0, 0], "charlie": [0.1, 8.9], "bravo": [5.1, 0], "echo": [5.0, np.nan]}
DAMAGES = {"delta": 1.0, "Alpha": 3.0, "charlie": np.nan, "bravo": 2.0, "echo": -1.0}


@pytest.mark.parametrize("how", [*ORDERS, "<script>"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_nobody_is_lost_or_doubled(how, count):
    found = ordered(NAMES[:count], how, ROWS, DAMAGES)
    assert sorted(found) == sorted(NAMES[:count])


def test_each_order_is_what_it_says():
    assert ordered(NAMES, PLAIN, ROWS, DAMAGES) == NAMES
    assert ordered(NAMES, NAME, ROWS, DAMAGES) == ("Alpha", "bravo", "charlie", "delta", "echo")
    assert ordered(NAMES, DAMAGE, ROWS, DAMAGES) == ("Alpha", "bravo", "delta", "echo", "charlie")
    places = {name: place for place, name in enumerate(ordered(NAMES, CLUSTER, ROWS, DAMAGES))}
    assert abs(places["delta"] - places["charlie"]) == 1
    assert (
        max(places[n] for n in ("Alpha", "bravo", "echo"))
        - min(places[n] for n in ("Alpha", "bravo", "echo"))
        == 2
    )
