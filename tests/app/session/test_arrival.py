"""Every option that an address can hold is in force on the first load, and stays in the address."""

from __future__ import annotations

import random
import string

import pytest
from streamlit.testing.v1 import AppTest

from app.choice import short_address
from app.choice.address import KINDS
from app.choice.choice import ALPHA
from app.launch import MAIN
from app.page.style import CSS, PRESENTER

EDIT = {
    "concepts": ["3", "7"], "strength": "0.5", "own": "true", "alpha.7": "0.25", "scaling": "adaptive",
    "power": "2", "clip": "true", "layers": ["fc1", "fc2"], "present": "true",
}  # fmt: skip
KEEPING = {
    "mode": "Keep only", "concepts": ["7"], "null": "in place", "strength": "0.5", "keep_strength": "0.75",
}  # fmt: skip
AUTHOR = "Fabrice Pelliningway"
LOADS: list[tuple[str, str, dict[str, str | list[str]]]] = [
    ("live", "digits-mlp", EDIT | {"class": "3", "image": "5", "seeds": "20"}),
    ("live", "digits-mlp", KEEPING | {"drawn": "0" * 60 + "gggg"}),
    (
        "live", "authors-lm",
        {"prompt": "Where was Fabrice born?", "tokens": "2", "temperature": "0.5", "seed": "3",
         "about": AUTHOR, "section": "Tokens of a text", "bylayer": "true", "control": "true",
         "inside": AUTHOR},
    ),
    ("criteria", "digits-mlp",
     {"criterion": "Specificity", "at": "fc2", "edited": "7", "probed": "9", "behind": "3",
      "state": "in place", "kept_in": "layer by layer", "measure_kept": "true", "every_layer": "true"}),
    ("criteria", "digits-mlp",
     {"criterion": "Necessity", "concept": "4", "sort": "by damage", "cells": "score", "only": ["3", "7"],
      "hit": "true"}),
    ("concept", "digits-mlp", {"concept": "4", "everything": "true"}),
    ("strength", "digits-mlp",
     {"search": "drawn at random", "count": "2", "draw": "4", "together": "true", "strengths": ["0.7", "2"],
      "filters": ["2 clipped"], "scalings": ["adaptive"], "among": ["fc1"], "beside": "3", "forget": "40",
      "rule": "Damage at most", "damage": "3", "tried": "true", "setting": "2, adaptive, 2 clipped, fc1"}),
    ("map", "digits-mlp",
     {"points": "Inputs by hidden state", "method": "PCA", "dimensions": "3-D", "colour": "Answer",
      "maplayer": "fc2", "after": "true", "noarrows": "true", "fit": "base alone",
      "engramcolour": "Nearest cosine", "concepts": "7"}),
    ("layers", "digits-mlp", {"look": "Directions", "lookat": "fc2", "which": "4", "shade": "linear"}),
    ("learn", "digits-mlp", {"lesson": "1", "predicted": "2-1", "stage": "Engram E_A"}),
]  # fmt: skip
# `chat` needs a model with a chat template, `measure` a language model's search; test_pretrained has both.
# A conversation needs one too: tests/app/views/live/test_chat.py.
ELSEWHERE = {"model", "chat", "measure", "by", "form", "said", "chat_tokens"}


def first_load(page: str, model: str, choice: dict[str, str | list[str]]) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": page, "model": model} | choice).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


@pytest.mark.parametrize(("page", "model", "choice"), LOADS)
def test_every_option_of_an_address_holds_on_the_first_load(page, model, choice):
    app = first_load(page, model, choice)
    written = app.query_params
    lost = {k: (v, written.get(k)) for k, v in choice.items() if as_list(written.get(k)) != as_list(v)}
    assert not lost and not app.info
    assert (PRESENTER in [block.proto.body.removeprefix(CSS) for block in app.get("html")]) == (
        "present" in choice
    )


def test_every_key_of_the_address_is_tried_here():
    assert {key for _, _, choice in LOADS for key in choice if not key.startswith(ALPHA)} == set(
        KINDS
    ) - ELSEWHERE


def as_list(value) -> list[str]:  # noqa: ANN001
    return value if isinstance(value, list) else [value]


def test_a_long_choice_makes_a_short_address_that_gives_it_again(monkeypatch):
    monkeypatch.setattr(short_address, "LONGEST", 90)
    every = [str(digit) for digit in range(10)]
    app = first_load("layers", "digits-mlp", {"concepts": every, "look": "Coverage"})
    (text,) = as_list(app.query_params["concepts"])
    assert text.startswith("*") and app.session_state["concepts"] == every
    again = first_load("layers", "digits-mlp", {"concepts": text, "look": "Coverage"})
    assert again.session_state["concepts"] == every and not again.info
    # Bits that were made of other names say nothing about these.
    text = "*00000000" + text[9:]
    other = first_load("layers", "digits-mlp", {"concepts": text, "look": "Coverage"})
    assert text[:20] in other.info[0].value and other.session_state["concepts"] == []


def test_what_the_address_has_no_room_for_is_named_in_the_share_menu():
    prompt = "".join(random.Random(0).choices(string.ascii_letters + string.digits, k=3000))
    app = first_load("learn", "digits-mlp", {"prompt": prompt, "present": "true"})
    assert "prompt" not in app.query_params and as_list(app.query_params["present"]) == ["true"]
    assert any("leaves out prompt" in caption.value for caption in app.caption)


def test_presenter_mode_of_a_session_file_holds_at_once():
    app = first_load("live", "digits-mlp", {})
    app.session_state["_pending"], app.session_state["_opened_address"] = ("live", {}), {"present": ["true"]}
    app.run()
    assert CSS + PRESENTER in [block.proto.body for block in app.get("html")]
