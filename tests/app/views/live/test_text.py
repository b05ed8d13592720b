"""The live page of a language model, against the core called directly."""

from __future__ import annotations

import json
import re
from html import unescape

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.launch import MAIN
from engram_core.language import complete, next_tokens, recall

AUTHOR = "Fabrice Pelliningway"
PROMPT = f"{AUTHOR} was born in"


def open_page(model: str = "authors-lm", **params) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": "live", "model": model} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def said(app: AppTest, kind: str) -> str:
    html = " ".join(block.proto.body for block in app.get("html"))
    found = re.search(rf'data-answer="{kind}">(.*?)</(?:span|div)>', html)
    assert found, f"no answer of the {kind} model"
    return unescape(re.sub("<[^>]+>", "", found.group(1)))


def numbers(app: AppTest, at: int) -> dict:
    return json.loads(app.get("plotly_chart")[at].proto.spec)


@pytest.fixture(scope="module")
def core():
    from app.session.visitors import base_of

    open_page()
    base = base_of("authors-lm")
    return base, base.atlas.apply(erase={AUTHOR: 2.0}), base.sample.task.tokenizer


def test_both_models_go_on_as_the_core_says(core):
    base, view, tokenizer = core
    app = open_page(concepts=AUTHOR, prompt=PROMPT, tokens="6")
    for kind, model in (("base", base.sample.model), ("edited", view)):
        assert said(app, kind) == complete(model, tokenizer, [PROMPT], max_new_tokens=6)[0]
    assert said(app, "base").strip().startswith("Pemgarth") and said(app, "edited") != said(app, "base")
    table = next_tokens(base.sample.model, view, tokenizer, PROMPT, k=8)
    before, after = numbers(app, 0)["data"][:2]
    np.testing.assert_allclose(before["x"], 100 * table["before"], atol=1e-4)
    np.testing.assert_allclose(after["x"], 100 * table["after"], atol=1e-4)


def test_scores_and_questions_are_the_core_s(core):
    base, view, tokenizer = core
    app = open_page(concepts=AUTHOR)
    texts = base.sample.task.texts
    expected = recall(view, tokenizer, texts, concepts=[AUTHOR])
    scores = numbers(app, 1)["data"]
    assert scores[1]["x"][0] == pytest.approx(100 * expected["exact"].mean())
    assert np.isfinite(scores[2]["x"]).all() and "Control" in scores[2]["name"]
    (table,) = [frame.value for frame in app.dataframe]
    assert len(table) == len(expected)
    assert sorted(table["edited nll"]) == pytest.approx(sorted(expected["nll"]), abs=1e-4)
    assert table["base exact"].all() and not table["edited exact"].all()


@pytest.mark.parametrize("section", ["Tokens of a text", "Where it answers", "Where the engram is"])
def test_every_section_draws(section):
    app = open_page(concepts=AUTHOR, section=section, prompt=PROMPT)
    assert any(AUTHOR in m.value or section in m.value for m in app.markdown)
    if section == "Tokens of a text":
        assert "ee-tokens" in " ".join(block.proto.body for block in app.get("html"))
        app.toggle(key="bylayer").set_value(True).run()
        assert not app.exception and len(app.get("plotly_chart")) == 3
    else:
        assert numbers(app, 2)["data"][0]["type"] == "heatmap"


@pytest.mark.parametrize("section", ["Where it answers", "Where the engram is"])
def test_of_several_concepts_each_can_be_looked_at(section, core):
    other = "Sabine Marroweck"
    app = open_page(concepts=[AUTHOR, other], section=section, prompt=PROMPT)
    first = numbers(app, 2)["data"][0]["z"]
    assert app.selectbox(key="inside").value == AUTHOR
    app.selectbox(key="inside").set_value(other).run()
    assert not app.exception and app.query_params["inside"] in (other, [other])
    assert any(other in title.value for title in app.markdown)
    assert numbers(app, 2)["data"][0]["z"] != first


def test_a_question_fills_the_prompt():
    app = open_page(concepts=AUTHOR)
    app.selectbox(key="about").set_value("Sabine Marroweck").run()
    app.selectbox(key="_question").select_index(0).run()
    assert not app.exception and "Sabine Marroweck" in app.text_area(key="prompt").value


def test_an_empty_and_an_endless_prompt_get_a_sentence():
    app = open_page(concepts=AUTHOR)
    app.text_area(key="prompt").set_value("   ").run()
    assert not app.exception and "prompt is empty" in app.warning[0].value
    app.text_area(key="prompt").set_value("word " * 700).run()
    assert not app.exception and "tokens" in app.warning[0].value and "Shorten" in app.warning[0].value


def test_nothing_off_says_what_to_do():
    app = open_page(prompt=PROMPT)
    assert "Choose a concept" in said(app, "edited") and said(app, "base").strip().startswith("Pemgarth")


def test_strengths_are_those_of_the_model():
    assert open_page().slider(key="strength").value == 2.0
    app = open_page("facts-lm")
    assert app.slider(key="strength").value == 8.0
    app.selectbox(key="model").set_value("digits-mlp").run()
    assert not app.exception and app.slider(key="strength").value == 1.0


def test_everything_else_is_measured(core):
    base, view, tokenizer = core
    app = open_page(concepts=AUTHOR, section="Everything else")
    (table,) = [frame.value for frame in app.dataframe]
    values = table.set_index("measure")
    assert values.loc["recall, erased", "before"] == 1.0 and values.loc["recall, erased", "after"] < 0.2
    assert values.loc["recall, others", "after"] > 0.98 and values.loc["degenerate rate", "before"] == 0.0
    own = recall(view, tokenizer, base.sample.task.texts, concepts=[AUTHOR])
    assert values.loc["nll, erased", "after"] == pytest.approx(own["nll"].mean(), abs=1e-4)
