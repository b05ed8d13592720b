"""Every page on every bundled sample: it opens, its address gives it again, and
nonsense is answered politely.
"""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from app.adapter import behind, layer_tables, measures
from app.adapter.base import Loading
from app.launch import MAIN
from app.views import REGISTRY

PAGES = tuple(entry.path for entry in REGISTRY)
CONCEPT = {
    "digits-mlp": "7",
    "fashion-cnn": "Trouser",
    "authors-lm": "Fabrice Pelliningway",
    "facts-lm": "Antigua and Barbuda",
}
# What else a page keeps in the address; a sample of one kind and one of the other.
MORE = {
    "live": {"class": "3", "image": "5", "power": "2"},
    "criteria": {"criterion": "Specificity", "at": "fc2", "edited": "7", "probed": "9"},
    "map": {"points": "Engrams", "dimensions": "3-D", "maplayer": "fc1"},
    "layers": {"look": "Leak"},
}
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module", autouse=True)
def _few():
    """Pages as they are, on fewer concepts and seeds: the numbers are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "SHAMS", 2)
        patch.setattr(measures, "_EDITED", 2)
        patch.setattr(measures, "_PROBED", 4)
        patch.setattr(behind, "_QUESTIONS", 1)
        patch.setattr(layer_tables, "SHAMS", 1)
        yield


def open_page(address: dict) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in address.items():
        app.query_params[key] = value
    app.run()
    return app


def view(app: AppTest) -> tuple[list[str], list[str], list[str]]:
    html = [block.proto.body for block in app.get("html") if "<style" not in block.proto.body]
    figures = [chart.proto.spec for chart in app.get("plotly_chart")]
    return html, figures, [button.label for button in app.button]


def listed(value) -> list[str]:  # noqa: ANN001
    return value if isinstance(value, list) else [value]


def check_again(address: dict) -> AppTest:
    """Open an address, and what the page then writes; both must be the same view."""
    page = address["page"]
    app = open_page(address)
    assert not app.exception and not app.error and not app.warning and not app.info
    written = dict(app.query_params)
    for key in address.keys() - {"page"}:
        assert listed(written[key]) == listed(address[key]), key
    again = open_page(written | {"page": page})
    assert not again.exception
    assert view(again) == view(app) and dict(again.query_params) == written
    return app


@pytest.mark.parametrize(("sample", "page"), [(s, p) for s in CONCEPT for p in PAGES])
def test_every_page_opens_with_an_edit_and_its_address_gives_it_again(sample, page):
    address = {"page": page, "model": sample, "concepts": CONCEPT[sample], "strength": "1.5", "tokens": "3"}
    app = check_again(address)
    assert app.selectbox(key="model").value == sample
    assert any("####" in text.value for text in app.markdown)


@pytest.mark.parametrize("page", MORE)
def test_what_a_page_keeps_beside_the_edit_is_in_its_address(page):
    address = {"page": page, "model": "digits-mlp", "concepts": ["3", "7"], "mode": "Keep only"}
    check_again(address | MORE[page])


NONSENSE = {
    "unknown model": ({"model": "no-such-model"}, ("no-such-model",)),
    "numbers out of all bounds": (
        {"strength": "1e9", "image": "-1", "seed": "-1", "tokens": "100000", "temperature": "-3"},
        ("strength", "1e9"),
    ),
    "numbers that are none": ({"strength": "nan", "alpha.7": "inf", "own": "true"}, ("strength", "nan")),
    "numbers without end": (
        {"image": "1" + "0" * 400, "seed": "9" * 5000, "strength": "1e999", "step": "9" * 400},
        ("strength", "1e999"),
    ),
    "script in every name": (
        {
            key: EVIL
            for key in (
                "mode", "null", "own", "scaling", "power", "clip", "layers", "class", "about", "section",
                "criterion", "at", "order", "state", "edited", "probed", "points", "method", "dimensions",
                "colour", "maplayer", "noarrows", "after", "fit", "look", "lookat", "which", "by", "shade",
                "drawn", "control", "shown", "chat", "alpha." + EVIL,
            )
        },
        ("mode", "layers", "criterion", "points", "look"),
    ),
    "two hundred kilobytes": ({"concepts": ["7", *(f"x{i}" * 50 for i in range(900))]}, ("concepts",)),
    "more than Streamlit reads": ({"layers": ["fc1"] * 3000}, ()),
    "layers of another model": ({"layers": ["blocks.0.mlp.up", "fc2"]}, ("layers", "blocks.0.mlp.up")),
    "a step that is not there": ({"step": "99", "shown": "true"}, ()),
    "strengths of nobody": ({f"alpha.n{i}": "1" for i in range(800)}, ("alpha", "names no concept")),
    "a drawing of garbage": ({"drawn": "é\n!" * 400}, ()),
    "control characters": ({"prompt": "\x00\x01\x1b[31m\u202e\ufffd", "class": "\x00"}, ()),
    "an endless prompt": ({"prompt": "word " * 20_000, "about": "word " * 9000}, ()),
    "an unknown page": ({"page": "admin"}, ()),
    "Markdown": ({"concepts": ["7", "![x](//evil.example/x)"]}, ("concepts",)),
}  # fmt: skip


@pytest.mark.parametrize(("page", "case"), [(p, c) for p in PAGES for c in NONSENSE])
def test_nonsense_in_an_address_is_answered_politely(page, case):
    wrong, said = NONSENSE[case]
    app = open_page({"page": page, "model": "digits-mlp", "concepts": "7"} | wrong)
    assert not app.exception and not app.error and not app.warning
    notes = " ".join(note.value for note in app.info)
    assert len(notes) < 4000 and "![x](" not in notes
    if page not in ("learn", "model") or case == "unknown model":
        for word in said:
            assert word in notes
    if case not in ("more than Streamlit reads",):
        assert listed(app.query_params["concepts"])[0] == "7"
    # Written as text everywhere: what came as HTML is HTML nowhere.
    html = [block.proto.body for block in app.get("html") if "<style" not in block.proto.body]
    assert not any("<script>" in text for text in [*html, *view(app)[1]])
    written = " ".join(text for value in app.query_params.values() for text in listed(value))
    if page not in ("start", "learn", "model"):
        assert len(re.findall("[^a]", written)) < 60_000


def test_the_choice_that_makes_sense_stays_in_force():
    app = open_page(
        {"page": "live", "model": "digits-mlp", "concepts": ["7", EVIL], "strength": "0.5", "power": "99",
         "class": "3", "image": "900"}
    )  # fmt: skip
    assert not app.exception
    html = " ".join(view(app)[0])
    assert "7 off, strength 0.5" in html and "held-out image 1 of" in html
    assert app.pills(key="class").value == "3" and app.number_input(key="image").value == 1


def test_an_own_model_that_was_let_go_is_named_on_whatever_page_is_open():
    from app import session

    app = open_page({"page": "live", "model": "digits-mlp", "concepts": "7"})
    session.own_model("mine-abc123", lambda: Loading.of_sample("digits-mlp"))
    try:
        app.run().selectbox(key="model").set_value("mine-abc123").run()
        app.pills(key="concepts").set_value(["7"]).run()
        assert not app.exception and not app.info
        for number in range(4):  # four newer ones
            session.own_model(f"other-{number}", lambda: pytest.fail("nobody asks for it"))
        app.run()
        assert not app.exception and "mine-abc123" in app.info[0].value
        assert app.selectbox(key="model").value == "digits-mlp"
        app.segmented_control(key="mode").set_value("Keep only").run()
        assert not app.exception and "Only 7 kept" in " ".join(view(app)[0])
    finally:
        session._own.clear()
