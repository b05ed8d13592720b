"""Start, learn and the tour: every step opens its page with its choice, and answers are computed there."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from app.choice.address import KINDS
from app.choice.choice import ALPHA
from app.launch import MAIN
from app.views.registry import REGISTRY
from app.views.tour.glossary import GLOSSARY
from app.views.tour.lessons import LESSONS
from engram_core.opening.samples import load_sample, sample_names

PATHS = {entry.path for entry in REGISTRY}


def open_at(**params: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in params.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def text(app: AppTest) -> str:
    return " ".join([*(m.value for m in app.markdown), *(h.proto.body for h in app.get("html"))])


@pytest.mark.parametrize("number", range(1, len(LESSONS) + 1))
def test_every_step_names_pages_and_choices_that_exist(number):
    lesson = LESSONS[number - 1]
    assert {lesson.page, lesson.after_page or lesson.page} <= PATHS
    assert lesson.answer is None or 0 <= lesson.answer < len(lesson.options)
    assert len(set(lesson.options)) == len(lesson.options) >= 2
    for values in (lesson.before, lesson.after):
        assert all(key in KINDS or key.startswith(ALPHA) for key in values)
        if "model" in values:
            assert values["model"] in sample_names()
    named = lesson.after.get("concepts", [])
    if named:
        assert set(named) <= set(load_sample(lesson.after["model"]).concepts)


def test_the_tour_asks_shows_and_moves_on():
    app = open_at(page="learn")
    app.button(key="tour_start").click().run()
    assert not app.exception and f"Step 1 of {len(LESSONS)}" in text(app)
    app.button(key="tour_next").click().run()
    app.button(key="tour_next").click().run()
    assert not app.exception and "Step 3" in text(app) and "Edit off" in text(app)
    assert app.button(key="tour_reveal").disabled
    lesson = LESSONS[2]
    app.radio(key="_guess_3").set_value(lesson.options[0]).run()
    app.button(key="tour_reveal").click().run()
    assert not app.exception and "7 erased, strength 1" in text(app)
    (said,) = [s.value for s in app.success]
    assert f"You said “{lesson.options[0]}”; it is “{lesson.options[lesson.answer]}”" in said
    app.button(key="tour_end").click().run()
    assert not app.exception and "Guided tour" in text(app) and "Step 3 of" not in text(app)


def test_a_step_has_an_address():
    app = open_at(page="live", step="3", shown="true", concepts="7", model="digits-mlp")
    assert "Step 3 of" in text(app) and app.success and "7 erased" in text(app)
    for nonsense in ("99", "-1", "x"):
        assert "Step" not in text(open_at(page="learn", step=nonsense)).replace("The steps", "")


def test_start_shows_a_true_picture_and_three_doors():
    app = open_at()
    assert "Edit on" in text(app) and 'data-answer="edited"' in text(app)
    app.button(key="door_live").click().run()
    assert not app.exception and "7 erased, strength 1" in text(app) and "Accuracy per class" in text(app)
    app = open_at()
    app.button(key="door_learn").click().run()
    assert not app.exception and "Step 1 of" in text(app)


def test_words_are_explained_once():
    words = {word for word, _ in GLOSSARY}
    assert len(words) == len(GLOSSARY)
    assert {"Primal form", "Dual form", "q, k, v, o, gate, up, down"} <= words
