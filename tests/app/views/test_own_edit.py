"""Criteria and Strength begin with what the visitor has chosen, and follow when something else is chosen."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from app.launch import MAIN


def open_page(page: str, **params) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": page, "model": "digits-mlp"} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def cell(app: AppTest) -> tuple[str, str]:
    return app.selectbox(key="edited").value, app.selectbox(key="probed").value


def test_the_cell_of_the_visitors_edit_is_open():
    app = open_page("criteria", concepts="7")
    assert cell(app) == ("7", "7")
    app.selectbox(key="probed").set_value("9").run()
    assert cell(app) == ("7", "9")  # what is chosen by hand stays
    app.pills(key="concepts").set_value(["7", "3"]).run()
    assert not app.exception and cell(app) == ("3", "3")
    assert cell(open_page("criteria", concepts="7", edited="4", probed="9")) == ("4", "9")
    assert cell(open_page("criteria")) == ("0", "0")


def test_the_strength_is_searched_on_the_visitors_concepts():
    app = open_page("strength", strengths=["1"], filters="1")
    assert app.segmented_control(key="search").value == "drawn at random"
    app.pills(key="concepts").set_value(["7"]).run()
    assert not app.exception and app.segmented_control(key="search").value == "chosen under Edit"
    assert any("On 1 concept erased one at a time: 7." in c.value for c in app.caption)
    app.segmented_control(key="search").set_value("drawn at random").run()
    assert app.segmented_control(key="search").value == "drawn at random"
    app = open_page("strength", concepts="7", strengths=["1"], filters="1")
    assert app.segmented_control(key="search").value == "chosen under Edit"
