"""The example that can be drawn is computed by the core, and is what the formula says."""

from __future__ import annotations

import numpy as np

from app.compute.toy_engram import toy_engram


def test_every_stage_follows_from_the_one_before():
    toy = toy_engram()
    for name, rows in toy.rows.items():
        np.testing.assert_allclose(toy.moments[name], sum(np.outer(x, x) for x in rows))
    total = toy.moments["A"] + toy.moments["B"]
    np.testing.assert_allclose(toy.filter, toy.moments["A"] @ np.linalg.inv(total), atol=1e-5)
    np.testing.assert_allclose(toy.engram, toy.weights @ toy.filter, atol=1e-5)


def test_the_two_concepts_overlap_a_little():
    toy = toy_engram()
    # Were they at right angles and without spread, the filter would be a plain projection, and teach less.
    size = {
        name: np.linalg.norm(rows @ toy.filter.T) / np.linalg.norm(rows) for name, rows in toy.rows.items()
    }
    assert 0.9 < size["A"] < 1 and 0.01 < size["B"] < 1 / 3
