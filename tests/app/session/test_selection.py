"""One selected concept: where it comes from, where it is shown, and how it goes."""

from __future__ import annotations

import json

from streamlit.testing.v1 import AppTest

from app.figures.charts.palette import SELECTED
from app.launch import MAIN


def open_page(**params: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"model": "digits-mlp", "page": "layers"} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def outlined(app: AppTest) -> int:
    specs = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    shapes = [shape for spec in specs for shape in spec["layout"].get("shapes", ())]
    return sum(shape.get("line", {}).get("color") == SELECTED for shape in shapes)


def chip(app: AppTest) -> list[str]:
    return [button.label for button in app.button if button.key == "selected_open"]


def test_what_is_added_to_the_edit_is_selected_and_what_is_taken_out_is_not():
    app = open_page()
    assert chip(app) == [] and outlined(app) == 0
    app.pills(key="concepts").set_value(["7"]).run()
    assert chip(app) == ["Selected: **7**"] and outlined(app) == 1
    app.pills(key="concepts").set_value(["7", "3"]).run()
    assert chip(app) == ["Selected: **3**"] and app.query_params["concept"] in ("3", ["3"])
    app.pills(key="concepts").set_value(["3"]).run()  # another one goes: the selected one stays
    assert chip(app) == ["Selected: **3**"]
    app.pills(key="concepts").set_value([]).run()
    assert chip(app) == [] and outlined(app) == 0 and "concept" not in app.query_params


def test_the_selection_is_none_of_another_model():
    app = open_page(concept="7")
    assert chip(app) == ["Selected: **7**"]
    app.selectbox(key="model").set_value("fashion-cnn").run()
    assert not app.exception and chip(app) == [] and "concept" not in app.query_params


def test_a_name_that_is_none_is_said_and_selects_nothing():
    app = open_page(concept="<script>alert(1)</script>")
    assert chip(app) == [] and outlined(app) == 0
    assert any("concept “<script>alert(1)</script…” is not one of" in note.value for note in app.info)


def test_the_chip_leads_to_the_concept_s_page():
    app = open_page(concept="7")
    next(button for button in app.button if button.key == "selected_open").click().run()
    assert not app.exception and any("One concept, from every side" in text.value for text in app.markdown)
    assert app.selectbox(key="concept").value == "7" and chip(app) == []
