"""Whoever is sent to Live with an image sees that image, also when a hand drawing was there before."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from app.choice.picture import DRAWABLE
from app.launch import MAIN

DRAWN = "0" * 27 + "gggg" + "0" * (DRAWABLE[0] * DRAWABLE[1] - 31)


def open_page(page: str, **params: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=300)
    for key, value in ({"page": page, "model": "digits-mlp", "drawn": DRAWN} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception and app.session_state["drawn"] == DRAWN
    return app


def caption(app: AppTest) -> str:
    assert not app.exception
    html = " ".join(block.proto.body for block in app.get("html"))
    return html.split("<figcaption>")[1].split("</figcaption>")[0]


def from_a_cell() -> AppTest:
    app = open_page("criteria", criterion="Necessity", edited="7", probed="9", concepts="7")
    return app.button(key="to_live").click().run()


def from_the_gallery() -> AppTest:
    return open_page("start").button(key="open_digits-mlp").click().run()


def from_the_door() -> AppTest:
    return open_page("start").button(key="door_live").click().run()


WAYS = {"cell": (from_a_cell, "9"), "gallery": (from_the_gallery, "7"), "door": (from_the_door, "7")}


@pytest.mark.parametrize("way", WAYS)
def test_a_named_image_is_shown_and_not_the_drawing(way):
    go, concept = WAYS[way]
    app = go()
    said = caption(app)
    assert f"True class <b>{concept}</b>" in said and "held-out image" in said
    assert not app.session_state["drawn"] and "drawn" not in app.query_params
    assert app.segmented_control(key="source").value == "Held-out image"


def test_a_drawing_stays_where_no_image_is_named():
    app = open_page("live")
    assert "your drawing" in caption(app) and app.segmented_control(key="source").value == "Draw a digit"
    app.pills(key="concepts").set_value(["7"]).run()
    assert "your drawing" in caption(app)
