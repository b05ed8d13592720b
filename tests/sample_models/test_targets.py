"""The figures that the project claims for erasing authors, held on authors that the setting was not found on.

Both settings come from sweeps over the authors that ``draw_concepts(…, seed=0)`` draws (docs/sweep.md). The
bounds are the claims themselves, not the figures measured, so that another processor's rounding is no failure
and a change of the engine that costs the claim is one.
"""

import engram_core as ec

ALONE = {"group": "all", "scaling": "plain", "power": 1.0, "clip": False, "strength": 2.0}
TOGETHER = {"group": "all", "scaling": "plain", "power": 1.5, "clip": False, "strength": 4.0}


def test_thirty_authors_one_at_a_time_at_one_common_strength(authors):
    """Each is measured against 20 of the 99 others, drawn for each author: a fifth of the work."""
    found_on = ec.draw_concepts(authors.atlas, 12, seed=0)
    drawn = ec.draw_concepts(authors.atlas, 30, seed=1, without=found_on)
    table = ec.confirm(
        authors.sample, authors.atlas, ALONE, concepts=drawn, found_on=found_on, others=20, seed=0
    )
    assert len(table) == 30
    mean = table.drop(columns="concept").mean()
    assert mean["base_forget"] >= 0.99 and mean["base_retain"] >= 0.99 and mean["base_forget_unseen"] >= 0.90
    assert mean["forget"] <= 0.10
    assert mean["retain"] >= 0.985
    assert mean["forget_unseen"] <= 0.15
    # A mean can hide one who is not touched, or one whose erasing ruins the rest.
    assert table["forget"].max() <= 0.60 and table["retain"].min() >= 0.95


def test_ten_authors_at_once(authors):
    """Three sets of ten, and all the 90 others of each."""
    found_on = ec.draw_concepts(authors.atlas, 10, seed=0)
    drawn = ec.draw_concepts(authors.atlas, 30, seed=1, without=found_on)
    sets = [drawn[i::3] for i in range(3)]
    assert all(len(names) == 10 for names in sets)
    table = ec.confirm(authors.sample, authors.atlas, TOGETHER, together=sets, found_on=found_on)
    assert table["base_forget"].min() >= 0.98 and table["base_retain"].min() >= 0.99
    assert table["forget"].mean() <= 0.10
    assert table["retain"].min() >= 0.80
    # What the sharper filter is for: the plain engram that forgets as much costs far more.
    plain = TOGETHER | {"power": 1.0, "strength": 2.0}
    paper = ec.confirm(authors.sample, authors.atlas, plain, together=sets[:1], found_on=found_on)
    assert paper["forget"].item() <= 0.15 and paper["retain"].item() < table["retain"].min()
