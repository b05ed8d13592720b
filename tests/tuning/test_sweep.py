"""A sweep measures exactly the edits it names, solves nothing, and its rule is kept honest."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import engram_core as ec
from engram_core.concepts.tasks import Classification, Scores, Subject
from engram_core.errors import CoverageError, DataError, UnknownNameError
from engram_core.measuring.kept_alone import ALL_LAYERS, sufficiency_by_layer
from engram_core.models.groups import choose_groups, layer_groups
from engram_core.solving import spectrum
from engram_core.tuning.effects import Trial
from engram_core.tuning.recommend import NoSettingError, recommend
from engram_core.tuning.sweep import SETTING, Sweep, confirm, draw_concepts, frontier, sweep

FILTERS = (ec.Sharpness(), ec.Sharpness(1.5, True))


@pytest.fixture(scope="module")
def table(subject: Subject, atlas: ec.Atlas) -> pd.DataFrame:
    return sweep(
        subject, atlas, concepts=["2", "5", "7"], strengths=(1.0, 0.4), scalings=("plain", "adaptive"),
        sharpness=FILTERS, groups={"all": atlas.layers, "last": atlas.layers[-1:]},
    )  # fmt: skip


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


def test_a_subset_of_the_others_is_one_and_the_same_at_every_setting(subject, atlas, monkeypatch) -> None:
    asked: list[tuple[str, ...]] = []
    measure = Classification.measure

    def watched(self, model, concepts, probes=None):
        asked.append(tuple(probes))
        return measure(self, model, concepts, asked[-1])

    monkeypatch.setattr(Classification, "measure", watched)
    options = {"concepts": ["2", "5"], "strengths": (0.5, 1.0), "groups": ["all"], "others": 3}
    found = sweep(subject, atlas, seed=1, **options)
    edits = asked[1:]
    assert len(edits) == 4 and len(set(edits)) == 2  # two concepts at two strengths
    for probes in set(edits):
        assert len(probes) == 4 and len(set(probes)) == 4  # the erased one and three others
    assert found["base_retain"].nunique() == 1
    pd.testing.assert_frame_equal(found, sweep(subject, atlas, seed=1, **options))
    again = len(asked)
    sweep(subject, atlas, seed=2, **options)
    assert set(asked[again + 1 :]) != set(edits)


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


# -- the frontier and the rule -----------------------------------------------------------------------

_share = st.integers(0, 6).map(lambda n: n / 6)


def made(pairs: list[tuple[float, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(pairs, columns=["lost", "damage"])
    frame["forget"], frame["retain"] = 1 - frame["lost"], 1 - frame["damage"]
    frame["base_forget"] = frame["base_retain"] = 1.0
    frame["group"], frame["scaling"], frame["power"], frame["clip"] = "all", "plain", 1.0, False
    frame["strength"] = np.arange(1.0, len(frame) + 1)
    frame.attrs = {"concepts": ["a"], "targets": [["a"]], "groups": {"all": ["l"]}, "unit": "accuracy"}
    return frame


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_share, _share), min_size=1, max_size=12))
def test_the_frontier_holds_what_no_setting_beats(pairs: list[tuple[float, float]]) -> None:
    frame = made(pairs)
    best = frontier(frame)

    def beaten(row: pd.Series, by: pd.Series) -> bool:
        no_worse = by["lost"] >= row["lost"] and by["damage"] <= row["damage"]
        return no_worse and (by["lost"] > row["lost"] or by["damage"] < row["damage"])

    for index, row in frame.iterrows():
        dominated = any(beaten(row, other) for _, other in frame.iterrows())
        same = ((best["lost"] == row["lost"]) & (best["damage"] == row["damage"])).any()
        assert same != dominated and (index not in best.index or not dominated)
    assert best["damage"].is_monotonic_increasing and best["lost"].is_monotonic_increasing


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_share, _share), min_size=1, max_size=12), _share)
def test_the_recommendation_is_the_best_that_keeps_the_bound(pairs, bound: float) -> None:
    frame = made(pairs)
    for rule, kept, goal in (
        ({"forget_at_most": bound}, frame[frame["forget"] <= bound + 1e-9], "damage"),
        ({"lost_at_least": bound}, frame[frame["lost"] >= bound - 1e-9], "damage"),
        ({"damage_at_most": bound}, frame[frame["damage"] <= bound + 1e-9], "forget"),
    ):
        if kept.empty:
            with pytest.raises(DataError, match="None of the .* The nearest: strength"):
                recommend(frame, **rule)
            continue
        found = recommend(frame, **rule)
        assert found.figures[goal] == kept[goal].min()
        assert frame["strength"].isin([found.setting["strength"]]).any()


def test_two_bounds_and_a_limit_hold_together_and_the_nearest_is_named() -> None:
    frame = made([(0.9, 0.3), (0.8, 0.1), (0.5, 0.0)])
    frame["forget_unseen"] = [0.1, 0.3, 0.6]
    assert recommend(frame, forget_at_most=0.3, damage_at_most=0.2).setting["strength"] == 2
    assert recommend(frame, forget_at_most=0.3, limits={"forget_unseen": 0.2}).setting["strength"] == 1
    with pytest.raises(DataError, match=r"The nearest: strength 2, .* forget 0.200, damage 0.100"):
        recommend(frame, forget_at_most=0.15, damage_at_most=0.1)
    with pytest.raises(DataError, match="Say what is wanted"):
        recommend(frame)
    with pytest.raises(DataError, match="no measure 'nll'"):
        recommend(frame, damage_at_most=1, measure="nll")
    with pytest.raises(DataError, match="no column 'unseen'"):
        recommend(frame, damage_at_most=1, limits={"unseen": 1})


def test_a_recommendation_says_what_it_did(table: pd.DataFrame) -> None:
    found = recommend(table, forget_at_most=0.3)
    assert found.found_on == ("2", "5", "7") and found.layers == tuple(table.attrs["groups"]["all"])
    assert f"{found.figures['forget']:.3f}" in found.sentence and "confirmed on others" in found.sentence
    assert f"strength {found.setting['strength']:g}," in found.sentence
    assert found.sharpness in FILTERS


def test_confirming_on_others_measures_the_same_edit_and_refuses_the_same_concepts(subject, atlas) -> None:
    searched = sweep(subject, atlas, concepts=["2", "5"], strengths=(0.7, 1.0), groups=["all"])
    found = recommend(searched, forget_at_most=0.5)
    held = confirm(subject, atlas, found.setting, concepts=["0", "7"], found_on=found.found_on)
    direct = sweep(
        subject, atlas, concepts=["0", "7"], strengths=[found.setting["strength"]], groups=["all"]
    ).iloc[0]
    assert list(held["concept"]) == ["0", "7"]
    for column in ("forget", "retain", "damage"):
        assert held[column].mean() == pytest.approx(direct[column])
    with pytest.raises(DataError, match="'5' took part in finding"):
        confirm(subject, atlas, found.setting, concepts=["7", "5"], found_on=found.found_on)


def test_drawn_concepts_are_others() -> None:
    names = [f"c{i}" for i in range(20)]
    first = draw_concepts(names, 8, seed=3)
    assert first == draw_concepts(names, 8, seed=3) != draw_concepts(names, 8, seed=4)
    assert first == [n for n in names if n in set(first)]
    assert not set(draw_concepts(names, 12, without=first)) & set(first)
    with pytest.raises(DataError, match="Cannot draw 13 concepts: there are 12"):
        draw_concepts(names, 13, without=first)


def test_details_of_a_task_get_columns_and_a_loss_counts_upwards(subject: Subject, atlas: ec.Atlas) -> None:
    class Told(Classification):
        def measure(self, model, concepts, probes=None):
            plain = super().measure(model, concepts, probes)
            loss = {name: 1 - value for name, value in plain.score.items()}
            return Scores(plain.score, plain.says, {"nll": loss, "unseen": {"5": plain.score["5"]}})

    told = Subject(subject.model, subject.concepts, Told(subject.task.classes))
    found = sweep(told, atlas, concepts=["2", "5"], strengths=(0.5, 1.0), groups=["all"])
    np.testing.assert_allclose(found["lost_nll"], found["lost"])
    np.testing.assert_allclose(found["damage_nll"], found["damage"])
    np.testing.assert_allclose(found["forget_nll"], 1 - found["forget"])
    pd.testing.assert_frame_equal(frontier(found, measure="nll"), frontier(found))
    # Only one of the two has unseen questions: the mean is over that one.
    alone = sweep(subject, atlas, concepts=["5"], strengths=(0.5, 1.0), groups=["all"])
    np.testing.assert_allclose(found["forget_unseen"], alone["forget"])
    assert recommend(found, lost_at_least=0.1, measure="nll").figures["lost_nll"] >= 0.1


# -- groups of layers --------------------------------------------------------------------------------


def stack(prefix: str, blocks: int, names: str) -> list[str]:
    return [f"{prefix}.{i}.{name}" for i in range(blocks) for name in names.split()]


LLAMA = stack(
    "model.layers", 2,
    "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj "
    "mlp.gate_proj mlp.up_proj mlp.down_proj",
)  # fmt: skip
GPT2 = stack("transformer.h", 2, "attn.c_attn attn.c_proj mlp.c_fc mlp.c_proj")
OPT = stack("model.decoder.layers", 2, "self_attn.q_proj self_attn.out_proj fc1 fc2")


@pytest.mark.parametrize(
    ("layers", "groups"),
    [
        (LLAMA, "all,attention,mlp,q,k,v,o,gate,up,down,block 0,block 1"),
        (GPT2, "all,attention,mlp,c_attn,attention c_proj,c_fc,mlp c_proj,block 0,block 1"),
        (OPT, "all,attention,mlp,q,out,fc1,fc2,block 0,block 1"),
        (["conv1", "conv2", "fc1", "fc2"], "all,conv,fc,conv1,conv2,fc1,fc2"),
        (["fc1", "fc2", "fc3"], "all,fc1,fc2,fc3"),
        (["0", "2", "4"], "all,block 0,block 2,block 4"),
        (["one"], "all"),
        (
            ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "fc"],
            "all,conv,fc,conv1,conv2,layer1.0,layer2.0",
        ),
    ],
    ids=["llama", "gpt2", "opt", "cnn", "mlp", "sequential", "one layer", "resnet"],
)
def test_groups_follow_the_names(layers: list[str], groups: str) -> None:
    found = layer_groups(layers)
    assert set(found) == set(groups.split(","))
    assert list(found["all"]) == layers and len(set(found.values())) == len(found)
    for members in found.values():
        assert list(members) == [layer for layer in layers if layer in members]


def test_parts_of_a_transformer_are_a_partition() -> None:
    for layers in (LLAMA, GPT2, OPT):
        found = layer_groups(layers)
        assert sorted(found["attention"] + found["mlp"]) == sorted(layers)
        assert sorted(found["block 0"] + found["block 1"]) == sorted(layers)
    assert layer_groups(GPT2)["mlp c_proj"] == tuple(n for n in GPT2 if n.endswith("mlp.c_proj"))


def test_choosing_groups() -> None:
    assert choose_groups(LLAMA, "v+o") == {"v+o": tuple(n for n in LLAMA if n[-6:] in ("v_proj", "o_proj"))}
    assert set(choose_groups(LLAMA, None)) == {"all", "attention", "mlp"}
    assert set(choose_groups(LLAMA, ["blocks", "q"])) == {"block 0", "block 1", "q"}
    with pytest.raises(UnknownNameError, match="Unknown group of layers 'w'"):
        choose_groups(LLAMA, ["v+w"])
    with pytest.raises(CoverageError):
        layer_groups([])
    with pytest.raises(UnknownNameError, match="kind of group"):
        layer_groups(LLAMA, kinds=["heads"])


# -- sufficiency, layer by layer ---------------------------------------------------------------------


@pytest.mark.parametrize("null", ["nothing", "in place"])
def test_keeping_in_one_layer_leaves_the_others_untouched(subject, atlas, null: str) -> None:
    found = sufficiency_by_layer(subject, atlas, concepts=["3", "6"], nulls=[null])
    assert list(found["layer"]) == [ALL_LAYERS, *atlas.layers]
    base = subject.task.measure(subject.model, subject.concepts).score
    for row in found.to_dict("records"):
        layers = atlas.layers if row["layer"] == ALL_LAYERS else [row["layer"]]
        own, rest = [], []
        for name in ("3", "6"):
            view = atlas.apply(keep=[name], null=null, layers=layers)
            after = subject.task.measure(view, subject.concepts).score
            own.append(after[name])
            rest.append(np.mean([after[n] for n in after if n != name]))
        assert row["kept"] == pytest.approx(np.mean(own)) and row["others"] == pytest.approx(np.mean(rest))
        assert row["selective"] == pytest.approx(row["kept"] - row["others"])
        assert row["base"] == pytest.approx((base["3"] + base["6"]) / 2) and row["sets"] == 2


def test_sets_of_several_are_drawn_once_for_every_layer(subject, atlas) -> None:
    found = sufficiency_by_layer(subject, atlas, sizes=(1, 4), draws=3, groups=["blocks"], others=2)
    counts = found.groupby("size")["sets"].unique()
    assert list(counts[1]) == [10] and list(counts[4]) == [3]
    assert len(found) == 2 * 2 * (1 + len(layer_groups(atlas.layers, kinds=["blocks"])))
    assert found.groupby("size")["base"].nunique().eq(1).all()
    with pytest.raises(DataError, match="Cannot keep 11 of 10"):
        sufficiency_by_layer(subject, atlas, sizes=(11,))
    with pytest.raises(DataError, match="others must be 1 or more"):
        sufficiency_by_layer(subject, atlas, others=0)
    with pytest.raises(UnknownNameError, match="Unknown concept '22'"):
        sufficiency_by_layer(subject, atlas, concepts=["22"])
    with pytest.raises(DataError, match="All concepts are kept"):
        sufficiency_by_layer(subject, atlas, sizes=(10,))


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
    work = Sweep(
        subject, atlas, **OPTIONS, turn=turn, parts=lambda n: [n[i : i + 2] for i in range(0, len(n), 2)]
    )
    steps = []
    for step in work.steps():
        assert not turn.held
        steps.append(step)
    pd.testing.assert_frame_equal(work.table(), expected)
    assert work.table().attrs == expected.attrs and work.ended
    assert not any(outside) and turn.times > len(outside)  # making a view is work too
    rows = [step for step in steps if step.row is not None]
    assert len(rows) == work.settings == 4 and [step.done for step in rows] == [2, 4, 6, 8]
    assert len(steps) > 3 * len(rows) and steps[-1].done == steps[-1].total == 8


def test_what_was_measured_is_kept_and_never_measured_again(subject, atlas, monkeypatch) -> None:
    shelf, asked = Shelf(), []
    measure = Classification.measure

    def watched(self, model, concepts, probes=None):
        asked.append(probes)
        return measure(self, model, concepts, probes)

    monkeypatch.setattr(Classification, "measure", watched)
    first = Sweep(subject, atlas, **OPTIONS, kept=shelf)
    steps = first.steps()
    while next(steps).row is None:  # left within: the second setting
        pass
    next(steps)
    next(steps)  # and its first concept is measured
    steps.close()
    assert len(first.table()) == 1 and not first.ended
    before = len(asked)
    again = Sweep(subject, atlas, **OPTIONS, kept=shelf)
    list(again.steps(only_kept=True))
    assert len(again.table()) == 1 and not again.ended and again.table().attrs["stopped"]
    assert len(asked) == before, "nothing was measured for that"
    list(again.steps())
    # Four settings on two concepts, and the base: each asked once in all.
    assert len(asked) == 1 + 8
    list(again.steps(only_kept=True))
    assert again.ended and len(asked) == 9
    pd.testing.assert_frame_equal(again.table(), sweep(subject, atlas, **OPTIONS))


def test_the_sham_is_a_gaussian_change_as_large_as_the_edit(subject: Subject, atlas: ec.Atlas) -> None:
    setting = {"group": "all", "scaling": "plain", "power": 1.5, "clip": True, "strength": 1.0}
    found = ec.sham(subject, atlas, setting, concepts=["2", "5"], seeds=range(2), others=4, seed=3)
    assert list(found["seed"]) == [0, 1]
    sharp = atlas.sharpen(1.5, clip=True)
    base = subject.task.measure(subject.model, subject.concepts).score
    others = Trial(subject, atlas, [("2",), ("5",)], others=4, seed=3).others
    for row in found.to_dict("records"):
        lost, damage = [], []
        for (name,), rest in others.items():
            view = ec.gaussian_view(sharp, ec.Edit.of(sharp, erase=name), row["seed"])
            after = subject.task.measure(view, subject.concepts).score
            lost.append(base[name] - after[name])
            damage.append(np.mean([base[n] - after[n] for n in rest]))
        assert row["lost"] == pytest.approx(np.mean(lost))
        assert row["damage"] == pytest.approx(np.mean(damage))


def test_a_rule_that_nothing_keeps_names_the_nearest_as_data_too() -> None:
    frame = made([(0.9, 0.3), (0.8, 0.1), (0.5, 0.0)])
    with pytest.raises(NoSettingError) as failed:
        recommend(frame, lost_at_least=0.95)
    assert failed.value.nearest is not None and failed.value.nearest["strength"] == 1
    frame["lost"] = np.nan
    with pytest.raises(NoSettingError, match="nothing was measured") as failed:
        recommend(frame, lost_at_least=0.95)
    assert failed.value.nearest is None


def test_parts_that_are_kept_one_by_one_are_those_of_the_whole_table(subject, atlas) -> None:
    options = {"concepts": ["3", "6"], "nulls": ["nothing"]}
    whole = sufficiency_by_layer(subject, atlas, **options)
    places = {ALL_LAYERS: atlas.layers} | {layer: [layer] for layer in atlas.layers}
    parts = [
        sufficiency_by_layer(subject, atlas, groups={name: members}, whole=False, **options)
        for name, members in places.items()
    ]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
