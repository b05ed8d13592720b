"""A sweep measures exactly the edits it names, solves nothing, and its rule is kept honest."""

import copy
import itertools

import numpy as np
import pandas as pd
import pytest
import torch

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.tasks import Scores, Subject
from engram_core.errors import DataError
from engram_core.measuring.kept_alone import ALL_LAYERS, sufficiency_by_layer
from engram_core.solving import spectrum
from engram_core.tuning.sweep import SETTING, Sweep, frontier, sweep

FILTERS = (ec.Sharpness(), ec.Sharpness(1.5, True))


def edited(subject: Subject, atlas: ec.Atlas, row: dict, names: list[str], layers: list[str]) -> Scores:
    sharp = atlas.sharpen(row["power"], clip=row["clip"])
    erase = dict.fromkeys(names, row["strength"])
    view = sharp.apply(erase=erase, scaling=row["scaling"], layers=layers)
    return subject.task.measure(view, subject.concepts)


# -- what is measured --------------------------------------------------------------------------------


def test_every_row_is_the_edit_it_names(subject: Subject, atlas: ec.Atlas, table: pd.DataFrame) -> None:
    assert len(table) == 2 * 2 * 2 * 2 and not table.duplicated(list(SETTING)).any()
    base = subject.task.measure(subject.model, subject.concepts).score
    for row in table.to_dict("records"):
        layers = table.attrs["groups"][row["group"]]
        own, rest, losses = [], [], []
        for name in ("2", "5", "7"):
            after = edited(subject, atlas, row, [name], layers).score
            others = [n for n in base if n != name]
            own.append(after[name])
            rest.append(np.mean([after[n] for n in others]))
            losses.append(np.mean([base[n] - after[n] for n in others]))
        assert row["forget"] == pytest.approx(np.mean(own))
        assert row["retain"] == pytest.approx(np.mean(rest))
        assert row["damage"] == pytest.approx(np.mean(losses))
        assert row["worst_forget"] == max(own) and row["worst_damage"] == pytest.approx(max(losses))
        assert row["lost"] == pytest.approx(row["base_forget"] - row["forget"])
        assert row["damage"] == pytest.approx(row["base_retain"] - row["retain"])


def test_a_stronger_edit_forgets_more_here(table: pd.DataFrame) -> None:
    whole = table[(table["group"] == "all") & (table["scaling"] == "plain")]
    weak, strong = (whole[whole["strength"] == s]["forget"].to_numpy() for s in (0.4, 1.0))
    assert (strong < weak).all() and strong.max() < 0.3


def test_several_erased_together(subject: Subject, atlas: ec.Atlas) -> None:
    pair = sweep(subject, atlas, together=["1", "3"], strengths=[1.0], groups=["all"]).iloc[0]
    after = edited(subject, atlas, pair.to_dict(), ["1", "3"], atlas.layers).score
    assert pair["forget"] == pytest.approx((after["1"] + after["3"]) / 2)
    assert pair["retain"] == pytest.approx(np.mean([after[n] for n in after if n not in "13"]))
    other = sweep(subject, atlas, together=["4", "8"], strengths=[1.0], groups=["all"]).iloc[0]
    both = sweep(subject, atlas, together=[["1", "3"], ["4", "8"]], strengths=[1.0], groups=["all"]).iloc[0]
    for column in ("forget", "retain", "damage"):
        assert both[column] == pytest.approx((pair[column] + other[column]) / 2)


def test_nothing_is_solved_or_copied_per_strength_and_the_base_stays(subject, atlas, monkeypatch) -> None:
    from engram_core.editing import live_edit as editing

    before = copy.deepcopy(subject.model.state_dict())
    views = []
    make = editing.shared_copy
    monkeypatch.setattr(editing, "shared_copy", lambda model: views.append(1) or make(model))

    def solved(*_args, **_options):
        raise AssertionError("a sweep must not solve anything")

    monkeypatch.setattr(spectrum.Spectrum, "__init__", solved)
    sweep(
        subject, atlas, concepts=["2", "5"], strengths=(0.5, 1, 2), sharpness=FILTERS, others=2,
        scalings=("plain", "adaptive"), groups=["whole", "blocks"],
    )  # fmt: skip
    assert len(views) == len(FILTERS)
    after = subject.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_giving_up_leaves_out_only_stronger_settings(subject: Subject, atlas: ec.Atlas) -> None:
    options = {"concepts": ["2", "5"], "strengths": (0.5, 1, 3, 9), "groups": ["all"]}
    full = sweep(subject, atlas, **options)
    limit = float(full["damage"].iloc[1]) / 2 + float(full["damage"].iloc[2]) / 2
    assert full["damage"].iloc[1] < limit < full["damage"].iloc[2]
    some = sweep(subject, atlas, give_up=limit, **options)
    pd.testing.assert_frame_equal(some, full.iloc[:3], check_like=True)
    assert some.attrs["skipped"] == 1 and full.attrs["skipped"] == 0


