"""The page of criteria shows what the core measures, keeps its choice, and survives nonsense."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.choice.choice import ERASE, FROM_NOTHING, KEEP, Facts, clean
from app.compute import cell_inputs as behind
from app.compute import criteria as measures
from app.compute import kept_alone as kept
from app.launch import MAIN
from app.views.criteria import responses as criteria_responses
from engram_core.progress import drain


@pytest.fixture(scope="module", autouse=True)
def _few():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "SHAMS", 2)
        yield


LAYERS = tuple(f"model.layers.{i}.{kind}" for i in range(40) for kind in ("self_attn.q_proj", "mlp.up_proj"))


def open_page(**params: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"model": "digits-mlp", "page": "criteria"} | params).items():
        app.query_params[key] = value
    app.session_state["_pending"] = ("criteria", dict(params))
    app.run()
    assert not app.exception and not app.error
    return app


def charts(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def of_tests(app: AppTest) -> pd.DataFrame:
    """Return the table of z and p."""
    (found,) = [frame.value for frame in app.dataframe if "image" not in frame.value]
    return found


def base_of():
    from app.session.visitors import base_of as held

    return held("digits-mlp")


def test_necessity_is_what_the_core_measures():
    app = open_page(criterion="Necessity", cells="score")
    base = base_of()
    table = ec.necessity(base.sample, base.atlas, controls=0)
    wide = 100 * table.pivot(index="probe", columns="concept", values="score")
    names = list(base.facts.classes)
    shown = charts(app)[0]["data"]
    np.testing.assert_allclose(np.array(shown[0]["z"], float), wide.loc[names, names], atol=1e-9)
    np.testing.assert_allclose(
        np.array(shown[1]["z"], float)[:, 0], [100 * base.scores[name] for name in names]
    )
    effect = table.drop_duplicates("concept").set_index("concept")["selective"]
    drawn = next(trace for trace in charts(app)[-1]["data"] if trace["name"] == "this engram")
    np.testing.assert_allclose(drawn["x"], 100 * effect[names], atol=1e-9)


@pytest.mark.parametrize(("state", "null"), [("from nothing", "nothing"), ("in place", "in place")])
def test_sufficiency_is_what_the_core_measures_for_both_null_states(state, null):
    app = open_page(criterion="Sufficiency", state=state, cells="score")
    base = base_of()
    table = ec.sufficiency(base.sample, base.atlas, null=null, controls=0)
    names = list(base.facts.classes)
    wide = 100 * table.pivot(index="probe", columns="concept", values="score").loc[names, names]
    shown = charts(app)[0]
    np.testing.assert_allclose(np.array(shown["data"][0]["z"], float), wide, atol=1e-9)
    # In the same glance as the diagonal: how often the kept concept is said to everybody else's inputs.
    assert shown["layout"]["yaxis"]["ticktext"][0] == "<b>said to others</b>"
    elsewhere = table[table["concept"] != table["probe"]].groupby("concept")["says"].mean()
    np.testing.assert_allclose(shown["data"][2]["z"][0], 100 * elsewhere[names], atol=1e-9)
    effect = table.drop_duplicates("concept").set_index("concept")["selective"]
    drawn = next(trace for trace in charts(app)[-1]["data"] if trace["name"] == "this engram")
    np.testing.assert_allclose(drawn["x"], 100 * effect[names], atol=1e-9)


def matrix(app: AppTest) -> dict:
    return next(chart for chart in charts(app) if any("colorbar" in trace for trace in chart["data"]))


def test_colours_show_the_change_beside_the_score_that_is_written():
    app = open_page(criterion="Necessity")
    base = base_of()
    table = ec.necessity(base.sample, base.atlas, controls=0)
    names = list(base.facts.classes)
    delta = 100 * table.pivot(index="probe", columns="concept", values="delta").loc[names, names].to_numpy()
    shown = matrix(app)["data"]
    np.testing.assert_allclose(
        np.array(shown[0]["z"], float), np.sign(delta) * np.sqrt(np.abs(delta)), atol=1e-9
    )
    score = 100 * table.pivot(index="probe", columns="concept", values="score").loc[names, names].to_numpy()
    letters = [trace["text"] for trace in shown if "texttemplate" in trace and len(trace["text"][0]) > 1]
    written = ["".join(parts) for lines in zip(*letters, strict=True) for parts in zip(*lines, strict=True)]
    assert written == [f"{value:.0f}" for value in score.reshape(-1)]
    app.segmented_control(key="cells").set_value("score").run()
    np.testing.assert_allclose(np.array(matrix(app)["data"][0]["z"], float), score, atol=1e-9)


@pytest.mark.parametrize("order", ["as in the model", "by damage", "by cluster", "by name"])
def test_rows_and_columns_stand_in_the_order_that_is_chosen(order):
    app = open_page(criterion="Necessity", sort=order, cells="score")
    base = base_of()
    table = ec.necessity(base.sample, base.atlas, controls=0)
    names = list(base.facts.classes)
    meta = matrix(app)["layout"]["meta"]
    assert meta["rows"] == meta["columns"] and sorted(meta["rows"]) == sorted(names)
    wide = 100 * table.pivot(index="probe", columns="concept", values="score")
    np.testing.assert_allclose(
        np.array(matrix(app)["data"][0]["z"], float), wide.loc[meta["rows"], meta["rows"]], atol=1e-9
    )
    others = table[table["concept"] != table["probe"]].groupby("probe")["delta"].mean()
    if order == "by damage":
        assert (np.diff(others[meta["rows"]]) >= -1e-12).all()
    if order in ("as in the model", "by name"):
        assert meta["rows"] == names  # the digits by name are the digits in order
    assert app.query_params.get("sort", ["as in the model"]) in (order, [order])


def test_rows_are_filtered_and_what_is_hidden_is_counted():
    app = open_page(criterion="Necessity", only=["3", "5", "8"])
    assert matrix(app)["layout"]["meta"] == {"rows": ["3", "5", "8"], "columns": ["3", "5", "8"]}
    app = open_page(criterion="Necessity")
    app.toggle(key="hit").set_value(True).run()
    base = base_of()
    table = ec.necessity(base.sample, base.atlas, controls=0)
    worst = table[table["concept"] != table["probe"]].groupby("probe")["delta"].min()
    hit = [name for name in base.facts.classes if worst[name] <= -0.01]
    assert matrix(app)["layout"]["meta"]["rows"] == hit and 0 < len(hit) < 10
    hidden = f"{10 - len(hit)} rows that lose less than 1 point to any other concept are hidden"
    assert any(hidden in text.value for text in app.caption)


def test_of_many_concepts_who_suffers_most_comes_first(monkeypatch):
    monkeypatch.setattr(measures, "_EDITED", 4)
    monkeypatch.setattr(measures, "_PROBED", 8)
    app = open_page(criterion="Necessity", model="authors-lm")
    items = app.session_state["_items"]
    first, table = charts(app)[0], items["criteria", "matrix"].table
    others = table[table["concept"] != table["probe"]].sort_values("delta", kind="stable").head(8)
    np.testing.assert_allclose(first["data"][0]["x"], 100 * others["delta"])
    assert first["layout"]["meta"]["rows"] == others["probe"].tolist()
    said = items["criteria", "top"].words
    worst = others.iloc[0]
    if worst["delta"] <= -0.005:
        assert said.startswith(f"“{worst['probe']}” suffers most: ")
        assert f"when “{worst['concept']}” is erased" in said
    else:
        pairs = int((table["concept"] != table["probe"]).sum())
        assert said == f"No concept loses half a point to the erasing of another one, in {pairs} pairs."
    headings = [text.value.removeprefix("##### ") for text in app.markdown]
    assert headings.index("Who suffers most") < headings.index("Recall of each concept after erasing one")


@pytest.mark.parametrize(
    ("criterion", "columns"), [("Specificity", ["ratio"]), ("Reactivation", ["cosine", "explained"])]
)
@pytest.mark.parametrize("at", ["fc2", "mean over layers"])
def test_responses_are_what_the_core_measures(criterion, columns, at):
    app = open_page(criterion=criterion, at=at)
    base = base_of()
    layers = None if at.startswith("mean") else [at]
    table = ec.responses(base.sample, base.atlas, layers=layers, controls=0)
    names = list(base.facts.classes)
    for place, column in enumerate(columns):
        wide = table.groupby(["probe", "concept"])[column].mean().unstack().loc[names, names]
        shown = charts(app)[place]["data"][0]["z"]
        np.testing.assert_allclose(np.array(shown, float), wide, atol=1e-9)


def test_twenty_seeds_are_a_test_with_z_and_p(monkeypatch):
    monkeypatch.setattr(measures, "MANY", 20)
    app = open_page(criterion="Necessity")
    assert not any("p ≤ .05" in text.value for text in app.caption)
    app.segmented_control(key="seeds").set_value("20").run()
    assert not app.exception and app.query_params["seeds"] in ("20", ["20"])
    base = base_of()
    core = ec.necessity(base.sample, base.atlas).drop_duplicates("concept")
    shown = of_tests(app)
    for column in ("selective", "selective_gaussian_z", "selective_gaussian_p", "selective_subset_p"):
        np.testing.assert_allclose(shown[column], core[column], atol=1e-9)
    said = " ".join(text.value for text in app.caption)
    count = int((core["selective_gaussian_p"] <= 0.05).sum())
    assert f"p ≤ .05 against Gaussian changes for {count} of {len(core)} concepts" in said


def test_responses_have_more_seeds_too(monkeypatch):
    monkeypatch.setattr(measures, "MANY", 5)
    app = open_page(criterion="Specificity", seeds="20", at="fc2")
    base = base_of()
    core = ec.responses(base.sample, base.atlas, layers=["fc2"], controls=5)
    own = core[core["concept"] == core["probe"]]
    shown = of_tests(app)
    for kind in ("gaussian", "subset"):
        for tail in ("", "_z", "_p"):
            np.testing.assert_allclose(shown[f"ratio_{kind}{tail}"], own[f"ratio_{kind}{tail}"], atol=1e-9)


def test_over_several_layers_those_are_counted_in_which_an_engram_stands_out():
    p = {"a": (0.01, 0.05), "b": (0.2, 0.04)}
    rows = [
        (layer, concept, probe, p[concept][place] if probe == concept else 0.001)
        for place, layer in enumerate(("one", "two"))
        for concept in p
        for probe in p
    ]
    table = pd.DataFrame(rows, columns=["layer", "concept", "probe", "ratio_subset_p"])
    table["ratio_gaussian_p"] = 1.0
    found = criteria_responses._tests(table, measures.Selection(("b", "a"), ("b", "a"), True), "ratio")
    assert found.index.tolist() == ["b", "a"] and found["layers"].tolist() == [2, 2]
    assert found["layers with p ≤ .05 (subset)"].tolist() == [1, 2]
    assert found["layers with p ≤ .05 (gaussian)"].tolist() == [0, 0]


def test_sufficiency_layer_by_layer_is_what_the_core_measures():
    app = open_page(criterion="Sufficiency", kept_in="layer by layer")
    base = base_of()
    table = ec.sufficiency_by_layer(base.sample, base.atlas)
    figure = charts(app)[0]
    assert figure["layout"]["yaxis"]["ticktext"] == ["all layers", *base.facts.layers]
    for null, name in (("nothing", "from zero weights"), ("in place", "subtract the others")):
        for column, word in (("kept", "isolated"), ("others", "others")):
            drawn = next(trace for trace in figure["data"] if trace["name"] == f"{word}, {name}")
            np.testing.assert_allclose(drawn["x"], 100 * table[table["null"] == null][column], atol=1e-9)
    assert any(text.value.startswith("From zero weights, in all layers: isolated") for text in app.caption)


def test_of_a_large_model_a_stated_part_is_kept_layer_by_layer():
    many = Facts("m", (names := facts(311).classes), dict.fromkeys(names, 6), LAYERS, kind="text")
    asked = kept.kept_of(clean({}, many), measures.selection(many, ()))
    assert len(asked.concepts) == asked.others == 6 and asked.blocks
    assert list(asked.places) == [kept.ALL_LAYERS, *(f"block {i}" for i in range(40))]
    assert asked.places[kept.ALL_LAYERS] == LAYERS
    few = clean({"layers": list(LAYERS[:3])}, many)
    assert list(kept.kept_of(few, measures.selection(many, ())).places) == [kept.ALL_LAYERS, *LAYERS[:3]]


def test_every_layer_stands_below_one_layer_too():
    one, mean = open_page(criterion="Specificity", at="fc2"), open_page(criterion="Specificity")
    layers = [charts(app)[-1]["data"][0]["z"] for app in (one, mean)]
    assert len(layers[0]) == len(base_of().facts.layers)
    np.testing.assert_allclose(np.array(layers[0], float), np.array(layers[1], float), atol=1e-9)


def test_a_cell_opens_its_inputs_and_leads_to_live():
    app = open_page(criterion="Necessity", edited="7", probed="9")
    assert app.selectbox(key="edited").value == "7" and app.selectbox(key="probed").value == "9"
    app.selectbox(key="probed").set_value("7").run()
    said = " ".join(m.value for m in app.markdown)
    assert "“7” erased: “7” goes from" in said
    app.button(key="to_live").click().run()
    assert not app.exception
    assert app.session_state["concepts"] == ["7"] and app.session_state["class"] == "7"
    assert any("Edit on" in block.proto.body for block in app.get("html"))


def test_an_address_that_makes_no_sense_shows_the_default():
    app = open_page(criterion="<script>", at="fc99", edited="eleven", probed="</b>", state="nowhere")
    assert app.selectbox(key="edited").value == "0" and len(charts(app)) == 2
    assert "<script>" not in json.dumps(charts(app))


def facts(count: int) -> Facts:
    names = tuple(f"fact {i}" for i in range(count))
    return Facts("m", names, dict.fromkeys(names, 6), ("a", "b"), kind="text")


def test_a_large_model_is_measured_on_a_stated_selection():
    many = facts(311)
    first = measures.selection(many, ("fact 300", "fact 5"))
    assert first.edited[:2] == ("fact 300", "fact 5") and not first.every
    assert len(first.edited) == 12 and len(first.probed) == 24 and len(set(first.probed)) == 24
    assert first.probed[:12] == first.edited
    # The same every time, and another choice changes as few rows as it can.
    assert first == measures.selection(many, ("fact 300", "fact 5"))
    other = measures.selection(many, ("fact 300",))
    assert len(set(first.probed) & set(other.probed)) >= 23
    assert measures.selection(facts(10), ()) == measures.Selection(*[facts(10).classes] * 2, True)


def test_the_controls_of_a_large_model_are_asked_for():
    def page():
        import streamlit as st

        from app.choice.choice import Facts
        from app.views.shared.controls import control_wanted

        for large in (False, True):
            st.write(str(control_wanted(Facts("m", ("c",), {"c": 6}, ("a",), slow=large))))

    app = AppTest.from_function(page).run()
    assert [text.value for text in app.markdown] == ["True", "False"] and len(app.toggle) == 1
    app.toggle[0].set_value(True).run()
    assert [text.value for text in app.markdown] == ["True", "True"]


def test_a_row_is_one_concept_at_the_strength_that_was_chosen():
    raw = {"concepts": ["fact 1", "fact 2"], "own": True, "alpha.fact 1": 1.75, "strength": 1.5}
    choice = clean(raw, facts(20))
    row = measures.key_of(choice, "fact 1", "necessity", FROM_NOTHING)
    assert (row.mode, row.concepts, row.strengths) == (ERASE, ("fact 1",), {"fact 1": 1.75})
    assert measures.key_of(choice, "fact 9", "necessity", FROM_NOTHING).strength == 1.5
    kept = measures.key_of(choice, "fact 9", "sufficiency", FROM_NOTHING)
    assert (kept.mode, kept.strengths, kept.from_nothing) == (KEEP, {"fact 9": 1.0}, True)


def test_behind_a_cell_changed_answers_come_first_and_add_up():
    base = base_of()
    choice = clean({"concepts": ["7"]}, base.facts)
    row = measures.key_of(choice, "7", "necessity", FROM_NOTHING)
    table = drain(behind.class_answers(base, row, "7"))
    assert sorted(table["image"]) == list(range(1, base.facts.held_out["7"] + 1))
    score = base.sample.task.measure(base.atlas.apply(erase="7"), base.sample.concepts, ["7"]).score["7"]
    assert (table["edited"] == "7").mean() == pytest.approx(score)
    changed = (table["base"] != table["edited"]).tolist()
    assert changed == sorted(changed, reverse=True)
