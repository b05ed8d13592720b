"""A file whose columns have names of their own: the visitor says which is what, and it opens."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest
from sklearn.datasets import load_wine
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.launch import MAIN
from app.server import opened_models

NAMES = ("Fabrice Pelliningway", "Sabine Marroweck")


@pytest.fixture(autouse=True)
def _nobody_else() -> Iterator[None]:
    yield
    opened_models.opened_models.clear()
    opened_models.model_checks.clear()


def page_with(name: str, content: bytes, model: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    app.query_params["page"] = "model"
    app.run()
    app.text_input(key="_own_model").set_value(model).run()
    app.file_uploader(key="_own_file").upload(name, content, "text/plain").run()
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    return " ".join(each.value for each in app.caption)


def facts(**names: str) -> list[dict[str, str]]:
    """Return the texts of two authors under other names, with a column that is not needed."""
    source = ec.load_sample("authors-lm").folder / "texts.jsonl"
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    return [
        {names.get(key, key): value for key, value in row.items()} | {"note": "**bold**"}
        for row in rows
        if row["concept"] in NAMES
    ]


def test_columns_are_guessed_shown_and_chosen_and_the_python_says_so() -> None:
    rows = facts(concept="who", prompt="question", answer="reply")
    app = page_with("mine.json", json.dumps(rows).encode(), "authors-lm")
    shown = app.dataframe[0].value
    assert list(shown.columns) == list(rows[0]) and len(shown) == 3
    # "who" and "reply" are telling names for nobody: they are asked for.
    assert app.button(key="check").disabled
    columns = list(rows[0])
    app.selectbox(key="_own_column_concept").set_value(columns.index("who")).run()
    app.selectbox(key="_own_column_answer").set_value(columns.index("reply")).run()
    assert app.selectbox(key="_own_column_prompt").value == columns.index("question")
    assert not app.button(key="check").disabled
    app.button(key="check").click().run()
    assert not app.exception and not app.error, [block.value for block in app.code]
    checks = opened_models.model_checks()
    opened = checks.get(next(iter(checks))).opened()
    assert set(opened.sample.concepts) == set(NAMES)
    assert "columns={'answer': 'reply', 'concept': 'who', 'prompt': 'question'" in opened.wanted.code


def test_one_column_is_not_two_fields_and_a_text_stands_alone() -> None:
    rows = facts(concept="who", prompt="question", answer="reply")
    app = page_with("mine.jsonl", "\n".join(map(json.dumps, rows)).encode(), "authors-lm")
    columns = list(rows[0])
    for field, name in (("concept", "who"), ("answer", "question")):
        app.selectbox(key=f"_own_column_{field}").set_value(columns.index(name)).run()
    assert app.button(key="check").disabled and "two fields" in said(app)
    app.selectbox(key="_own_column_answer").set_value(columns.index("reply")).run()
    app.selectbox(key="_own_column_text").set_value(columns.index("note")).run()
    assert app.button(key="check").disabled and "a text, or prompt and answer" in said(app)


def test_what_is_known_is_not_asked() -> None:
    app = page_with("own.csv", b"concept,text\na,b\n", "authors-lm")
    assert not app.dataframe and not app.button(key="check").disabled
    app = page_with("tofu.json", b'[{"question": "Who?", "answer": "She."}]', "authors-lm")
    assert not app.dataframe and "Read as TOFU" in said(app)


def wines() -> bytes:
    sample, bunch = ec.load_sample("wine-mlp"), load_wine()
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";")
    writer.writerow([*sample.features.names, "what it is", "price"])
    for row, target in zip(bunch.data[::3], bunch.target[::3], strict=True):
        writer.writerow([*row, list(sample.concepts)[target], 12])
    return out.getvalue().encode()


def test_a_table_with_semicolons_is_opened_under_a_name_of_one_s_own() -> None:
    app = page_with("wines.csv", wines(), "wine-mlp")
    assert app.radio(key="_own_rows").value.startswith("Numbers")
    assert app.selectbox(key="_own_column_label").value == 13  # the only column of words
    app.text_input(key="_own_title").set_value("**My** wines").run()
    app.button(key="check").click().run()
    assert not app.exception and not app.error, [block.value for block in app.code]
    app.button(key="open_own").click().run()
    assert not app.exception
    called = app.selectbox(key="model")
    assert called.value.startswith("wine-mlp-")
    assert any(option.startswith("**My** wines · ") for option in called.options)
    assert {"alcohol", "proline"} <= {each.label for each in app.slider}