def test_stop_ends_with_what_there_is(subject: Subject, atlas: ec.Atlas) -> None:
    told: list[tuple[int, int]] = []
    found = sweep(
        subject, atlas, concepts=["2"], strengths=(0.5, 1, 2), groups=["all"], stop=lambda: len(told) >= 2,
        progress=lambda done, total, _text: told.append((done, total)),
    )  # fmt: skip
    assert list(found["strength"]) == [0.5, 1.0] and found.attrs["stopped"]
    assert told == [(1, 3), (2, 3)]
    with pytest.raises(DataError, match="stopped before its first setting"):
        frontier(sweep(subject, atlas, concepts=["2"], groups=["all"], stop=lambda: True))


# -- the frontier and the rule -----------------------------------------------------------------------


# -- groups of layers --------------------------------------------------------------------------------


# -- sufficiency, layer by layer ---------------------------------------------------------------------


# -- in portions, and kept ---------------------------------------------------------------------------


class Counted:
    """A lock that counts, and notes whether it is held."""

    def __init__(self) -> None:
        self.times, self.held = 0, False

    def __enter__(self) -> None:
        self.times, self.held = self.times + 1, True

    def __exit__(self, *_: object) -> None:
        self.held = False


class Shelf(dict):
    def put(self, key, value) -> None:
        self[key] = value


OPTIONS = {
    "concepts": ["2", "5"],
    "strengths": (0.5, 1.0),
    "groups": ["all"],
    "sharpness": FILTERS,
    "others": 4,
}


def test_a_sweep_in_portions_is_the_same_sweep_and_gives_others_their_turn(
    subject, atlas, monkeypatch
) -> None:
    turn, outside = Counted(), []
    measure = Classification.measure

    def watched(self, model, concepts, probes=None):
        outside.append(not turn.held)
        assert len(probes) <= 2
        return measure(self, model, concepts, probes)

    expected = sweep(subject, atlas, **OPTIONS)
    monkeypatch.setattr(Classification, "measure", watched)
    work = Sweep(subject, atlas, **OPTIONS, parts=lambda n: [n[i : i + 2] for i in range(0, len(n), 2)])
    steps, whole = [], None
    pieces = work.steps()
    while whole is None:
        assert not turn.held
        try:
            with turn:
                steps.append(next(pieces))
        except StopIteration as end:
            whole = end.value
    pd.testing.assert_frame_equal(work.table(), expected)
    pd.testing.assert_frame_equal(whole, expected)
    for step in steps:  # what is known within is the beginning of what is known at the end
        known = len(step.partial)
        assert not known or step.partial.equals(expected.iloc[:known])
    assert work.table().attrs == expected.attrs and work.ended
    assert not any(outside) and turn.times > len(outside)  # making a view is work too
    rows = [b for a, b in itertools.pairwise(steps) if len(b.partial) > len(a.partial)]
    assert len(rows) == work.settings == 4 and [step.done for step in rows] == [2, 4, 6, 8]
    assert len(steps) > 3 * len(rows) and steps[-1].done == steps[-1].total == 8


def test_what_was_measured_is_kept_and_never_measured_again(subject, atlas, monkeypatch) -> None:
    shelf, asked = Shelf(), []
    measure = Classification.measure

    def watched(self, model, concepts, probes=None):
        asked.append(probes)
        return measure(self, model, concepts, probes)

    monkeypatch.setattr(Classification, "measure", watched)
    first = Sweep(subject, atlas, **OPTIONS, memory=shelf)
    steps = first.steps()
    while next(steps).partial.empty:  # left within: the second setting
        pass
    next(steps)
    next(steps)  # and its first concept is measured
    steps.close()
    assert len(first.table()) == 1 and not first.ended
    before = len(asked)
    again = Sweep(subject, atlas, **OPTIONS, memory=shelf)
    list(again.steps(only_known=True))
    assert len(again.table()) == 1 and not again.ended and again.table().attrs["stopped"]
    assert len(asked) == before, "nothing was measured for that"
    list(again.steps())
    # Four settings on two concepts, and the base: each asked once in all.
    assert len(asked) == 1 + 8
    list(again.steps(only_known=True))
    assert again.ended and len(asked) == 9
    pd.testing.assert_frame_equal(again.table(), sweep(subject, atlas, **OPTIONS))


def test_parts_that_are_kept_one_by_one_are_those_of_the_whole_table(subject, atlas) -> None:
    options = {"concepts": ["3", "6"], "nulls": ["nothing"]}
    whole = sufficiency_by_layer(subject, atlas, **options)
    places = {ALL_LAYERS: atlas.layers} | {layer: [layer] for layer in atlas.layers}
    parts = [
        sufficiency_by_layer(subject, atlas, groups={name: members}, whole=False, **options)
        for name, members in places.items()
    ]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
