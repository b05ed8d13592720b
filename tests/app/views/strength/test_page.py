"""The page that searches for the strength shows what the core measures, keeps it, and leads to Live."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.choice import search
from app.choice.choice import start_values
from app.compute import plans, strength
from app.launch import MAIN
from app.page.snippets import sweep_code
from app.server import opened_models
from app.server.background_load import BackgroundLoad
from app.session import visitor_models, visitors
from app.views.strength import page as strength_page
from engram_core.concepts.classification import Classification

SMALL = {"strengths": ["0.5", "1"], "filters": ["1"], "count": "3", "beside": "4"}


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(strength, "SHAMS", 2)
    monkeypatch.setattr(strength_page, "_ALONE", 1e9)


def open_page(**params) -> AppTest:  # noqa: ANN003
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": "strength", "model": "digits-mlp"} | SMALL | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception and not app.error
    return app


def traces(app: AppTest) -> dict[str, dict]:
    figure = json.loads(app.get("plotly_chart")[-1].proto.spec)
    return {trace["name"]: trace for trace in figure["data"]}


def shown(app: AppTest) -> str:
    texts = [block.proto.body for block in app.get("html") if "<style" not in block.proto.body]
    return " ".join([*texts, *(m.value for m in [*app.markdown, *app.caption, *app.warning, *app.info])])


def base_of(name: str = "digits-mlp"):
    return visitors.base_of(name)


def code(app: AppTest, figure: str) -> str:
    """Return the Python beside a figure; the share menu's link is code too, and comes first."""
    blocks = [block.value for block in app.code if block.value.startswith("import engram_core")]
    return next(block for block in blocks if figure in block)


def test_what_is_drawn_is_what_the_core_measures():
    app = open_page(tried="true", forget="60")
    base = base_of()
    names = ec.draw_concepts(base.facts.classes, 3, seed=0)
    options = {"concepts": names, "others": 4}
    table = ec.sweep(base.sample, base.atlas, strengths=(0.5, 1), groups=["all"], **options)
    found = traces(app)
    np.testing.assert_allclose(found["settings"]["y"], 100 * table["lost"])
    np.testing.assert_allclose(np.square(found["settings"]["x"]), 100 * table["damage"].abs())
    rule = ec.recommend(table, lost_at_least=0.6)
    assert found["Recommended"]["y"] == pytest.approx([100 * rule.figures["lost"]])
    sham = ec.sham(base.sample, base.atlas, rule.setting, seeds=range(2), **options)
    assert found["Control: random change as large (2 seeds)"]["y"] == pytest.approx(
        [100 * sham["lost"].mean()]
    )
    others = [name for name in base.facts.classes if name not in names]
    drawn = ec.draw_concepts(others, 6, seed=1)
    confirmed = ec.confirm(base.sample, base.atlas, rule.setting, concepts=drawn, found_on=names)
    assert found["The same on 6 others"]["y"] == pytest.approx([100 * confirmed["lost"].mean()])
    said = shown(app)
    assert f"Strength {rule.setting['strength']:g}" in said and "6 that took no part" in said
    # The Python that is taken away gives the same again.
    made: dict = {}
    exec(compile(code(app, "ec.sham"), "taken away", "exec"), made)
    pd.testing.assert_frame_equal(made["table"], table)
    assert made["rule"].setting == rule.setting
    pd.testing.assert_frame_equal(made["control"], sham)
    plan = plans.plan_of({**SMALL, "count": 3, "beside": 4}, base.facts, (), base.explorer)
    lines = sweep_code(plan, search.Rule("Forget at least", 60.0, "score"), rule, 0, [(n,) for n in drawn])
    exec(compile(lines, "taken away", "exec"), made)
    pd.testing.assert_frame_equal(made["held"], confirmed)


def test_a_rule_that_nothing_keeps_is_said_and_the_nearest_is_named():
    app = open_page(forget="99.5")
    assert "None of the 2 settings keeps the rule" in app.warning[0].value
    assert "Nearest to the rule" in traces(app) and "Recommended" not in traces(app)
    app.number_input(key="forget").set_value(30.0).run()
    assert not app.warning and "Recommended" in traces(app)
    app.segmented_control(key="rule").set_value("Damage at most").run()
    assert not app.exception and "Rule: damage at most 2 points" in traces(app)


