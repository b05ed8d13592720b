"""The live page on both samples, driven as Streamlit drives it, against the core called directly."""

from __future__ import annotations

import json
import re
from html import unescape

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.launch import MAIN

SAMPLES = {"digits-mlp": "7", "fashion-cnn": "Trouser"}


def open_app(sample: str, **params: str | list[str]) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in (params | {"page": "live", "model": sample}).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception and app.selectbox(key="model").value == sample
    return app


def charts(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def answers(app: AppTest) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of base and edited model that the first figure draws."""
    base, edited = charts(app)[0]["data"][:2]
    return np.array(base["x"]), np.array(edited["x"])


def page_text(app: AppTest) -> str:
    blocks = [block.proto.body for block in app.get("html")]
    return unescape(re.sub("<[^>]+>", " ", " ".join(b for b in blocks if "<style" not in b)))


def show(app: AppTest, concept: str, image: int = 1) -> None:
    app.pills(key="class").set_value(concept).run()
    if image != 1:
        app.number_input(key="image").set_value(image).run()


@pytest.fixture(scope="module", params=SAMPLES)
def opened(request):
    return request.param, SAMPLES[request.param], open_app(request.param)


def fresh(app: AppTest) -> AppTest:
    """Take back what an earlier test chose."""
    app.button(key="reset").click().run()
    assert not app.exception
    return app


def test_the_page_opens_and_says_what_to_do(opened):
    sample, _, app = opened
    base, edited = answers(fresh(app))
    np.testing.assert_array_equal(base, edited)
    text = page_text(app)
    assert "Edit off" in text and "Choose a concept" in text and sample in text
    assert not app.warning and not app.info


def test_a_concept_is_switched_off_and_the_base_stays(opened):
    sample, concept, app = opened
    show(fresh(app), concept)
    base, _ = answers(app)
    app.pills(key="concepts").set_value([concept]).run()
    assert not app.exception
    same, edited = answers(app)
    np.testing.assert_array_equal(base, same)
    classes = charts(app)[0]["layout"]["yaxis"]["ticktext"]
    at = next(i for i, name in enumerate(classes) if f"<b>{concept}</b>" in name)
    assert base[at] > 90 and edited[at] < 50 and edited.argmax() != at
    before, after = (np.array(bar["x"]) for bar in charts(app)[1]["data"][:2])
    assert before[at] > 90 and after[at] < 20
    text = page_text(app)
    assert "Edit on" in text and f"{concept} erased, strength 1" in text and "‖ΔW‖/‖W‖" in text
    assert "unchanged" in " ".join(m.value for m in app.markdown)


def test_the_page_shows_what_the_core_computes(opened):
    sample, concept, app = opened
    show(fresh(app), concept, image=2)
    app.pills(key="concepts").set_value([concept]).run()
    app.slider(key="strength").set_value(0.5).run()
    _, shown = answers(app)

    from app.session.visitors import base_of

    base = base_of(sample)
    view = base.atlas.apply(erase={concept: 0.5})
    inputs = base.sample.concepts[concept].probe[1:2]
    expected = base.sample.task.probabilities(view, inputs)[0].double().numpy()
    np.testing.assert_allclose(shown, 100 * expected, atol=1e-4)
    scores = base.sample.task.measure(view, base.sample.concepts).score
    np.testing.assert_allclose(charts(app)[1]["data"][1]["x"], [100 * scores[c] for c in base.facts.classes])


def test_the_control_stands_beside_the_effect(opened):
    _, concept, app = opened
    fresh(app).pills(key="concepts").set_value([concept]).run()
    control = charts(app)[1]["data"][2]
    assert "Control" in control["name"] and np.isfinite(control["x"]).all()


@pytest.mark.parametrize("null", ["from nothing", "in place"])
def test_only_one_is_kept(opened, null):
    _, concept, app = opened
    show(fresh(app), concept)
    app.pills(key="concepts").set_value([concept])
    app.segmented_control(key="mode").set_value("Keep only").run()
    app.segmented_control(key="null").set_value(null).run()
    start = {"from nothing": "from zero weights", "in place": "others subtracted"}[null]
    assert not app.exception and f"{concept} isolated, {start}" in page_text(app)
    assert not np.array_equal(*answers(app))
    before, after = (np.array(bar["x"]) for bar in charts(app)[1]["data"][:2])
    assert after.mean() < before.mean() - 20  # the other nine lose
    titles = page_text(app)
    assert "Isolated" in titles and "Others" in titles


def test_strength_zero_and_reset_are_the_base_exactly(opened):
    _, concept, app = opened
    show(fresh(app), concept)
    app.pills(key="concepts").set_value([concept]).run()
    assert not np.array_equal(*answers(app))
    app.slider(key="strength").set_value(0.0).run()
    np.testing.assert_array_equal(*answers(app))
    assert "Edit off" in page_text(app)
    app.slider(key="strength").set_value(2.0)
    app.segmented_control(key="scaling").set_value("adaptive")
    app.segmented_control(key="power").set_value("2")
    app.toggle(key="clip").set_value(True).run()
    assert not app.exception and not np.array_equal(*answers(app))
    fresh(app)
    np.testing.assert_array_equal(*answers(app))
    assert app.pills(key="concepts").value == [] and app.slider(key="strength").value == 1.0


def test_an_edit_can_be_limited_to_layers(opened):
    _, concept, app = opened
    fresh(app).pills(key="concepts").set_value([concept]).run()
    app.pills(key="layers").set_value(["fc1"]).run()
    assert "in 1 layer ·" in page_text(app)
    fresh(app)


def test_a_random_image_keeps_the_edit(opened):
    _, concept, app = opened
    fresh(app).pills(key="concepts").set_value([concept]).run()
    next(button for button in app.button if button.label == "Random image").click().run()
    assert not app.exception and "Edit on" in page_text(app)


def test_two_visitors_do_not_meet():
    one, two, three = (open_app("digits-mlp") for _ in range(3))
    for app in (one, two, three):
        show(app, "7")
    one.pills(key="concepts").set_value(["7"]).run()
    two.pills(key="concepts").set_value(["3", "5"]).run()
    for app in (one, two, three):  # each is asked again after the others have chosen
        app.number_input(key="image").set_value(2).run()
    (base, seven), (same, others), (again, nothing) = map(answers, (one, two, three))
    np.testing.assert_array_equal(base, same)
    np.testing.assert_array_equal(base, again)
    np.testing.assert_array_equal(base, nothing)
    assert np.abs(seven - others).max() > 1 and np.abs(seven - base).max() > 1

    from app.session.visitors import base_of

    held = base_of("digits-mlp")
    assert ec.model_hash(held.sample.model) == held.digest


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"model": "no-such-model"}, "no model"),
        ({"strength": "1e9"}, "strength"),
        ({"concepts": ["7", "<script>alert(1)</script>"]}, "concepts"),
        ({"class": "x", "image": "-4"}, "image"),
    ],
)
def test_an_address_that_makes_no_sense_is_answered_politely(params, said):
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in (params | {"page": "live"}).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception and not app.error
    assert any(said in note.value for note in app.info)
    # What is good in the address counts, what is not is left out.
    assert ("7 erased, strength 1" if "concepts" in params else "Edit off") in page_text(app)


def test_a_sample_change_starts_afresh():
    app = open_app("digits-mlp")
    app.pills(key="concepts").set_value(["7"]).run()
    app.slider(key="strength").set_value(2.0).run()
    app.selectbox(key="model").set_value("fashion-cnn").run()
    assert not app.exception and "Edit off" in page_text(app)
    np.testing.assert_array_equal(*answers(app))
    app.selectbox(key="model").set_value("digits-mlp").run()
    assert not app.exception and app.slider(key="strength").value == 1.0


def test_what_the_core_refuses_is_shown_as_its_sentence(monkeypatch):
    from app.compute import edited_view

    def refuse(atlas, choice):
        raise ec.errors.DataError("This edit cannot be made: choose another layer.")

    app = open_app("digits-mlp")
    monkeypatch.setattr(edited_view, "edit_of", refuse)
    app.pills(key="concepts").set_value(["7"]).run()
    assert not app.exception and [w.value for w in app.warning] == [
        "This edit cannot be made: choose another layer."
    ]


def test_a_sample_that_cannot_be_loaded_is_tried_again(monkeypatch):
    from app.server import background_load as core_adapter
    from app.server import opened_models

    def broken(name, **_told):
        raise ec.errors.StorageError("model.safetensors is cut short.")

    opened_models.forget_all()
    with monkeypatch.context() as patch:
        patch.setattr(core_adapter, "load_sample", broken)
        app = AppTest.from_file(str(MAIN), default_timeout=600)
        app.query_params["page"] = "live"
        app.run()
        assert not app.exception and [w.value for w in app.warning] == ["model.safetensors is cut short."]
    app.run()
    assert not app.warning and "Edit off" in page_text(app)
