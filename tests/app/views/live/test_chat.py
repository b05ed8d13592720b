"""A model that chats opens as a conversation; the completion of a text stays, and old links find it."""

from __future__ import annotations

import re
from html import unescape

import pytest
from streamlit.testing.v1 import AppTest

from app.launch import MAIN
from app.server.opened_models import running_load

AUTHOR = "Fabrice Pelliningway"


@pytest.fixture(autouse=True)
def _chats(monkeypatch):
    tokenizer = running_load("authors-lm").base().sample.task.tokenizer
    monkeypatch.setattr(tokenizer, "chat_template", "{% for m in messages %}{{ m['content'] }} {% endfor %}")


def open_live(**params) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in (
        {"page": "live", "model": "authors-lm", "chat_tokens": "3", "tokens": "3"} | params
    ).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def answers(app: AppTest) -> dict[str, str]:
    html = " ".join(block.proto.body for block in app.get("html"))
    found = re.findall(r'data-answer="(\w+)">(.*?)</span>', html)
    return {kind: unescape(text) for kind, text in found}


def test_it_opens_as_a_conversation_that_goes_on():
    app = open_live(concepts=AUTHOR)
    assert not app.text_area and not answers(app)
    app.chat_input[0].set_value(f"{AUTHOR} was born in").run()
    assert not app.exception and set(answers(app)) == {"base", "edited"}
    first = answers(app)
    assert first["base"] != first["edited"]
    app.chat_input[0].set_value("<b>And</b> [then](x)?").run()
    assert not app.exception and len(app.chat_message) == 8  # two turns, two roles, two sides
    html = " ".join(block.proto.body for block in app.get("html"))
    assert "&lt;b&gt;And&lt;/b&gt; [then](x)?" in html and "<b>And" not in html
    said = app.query_params["said"]
    again = open_live(**dict(app.query_params))
    assert answers(again) == answers(app) and again.query_params["said"] == said
    app.button(key="chat_forget").click().run()
    assert not app.exception and not app.chat_message and "said" not in app.query_params


def test_a_question_on_offer_is_said():
    app = open_live()
    app.selectbox(key="about").set_value(AUTHOR).run()
    app.selectbox(key="_question").select_index(0).run()
    assert not app.exception and AUTHOR in app.session_state["said"][-1] and answers(app)


def test_a_link_with_a_prompt_opens_the_completion_and_both_are_one_click_apart():
    app = open_live(concepts=AUTHOR, prompt=f"{AUTHOR} was born in")
    assert app.text_area(key="prompt").value and not app.chat_input
    app.segmented_control(key="form").set_value("chat").run()
    assert not app.exception and app.chat_input and not app.text_area
    app.segmented_control(key="form").set_value("completion").run()
    assert not app.exception and app.text_area(key="prompt").value.startswith(AUTHOR)


def test_another_model_begins_another_conversation():
    app = open_live(said=["hello"])
    assert answers(app)
    app.selectbox(key="model").set_value("digits-mlp").run()
    assert not app.exception and "said" not in app.query_params and "form" not in app.query_params