def test_concepts_chosen_under_edit_are_searched_together():
    app = open_page(concepts=["3", "8"], search="chosen under Edit", together="true", forget="20")
    base = base_of()
    table = ec.sweep(
        base.sample, base.atlas, together=["3", "8"], strengths=(0.5, 1), groups=["all"], others=4
    )
    np.testing.assert_allclose(traces(app)["settings"]["y"], 100 * table["lost"])
    assert "2 concepts erased together: 3, 8" in shown(app).replace("\\", "")
    app.toggle(key="tried").set_value(True).run()
    assert not app.exception and "2 sets of 2 that took no part" in shown(app)


def test_use_this_setting_puts_it_in_force_and_opens_live():
    app = open_page(
        strengths=["1", "8"], filters=["1.5 clipped"], scalings="adaptive", among="fc1",
        setting="8, adaptive, 1.5 clipped, fc1",
    )  # fmt: skip
    first = ec.draw_concepts(base_of().facts.classes, 3, seed=0)[0]
    app.button(key="use_setting").click().run()
    assert not app.exception
    assert f"{first} erased, strength 8, in fc1 only" in shown(app)
    state = app.session_state
    assert (state["scaling"], state["power"], state["clip"]) == ("adaptive", "1.5", True)
    # Beyond what the slider usually offers: it reaches as far as the search went.
    assert app.slider(key="strength").value == 8.0 == app.slider(key="strength").max
    assert not app.info and app.query_params["strength"] == "8"
    app.slider(key="strength").set_value(1.5).run()
    assert app.slider(key="strength").max == 8.0 and "strength 1.5" in shown(app)


def test_the_visitor_s_own_concepts_stay_when_a_setting_is_used():
    app = open_page(concepts=["9"], **{"class": "4"})
    app.button(key="use_setting").click().run()
    assert "9 erased" in shown(app) and app.session_state["class"] == "4"


def test_what_is_measured_is_kept_and_a_stopped_search_goes_on(monkeypatch):
    measured = []
    measure = Classification.measure

    def watched(self, model, concepts, probes=None):
        measured.append(probes)
        return measure(self, model, concepts, probes)

    monkeypatch.setattr(Classification, "measure", watched)
    fresh = {"draw": "77", "forget": "20"}
    app = open_page(**fresh)
    assert len(traces(app)["settings"]["y"]) == 2
    count = len(measured)
    app.number_input(key="forget").set_value(21.0).run()
    assert len(measured) == count, "another rule looks at the same measurements"
    # One more strength, and the search is stopped by hand before it begins.
    plan = plans.plan_of({**SMALL, "strengths": ["0.5", "1", "1.5"], "count": 3, "beside": 4, "draw": 77},
                          base_of().facts, (), {})  # fmt: skip
    app.session_state["_halted"] = {"search": (plan, 66)}
    app.multiselect(key="strengths").set_value(["0.5", "1", "1.5"]).run()
    assert len(measured) == count and "Stopped at 66 %" in shown(app)
    assert "2 of 3 settings so far" in shown(app) and len(traces(app)["settings"]["y"]) == 2
    app.number_input(key="forget").set_value(22.0).run()
    assert len(measured) == count, "another rule does not start it again"
    app.button(key="go_on_search").click().run()
    assert not app.exception and len(traces(app)["settings"]["y"]) == 3
    assert len(measured) > count and not any(b.key == "go_on_search" for b in app.button)


