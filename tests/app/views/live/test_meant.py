"""Keeping has a strength of its own, and an input of what is erased is offered."""

from __future__ import annotations

import re

from streamlit.testing.v1 import AppTest

from app.choice.address import to_query, values_of
from app.choice.choice import ERASE, KEEP, Facts, clean
from app.launch import MAIN

FACTS = Facts(
    "m", ("a", "b", "c"), dict.fromkeys("abc", 3), ("fc",), strengths=(-1.0, 8.0), strength=8.0, power="1"
)


def open_live(**params) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": "live", "model": "digits-mlp"} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def text(app: AppTest) -> str:
    blocks = [re.sub("<[^>]+>", " ", b.proto.body) for b in app.get("html") if "<style" not in b.proto.body]
    return " ".join([*blocks, *(m.value for m in app.markdown), *(c.value for c in app.caption)])


def test_keeping_does_not_take_over_the_strength_of_erasing():
    raw = {"concepts": ["a"], "strength": 8.0}
    assert clean(raw | {"mode": ERASE}, FACTS).strengths == {"a": 8.0}
    assert clean(raw | {"mode": KEEP}, FACTS).strengths == {"a": 1.0}
    kept = clean(raw | {"mode": KEEP, "keep_strength": 0.5}, FACTS)
    assert kept.strengths == {"a": 0.5} and kept.from_nothing
    assert clean({"concepts": ["a"], "mode": KEEP}, FACTS).strength == 1.0  # and not the model's own, 8


def test_addresses_of_before_keep_as_strongly_as_they_said():
    assert values_of({"mode": KEEP, "strength": "2"})["keep_strength"] == 2.0
    assert "keep_strength" not in values_of({"strength": "2"})
    both = {"mode": KEEP, "strength": 3.0, "keep_strength": 1.0}
    assert values_of(dict(pair.split("=") for pair in to_query(both).replace("+", " ").split("&"))) == both


def test_each_mode_has_its_own_slider_and_the_caption_speaks_of_what_is_kept():
    app = open_live(concepts="7", strength="2")
    assert app.slider(key="strength").value == 2.0
    app.segmented_control(key="mode").set_value(KEEP).run()
    assert not app.exception and app.slider(key="keep_strength").value == 1.0
    said = text(app)
    assert "7 isolated, from zero weights, strength 1" in said
    assert "What is isolated goes from" in said and "Largest loss among the others" not in said
    assert "what is erased" not in said.partition("What is isolated")[2]
    app.slider(key="keep_strength").set_value(0.5).run()
    app.segmented_control(key="mode").set_value(ERASE).run()
    assert not app.exception and "7 erased, strength 2" in text(app)


def test_an_image_of_what_is_switched_off_is_offered():
    app = open_live(concepts="7")
    assert "The image is of 0" in text(app).replace("**", "")
    app.button(key="show_erased").click().run()
    assert not app.exception and "True class 7" in re.sub(r"\s+", " ", text(app))
    assert not [button for button in app.button if button.key == "show_erased"]


def test_a_question_about_what_is_switched_off_is_offered():
    name = "Fabrice Pelliningway"
    app = open_live(model="authors-lm", concepts=name, prompt="The weather today is", tokens="2")
    app.button(key="show_erased").click().run()
    assert not app.exception and app.text_area(key="prompt").value.startswith(name)
    assert not [button for button in app.button if button.key == "show_erased"]
    # What became of the right answer stands there, with its probability.
    html = " ".join(block.proto.body for block in app.get("html"))
    assert re.findall('data-verdict="(.*?)"', html) == ["known", "forgotten"] and "data-right" in html
