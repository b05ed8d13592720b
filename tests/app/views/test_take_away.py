"""Every figure, table and panel, on every page, can be taken away and says in words what it shows."""

from __future__ import annotations

import re

import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from app.compute import by_layer as layer_tables
from app.compute import criteria as measures
from app.compute import maps
from app.figures.panels.hero import text_hero
from app.figures.words.continuations import say_texts
from app.figures.words.criteria import NAMES
from app.figures.words.layers import LOOKS
from app.launch import MAIN
from app.page import report
from app.views.live.inside import SECTIONS
from app.views.maps import engrams as map_engrams
from app.views.maps import page as map_page
from app.views.maps import picked as map_picked

AUTHOR = "Fabrice Pelliningway"
VIEWS = [
    {"page": "start"},
    {"page": "live"},
    *({"page": "criteria", "criterion": name} for name in NAMES),
    *({"page": "map", "points": points} for points in map_page.POINTS),
    *({"page": "layers", "look": look} for look in LOOKS),
]
IMAGES = [{"model": "digits-mlp", "concepts": "7"} | view for view in VIEWS]
TEXTS = [
    {"model": "authors-lm", "concepts": AUTHOR, "tokens": "3"} | view
    for view in (
        VIEWS[0], *({"page": "live", "section": section} for section in SECTIONS[:4]),
        {"page": "criteria", "criterion": "Necessity"},
    )
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _few():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "SHAMS", 2)
        patch.setattr(measures, "_EDITED", 1)
        patch.setattr(measures, "_PROBED", 2)
        patch.setattr(layer_tables, "SHAMS", 2)
        patch.setattr(maps, "warm", lambda: None)
        patch.setattr(map_engrams, "picked_of", lambda event, concepts: (0, 3))
        patch.setattr(map_picked, "picked_of", lambda event, concepts: (0, 40))
        yield


def open_page(address: dict) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in address.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception and not app.warning
    return app


def offered(app: AppTest) -> list[str]:
    return [
        button.key.removeprefix("html_")
        for button in app.get("download_button")
        if button.key.startswith("html_")
    ]


@pytest.mark.parametrize("address", IMAGES + TEXTS, ids=lambda a: " ".join(a.values())[:48])
def test_everything_that_shows_numbers_can_be_taken_away(address):
    app = open_page(address)
    charts = app.get("plotly_chart")
    blocks = [block.proto.body for block in app.get("html") if "<style" not in block.proto.body]
    blocks = [body for body in blocks if "ee-card" not in body]  # the picture of a sample shows no numbers
    drawn = [body for body in blocks if "ee-stats" not in body]
    keys = offered(app)
    # One for each that stands on the page; picked texts, which stand in a list, have one too.
    listed = address["page"] == "map" and "Inputs" in address["points"] and not drawn
    assert len(keys) == len(charts) + len(app.dataframe) + len(drawn) + listed, keys
    assert len(set(keys)) == len(keys)
    items = {key: item for (_, key), item in app.session_state["_items"].items()}
    for key in keys:
        item = items[key]
        assert item.table is not None and len(item.table) and item.code and item.how
        assert item.figure is not None or item.html or key in (
            "behind", "questions", "rest", "coverage", "picked_engrams", "picked"
        )  # fmt: skip
    for body in blocks:  # what stands as HTML on the page goes into the file as it stands
        assert any(item.html == body for item in items.values()), body[:80]
    assert all(chart.proto.alt for chart in charts)


def test_a_panel_looks_in_its_file_as_on_the_page():
    app = open_page({"model": "digits-mlp", "page": "live", "concepts": "7"})
    item = app.session_state["_items"]["live", "panel"]
    for page in (report.figure_page(item), report.report_page([item], title="t", link="l")):
        assert item.html in page and "--ee-base:" in page and ".ee-hero {" in page and ".ee-fill {" in page
        assert not re.search(r'(?:src|href)="(?!data:)', re.sub("(?s)<script>.*?</script>", "", page))
    said = [popover for popover in app.get("popover") if popover.proto.popover.label == "How to read this"]
    assert len(said) == 5 and "likeliest class" in item.how


def test_a_figure_takes_along_what_stands_above_it():
    item = report.Item(
        "live", "t", "h", "w", "s", {}, "code", pd.DataFrame({"a": [1]}), go.Figure(), "<b>above</b>"
    )
    page = report.figure_page(item)
    assert page.index("<b>above</b>") < page.index("plotly-graph-div")


def hero(base: str, edited: str, *, done: bool = True) -> str:
    return text_hero("P", base, edited, answer="", done=done, status="s", on=True, facts="f")


@pytest.mark.parametrize(
    ("base", "edited", "marked", "said"),
    [
        (" born in Rome.", " born in Rome.", [], "the same words"),
        (" born in Rome.", " born in Oslo.", ["Oslo"], "at word 3: 1 of the edited model's 3 words differs"),
        (" a b c d", " a x y d", ["x y"], "part at word 2: 2 of the edited model's 4 words differ"),
        (" a b c", " a new b c", ["new"], "part at word 2"),
        (" Rome", " Oslo <b>", ["Oslo &lt;b&gt;"], "no word in common"),
        (" a b c", " a b", [], "leaves out 1 of the base's 3 words"),
        ("", "", [], "Neither model adds a word"),
        (" baker.........", " baker.s a a", [".s a a"], "at word 2: 3 of the edited model's 4 words differ"),
        (" Rome, Italy", " Rome Italy.", ["."], "only other signs stand between them"),
        (" Rome", "", [], "The edited model adds no word"),
    ],
)  # fmt: skip
def test_only_the_words_that_differ_are_marked(base, edited, marked, said):
    html = hero(base, edited)
    assert re.findall('<mark class="ee-diff">(.*?)</mark>', html) == marked
    assert said in say_texts(base, edited) and "data-agree" in html


def test_a_word_that_is_still_being_written_is_not_marked():
    assert "<mark" not in hero(" born in Ro", " born in Rom", done=False)
    assert re.findall("<mark[^>]*>(.*?)</mark>", hero(" on a hill", " in a vil", done=False)) == ["in"]


@pytest.mark.parametrize("model", ["digits-mlp", "authors-lm"])
def test_presenting_folds_the_controls_and_leaves_the_width_to_the_figures(model):
    app = open_page({"model": model, "page": "live", "tokens": "3"})
    assert any(column.get("plotly_chart") for column in app.columns)
    keys = [popover.proto.popover.label for popover in app.get("popover")]
    assert "Edit details" not in keys
    app.toggle(key="present").set_value(True).run()
    assert not app.exception
    labels = [popover.proto.popover.label for popover in app.get("popover")]
    assert "Edit details" in labels
    assert "Image" in labels or "Prompt" in labels
    inside = [popover for popover in app.get("popover") if popover.proto.popover.label == "Edit details"][0]
    assert any(control.key == "scaling" for control in inside.get("button_group"))
    # The switches stay on the stage; the figures are drawn once somebody opens what is behind it.
    assert not any(slider.key == "strength" for slider in inside.get("slider"))
    assert app.slider(key="strength").value and not app.get("plotly_chart")