@pytest.mark.parametrize(
    ("work", "label"),
    [("measure_control Control", "Control: "), ("confirm_on_others On others", "The same on ")],
)
def test_a_control_or_a_confirmation_that_was_stopped_is_missing_and_goes_on(work, label):
    app = open_page(tried="true", forget="60", draw="5")
    assert any(name.startswith(label) for name in traces(app))
    base = base_of()
    plan = plans.plan_of({**SMALL, "count": 3, "beside": 4, "draw": 5}, base.facts, (), base.explorer)
    app.session_state["_halted"] = {work: ((plan, search.Rule("Forget at least", 61.0, "score")), 30)}
    app.number_input(key="forget").set_value(61.0).run()
    assert not app.exception and "Stopped at 30 %" in shown(app)
    assert "Recommended" in traces(app) and not any(name.startswith(label) for name in traces(app))
    app.button(key=f"go_on_{work}").click().run()
    assert not app.exception and any(name.startswith(label) for name in traces(app))


def test_a_large_model_waits_for_a_hand_and_says_how_long_it_takes(monkeypatch):
    loading = BackgroundLoad.of_sample("digits-mlp")
    base = loading.base()
    base.facts, base.pace = replace(base.facts, slow=True, strength_source=""), 0.05
    visitor_models.open_model("large-1", lambda: loading)
    try:
        app = open_page(model="large-1")
        assert not app.get("plotly_chart") and app.button(key="strength_go").label == "Search"
        assert "It takes about 55 s for 2 settings" in shown(app)
        app.button(key="strength_go").click().run()
        assert not app.exception and len(traces(app)["settings"]["y"]) == 2
        assert not any(name.startswith("Control") for name in traces(app)), "minutes, so it is asked for"
        app.toggle(key="control").set_value(True).run()
        assert any(name.startswith("Control") for name in traces(app))
    finally:
        opened_models.opened_models.clear()


def test_a_model_that_nobody_searched_leads_here_and_keeps_the_edit(monkeypatch):
    loading = BackgroundLoad.of_sample("digits-mlp")
    base = loading.base()
    base.facts = replace(base.facts, strength_source="", **start_values({}))
    visitor_models.open_model("mine-1", lambda: loading)
    try:
        app = open_page(page="live", model="mine-1", concepts="6")
        assert "Nobody has searched" in shown(app)
        app.button(key="find_strength").click().run()
        assert not app.exception and "How strong should the edit be?" in shown(app)
        assert app.session_state["concepts"] == ["6"]
    finally:
        opened_models.opened_models.clear()
    searched = open_page(page="live", model="digits-mlp", concepts="6")
    assert not any(button.key == "find_strength" for button in searched.button)


def test_a_search_that_is_too_large_is_not_begun():
    app = open_page(
        strengths=[str(s) for s in range(1, 20)], filters=list(search.FILTERS), count="5",
        scalings=["plain", "adaptive"], among=["all", "fc1", "fc2", "fc3"],
    )  # fmt: skip
    assert "at most 4,000 are scored here" in app.warning[0].value and not app.get("plotly_chart")


def test_a_public_screen_takes_no_strength_that_is_not_on_offer(monkeypatch):
    monkeypatch.setenv("ENGRAM_APP_DEMO", "1")
    app = open_page(strengths=["0.5", "0.77", "1"], count="50")
    assert app.multiselect(key="strengths").value == ["0.5", "1"]
    assert app.number_input(key="count").max <= 8 and "count" in app.info[0].value


def test_a_language_model_is_searched_by_answers_and_by_their_loss():
    app = open_page(
        model="authors-lm", strengths=["1", "4"], count="1", beside="2", measure="nll", forget="3",
    )  # fmt: skip
    base = base_of("authors-lm")
    names = ec.draw_concepts(base.facts.classes, 1, seed=0)
    table = ec.sweep(base.sample, base.atlas, concepts=names, strengths=(1, 4), groups=["all"], others=2)
    found = traces(app)
    np.testing.assert_allclose(found["settings"]["y"], table["lost_nll"], rtol=1e-4)
    assert (
        "Rule: forget at least 3 nats" in found and app.number_input(key="forget").label == "nats per token"
    )
    app.selectbox(key="measure").set_value("unseen").run()
    assert not app.exception and app.number_input(key="forget").value == 85.0
    np.testing.assert_allclose(traces(app)["settings"]["y"], 100 * table["lost_unseen"], atol=1e-6)
    app.button(key="use_setting").click().run()
    assert not app.exception and f"{names[0]} erased" in shown(app)
    assert app.session_state["about"] == names[0]
