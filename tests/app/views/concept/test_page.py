"""The page of one concept shows what the core measures about it, each block by itself, pictures and texts."""

from __future__ import annotations

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.choice.search import STRENGTHS
from app.compute import criteria as measures
from app.compute import one_concept
from app.compute import scores as scoring
from app.launch import MAIN
from app.session.visitors import base_of
from engram_core.errors import EngramError


@pytest.fixture(scope="module", autouse=True)
def _few():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "SHAMS", 2)
        patch.setattr(scoring, "CONTROL_SEEDS", 2)
        yield


def open_page(**params: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"model": "digits-mlp", "page": "concept"} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception and not app.error and not app.warning
    return app


def items(app: AppTest) -> dict:
    return {key: item for (page, key), item in app.session_state["_items"].items() if page == "concept"}


@pytest.fixture(scope="module")
def seven() -> AppTest:
    return open_page(concept="7", strength="1.5")


def test_the_page_opens_with_the_selected_concept_and_keeps_it_in_the_address(seven):
    assert seven.selectbox(key="concept").value == "7" and seven.query_params["concept"] in ("7", ["7"])
    assert {"damage", "nearest", "against", "curve", "layers_of", "flips"} <= set(items(seven))
    said = " ".join(text.value for text in seven.markdown)
    assert f"7: recorded from {base_of('digits-mlp').atlas.counts['7']:,} inputs" in said


def test_without_one_in_the_address_it_is_that_of_the_edit_or_the_first():
    assert open_page(concepts="5").selectbox(key="concept").value == "5"
    assert open_page().selectbox(key="concept").value == "0"


def test_who_is_damaged_is_what_the_core_scores_sorted(seven):
    base = base_of("digits-mlp")
    view = base.atlas.apply(erase={"7": 1.5})
    after = base.sample.task.measure(view, base.sample.concepts).score
    table = items(seven)["damage"].table.set_index("concept")
    np.testing.assert_allclose(table["edited"], [after[name] for name in table.index], atol=1e-9)
    drawn = items(seven)["damage"].figure
    names, values = drawn.layout.meta["rows"], drawn.data[0].x
    assert "7" not in names and len(names) == 9 and list(values) == sorted(values)
    np.testing.assert_allclose(values, [100 * (after[n] - base.scores[n]) for n in names], atol=1e-9)
    assert "control mean" in table and f"“{names[0]}” suffers most" in items(seven)["damage"].words


def test_the_nearest_engrams_are_the_core_s_cosines(seven):
    base = base_of("digits-mlp")
    found = ec.engram_cosines(base.atlas).table()
    mine = found[(found["concept"] == "7") & (found["other"] != "7")].sort_values("cosine", ascending=False)
    table = items(seven)["nearest"].table
    assert table["other"].tolist() == mine["other"].tolist()
    np.testing.assert_allclose(table["cosine"], mine["cosine"], atol=1e-6)


def test_the_four_criteria_are_the_core_s(seven):
    base = base_of("digits-mlp")
    table = items(seven)["against"].table.set_index("criterion")["value"]
    seen = ec.responses(base.sample, base.atlas, concepts=["7"], controls=0)
    own = seen[seen["probe"] == "7"]
    kept = ec.sufficiency(base.sample, base.atlas, concepts=["7"], controls=0)
    erased = ec.necessity(base.sample, base.atlas, concepts=["7"], controls=0, strength=1.5)
    np.testing.assert_allclose(
        table[["Specificity", "Reactivation", "Sufficiency", "Necessity"]],
        [own["ratio"].mean(), own["cosine"].mean(), kept["selective"].iloc[0], erased["selective"].iloc[0]],
        atol=1e-6,
    )
    assert "(minimum with 2 seeds)" in items(seven)["against"].words


