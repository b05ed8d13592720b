"""Learn and the tour: a figure stays veiled until there is a prediction, and predictions are counted."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from app.choice.address import KINDS
from app.choice.choice import ALPHA
from app.launch import MAIN
from app.views.registry import REGISTRY
from app.views.tour.lessons import LESSONS
from engram_core.opening.samples import load_sample, sample_names

PATHS = {entry.path for entry in REGISTRY}
RIGHT = [2, 1, 2, 0, 1, 1, 0, 0, 2, 0]  # test_findings computes them


def open_at(**params: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in params.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def text(app: AppTest) -> str:
    return " ".join(
        [
            *(m.value for m in app.markdown),
            *(c.value for c in app.caption),
            *(h.proto.body for h in app.get("html")),
        ]
    )


def written(app: AppTest, key: str) -> str:
    """Return what the address says; AppTest gives a list or its only text."""
    found = app.query_params[key]
    return found if isinstance(found, str) else found[0]


def veiled(app: AppTest) -> bool:
    (chart,) = app.get("plotly_chart")
    return "Predict first" in json.dumps(json.loads(chart.proto.spec)["layout"].get("annotations", []))


@pytest.mark.parametrize("number", range(1, len(LESSONS) + 1))
def test_every_step_leads_to_a_page_and_a_choice_that_exist(number):
    lesson = LESSONS[number - 1]
    assert lesson.page in PATHS and len(set(lesson.options)) == len(lesson.options) >= 3
    assert all(key in KINDS or key.startswith(ALPHA) for key in lesson.values)
    assert lesson.values["model"] in sample_names()
    named = lesson.values.get("concepts", [])
    assert set(named) <= set(load_sample(lesson.values["model"]).concepts)


def test_the_tour_asks_shows_and_moves_on():
    app = open_at(page="learn")
    app.button(key="tour_start").click().run()
    assert not app.exception and f"Step 1 of {len(LESSONS)}" in text(app)
    app.button(key="tour_next").click().run()
    app.button(key="tour_next").click().run()
    app.button(key="tour_next").click().run()
    assert not app.exception and "Step 4" in text(app) and veiled(app)
    assert app.button(key="tour_reveal").disabled
    lesson = LESSONS[3]
    app.radio(key="_guess_4").set_value(lesson.options[1]).run()
    assert veiled(app)
    app.button(key="tour_reveal").click().run()
    assert not app.exception and not veiled(app)
    # What was predicted wrongly is no success.
    (said,) = [s.value for s in app.info]
    assert not app.success and "You predicted: sevens and others fall together" in said
    assert "It is: sevens fall below 20%" in said and "97.2% → 0.0%" in said.replace("\\", "")
    app.button(key="tour_end").click().run()
    assert not app.exception and "The steps" in text(app) and "Step 4 of" not in text(app)
    app.button(key="tour_go_on").click().run()
    assert "Step 5 of" in text(app)


def test_a_right_prediction_is_a_success_and_stands_in_the_address():
    app = open_at(page="learn", lesson="6")
    app.radio(key="_guess_6").set_value("A 7").run()
    app.button(key="tour_reveal").click().run()
    (said,) = [s.value for s in app.success]
    assert said.startswith("**Right: a 7.**") and not app.info
    assert (written(app, "lesson"), written(app, "predicted")) == ("6", "-----1")
    again = open_at(page="learn", lesson="6", predicted="-----1")
    assert [s.value for s in again.success] == [said] and not veiled(again)


def test_the_first_step_keeps_its_last_two_stages_for_later():
    app = open_at(page="learn", lesson="1", stage="Engram E_A")
    assert app.select_slider(key="stage").options == ["Rows", "Second moment Σ_c"]
    app.select_slider(key="stage").set_value("Second moment Σ_c").run()
    assert "pmatrix" in text(app) and "P_A = " not in text(app).replace("`P_A = Σ_A Σ†`", "")
    app.radio(key="_guess_1").set_value(LESSONS[0].options[2]).run()
    app.button(key="tour_reveal").click().run()
    assert not app.exception and app.success
    assert app.select_slider(key="stage").value == "Filter P_A"
    app.select_slider(key="stage").set_value("Engram E_A").run()
    assert "E_A = W P_A" in text(app) and "The engram's answers are" in text(app)


def test_the_end_counts_what_was_predicted():
    marks = "".join(str(mark) for mark in RIGHT)
    wrong = str((RIGHT[1] + 1) % 3)
    app = open_at(page="learn", lesson="11", predicted=marks[0] + wrong + marks[2:8] + "-x")
    assert not app.exception and "You predicted **7 of 8** right" in text(app)
    assert "2 of 10 steps were left out" in text(app) and "What to take home" in text(app)
    assert "You predicted: All ten like the layer's, at less" in text(app)
    assert "It is: All ten like the layer's, at more" in text(app)
    (download,) = [b for b in app.get("download_button") if "exercises" in b.proto.label]
    assert download
    app.button(key="tour_again").click().run()
    assert "Step 1 of" in text(app) and "predicted" not in app.query_params
    assert "not predicted anything" in text(open_at(page="learn", lesson="11"))


@pytest.mark.parametrize("nonsense", ["99", "-1", "x", "1e9"])
def test_a_step_that_is_none_opens_the_table_of_contents(nonsense):
    assert "The steps" in text(open_at(page="learn", lesson=nonsense))


@pytest.mark.parametrize("nonsense", ["9", "--", "١", "x" * 500, "<b>", "0.5"])
def test_predictions_that_are_none_do_no_harm(nonsense):
    app = open_at(page="learn", lesson="4", predicted=nonsense)
    assert "Step 4 of" in text(app) and veiled(app) == (nonsense[3:4] != "x")


def test_a_link_into_the_first_tour_opens_the_step_of_today():
    app = open_at(page="live", step="3", shown="true", concepts="7", model="digits-mlp")
    assert "Step 4 of" in text(app) and not veiled(app) and app.info
    assert "step" not in app.query_params


def test_a_step_leads_to_the_page_where_it_can_be_tried():
    app = open_at(page="learn", lesson="4", predicted="---0")
    app.button(key="tour_try").click().run()
    assert not app.exception and app.session_state["concepts"] == ["7"] and "Edit on" in text(app)
    # The tour waits where it was left.
    assert written(app, "lesson") == "4"


def test_start_shows_a_true_picture_and_its_doors():
    app = open_at()
    assert "Edit on" in text(app) and 'data-answer="edited"' in text(app)
    app.button(key="door_live").click().run()
    assert not app.exception and "7 erased, strength 1" in text(app) and "Accuracy per class" in text(app)
    app = open_at()
    app.button(key="door_learn").click().run()
    assert not app.exception and "Step 1 of" in text(app)