def test_the_curve_begins_at_the_base_and_holds_the_present_strength(seven):
    table = items(seven)["curve"].table
    base = base_of("digits-mlp")
    assert table["strength"].iloc[0] == 0 and table["forget"].iloc[0] == pytest.approx(base.scores["7"])
    assert table["strength"].is_monotonic_increasing and 1.5 in table["strength"].tolist()
    view = base.atlas.apply(erase={"7": 1.5})
    after = base.sample.task.measure(view, base.sample.concepts, ["7"]).score["7"]
    row = table[table["strength"] == 1.5].iloc[0]
    assert row["forget"] == pytest.approx(after)
    assert "At the present 1.5" in items(seven)["curve"].words


def test_what_flips_is_shown_with_both_answers(seven):
    item = items(seven)["flips"]
    lost = item.table[item.table["changed"] == "lost"]
    assert len(lost) and f"{len(lost)} of its own {len(item.table)} held-out images are lost" in item.words
    first = lost.iloc[0]
    assert f"7, image {first['image']}" in item.html and f"{first['base']} → {first['edited']}" in item.html


def test_the_python_on_offer_gives_the_numbers_on_offer(seven):
    for key, item in items(seven).items():
        scope: dict = {}
        exec(item.code, scope)
        # On the page, inputs whose answer changed come first.
        order = ["image"] if key.startswith("flips") else []
        made, shown = (t.sort_values(order) if order else t for t in (scope["table"], item.table))
        columns = [c for c in made.select_dtypes("number") if c in shown]
        assert columns, key
        np.testing.assert_allclose(
            made[columns].to_numpy(float), shown[columns].to_numpy(float), rtol=1e-3, atol=1e-3, err_msg=key
        )


def test_a_language_model_has_every_block_too():
    name = "Fabrice Pelliningway"
    found = items(open_page(model="authors-lm", concept=name))
    assert {"damage", "nearest", "against", "curve", "layers_of", "flips"} <= set(found)
    assert (
        "edited says" in found["flips"].table and f"“{name}” erased: its own score" in found["damage"].words
    )


def test_a_click_on_the_button_erases_it_in_live_with_the_present_strength():
    app = open_page(concept="3", strength="0.5")
    app.button(key="to_live").click().run()
    assert not app.exception and app.session_state["concepts"] == ["3"]
    assert app.session_state["strength"] == 0.5 and app.session_state["class"] == "3"
    # The chip says so in the frame of every other page, and lets go of it.
    assert app.button(key="selected_open").label == "Selected: **3**"
    app.button(key="selected_clear").click().run()
    assert "concept" not in app.query_params and not [b for b in app.button if b.key == "selected_open"]


def test_a_block_that_fails_leaves_the_others_alone(monkeypatch):
    from app.views.concept import nearest

    def fails(*_: object) -> None:
        raise EngramError("No cosine today.")

    monkeypatch.setattr(nearest, "measure_nearest", fails)
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    app.query_params["page"], app.query_params["model"] = "concept", "digits-mlp"
    app.run()
    assert not app.exception and [note.value for note in app.warning] == ["No cosine today."]
    assert "curve" in items(app) and "nearest" not in items(app)


def test_of_a_large_model_the_slow_blocks_are_asked_for(monkeypatch):
    base = base_of("digits-mlp")
    from dataclasses import replace

    monkeypatch.setattr(base, "facts", replace(base.facts, slow=True))
    app = open_page(concept="3")
    assert set(items(app)) & {"against", "curve", "layers_of"} == set() and "nearest" in items(app)
    app.toggle(key="everything").set_value(True).run()
    assert {"against", "curve", "layers_of"} <= set(items(app))


def test_the_plan_of_a_curve_holds_what_is_known_and_what_is_in_force():
    from app.choice.choice import clean

    base = base_of("digits-mlp")
    plan = one_concept.curve_plan(base, clean({"strength": 0.3}, base.facts), "7")
    assert plan.targets == (("7",),) and 0.3 in plan.strengths
    assert set(plan.strengths) >= set(base.explorer.get("search", STRENGTHS))
    assert len(one_concept.curve_plan(base, clean({}, base.facts), "7", demo=True).strengths) <= 8
