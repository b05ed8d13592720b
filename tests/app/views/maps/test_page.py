"""The map page, driven as Streamlit drives it, against the core called directly."""

from __future__ import annotations

import json

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.compute import maps
from app.figures.charts.clicks import picked_points
from app.figures.charts.palette import BASE, EDITED, ERASED
from app.figures.charts.scatter import Cloud, marks_of, scatter
from app.launch import MAIN
from app.views.maps import roles

SAMPLE = "digits-mlp"


@pytest.fixture(autouse=True)
def _no_compiling(monkeypatch):
    """What compiles in the background would take the processor from the tests that draw with PCA."""
    monkeypatch.setattr(maps, "warm", lambda: None)


def open_map(sample: str = SAMPLE, **params) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=300)
    for key, value in ({"page": "map", "model": sample} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def charts(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def places(chart: dict) -> np.ndarray:
    """Return the points of a map in the order of their numbers."""
    found = {}
    for trace in chart["data"]:
        if "customdata" not in trace:
            continue
        axes = [decoded(trace[axis]) for axis in "xyz" if axis in trace]
        for number, *point in zip(trace["customdata"], *axes, strict=True):
            found[int(number[0])] = point
    return np.array([found[i] for i in sorted(found)])


def decoded(values) -> list[float]:
    if isinstance(values, dict):
        import base64

        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return values


@pytest.fixture(scope="module")
def core():
    sample = ec.load_sample(SAMPLE)
    atlas = ec.extract(sample.model, ec.record(sample.model, sample.concepts))
    return sample, atlas, ec.draw_inputs(sample)


def test_the_map_is_the_cores_and_a_toggle_moves_points_and_not_the_map(core):
    sample, atlas, inputs = core
    app = open_map(concepts=["7"])
    before, after = (
        ec.trace_strengths(m, atlas, inputs).matrix for m in (sample.model, atlas.apply(erase="7"))
    )
    expected = ec.joint_projection(before, after)
    chart = charts(app)[0]
    np.testing.assert_allclose(places(chart), expected.base.coordinates, atol=1e-4)
    assert len(chart["layout"]["annotations"]) == 40
    app.toggle(key="after").set_value(True).run()
    assert not app.exception
    moved = charts(app)[0]
    np.testing.assert_allclose(places(moved), expected.edited, atol=1e-4)
    for axis in ("xaxis", "yaxis"):
        assert moved["layout"][axis]["range"] == chart["layout"][axis]["range"]
    app.toggle(key="_arrows").set_value(False).run()
    assert "annotations" not in charts(app)[0]["layout"]
    said = " ".join(caption.value for caption in app.caption)
    assert "moves the inputs of 7 most" in said and "all 359 held-out images" in said


def test_hidden_states_in_three_dimensions_on_a_map_of_the_base(core):
    sample, atlas, inputs = core
    layer = atlas.layers[1]
    app = open_map(
        points="Inputs by hidden state", maplayer=layer, dimensions="3-D", fit="base alone", concepts=["7"]
    )
    expected = ec.project(ec.hidden_states(sample.model, atlas, inputs, layer).matrix, dimensions=3)
    np.testing.assert_allclose(places(charts(app)[0]), expected.coordinates, atol=1e-3)


@pytest.mark.parametrize("colour", ["Answer", "Specificity", "Held-out score"])
def test_every_colour(core, colour):
    app = open_map(colour=colour, concepts=["7"], after="true")
    data = [trace for trace in charts(app)[0]["data"] if "customdata" in trace]
    if colour == "Answer":
        assert {trace["name"] for trace in data} <= set(core[0].concepts) and len(data) > 5
    else:
        assert len(data) == 1 and data[0]["marker"]["colorbar"]["title"]["text"]


def test_engrams_as_map_and_matrix(core):
    app = open_map(points="Engrams")
    point, matrix = charts(app)
    found = ec.engram_cosines(core[1])
    drawn = np.array([decoded(row) for row in matrix["data"][0]["z"]], float)
    np.testing.assert_allclose(drawn, found.cosines, atol=1e-5)
    np.testing.assert_allclose(places(point), ec.project(found.matrix).coordinates, atol=1e-4)


@pytest.mark.parametrize("points", ["Inputs by traces", "Inputs by hidden state", "Engrams"])
def test_the_python_on_offer_gives_the_numbers_on_offer(points):
    app = open_map(points=points, concepts=["7"])
    items = [item for (page, _), item in app.session_state["_items"].items() if page == "map"]
    assert items
    for item in items:
        scope: dict = {}
        exec(item.code, scope)
        columns = [c for c in scope["table"].select_dtypes("number") if c in item.table]
        assert columns
        np.testing.assert_allclose(
            scope["table"][columns].to_numpy(), item.table[columns].to_numpy(), rtol=1e-3, atol=1e-4
        )


def test_an_address_that_names_nonsense_shows_the_plain_map():
    app = open_map(
        points="<script>", method="t-SNE", dimensions="9", colour="x", maplayer="nowhere", fit="none",
        concepts=["<b>no</b>"],
    )  # fmt: skip
    assert len(places(charts(app)[0])) == 359 and not app.warning


def test_what_was_picked_is_shown_and_goes_to_live(core, monkeypatch):
    from app.views.maps import roles as view

    monkeypatch.setattr(view, "picked_points", lambda event: (0, 40))
    app = open_map(concepts=["7"])
    said = " ".join(m.value for m in app.markdown)
    assert "2 inputs selected" in said
    inputs = core[2]
    app.selectbox(key="_map_input").set_value(40).run()
    app.button(key="_map_live").click().run()
    assert not app.exception
    assert (
        app.session_state["class"] == inputs.concept[40] and app.session_state["image"] == inputs.number[40]
    )
    assert list(app.session_state["concepts"]) == ["7"]
    assert any("Erase a concept" in m.value for m in app.markdown)


def test_a_selection_is_read_whatever_form_streamlit_gives_it():
    event = {
        "selection": {"points": [{"customdata": [3]}, {"customdata": {"0": 5}}, {"customdata": [3]}, {}]}
    }
    assert picked_points(event) == (3, 5)
    assert picked_points(None) == picked_points({"selection": {"points": []}}) == ()


def test_names_cannot_bring_markup_into_a_figure():
    cloud = Cloud(
        points=np.zeros((1, 2)), hover=["x"], categories=["<b>a</b>"], order=["<b>a</b>"], values=None,
        value_name="", start=None, end=None, arrows=np.array([], int), axes=["a", "b"],
    )  # fmt: skip
    assert "<b>" not in scatter(cloud).to_json().replace("\\u003c", "<")


@pytest.mark.parametrize("sample", ["fashion-cnn", "authors-lm"])
def test_other_samples(sample):
    app = open_map(sample)
    assert len(places(charts(app)[0])) > 200 and not app.warning


def test_erased_is_orange_its_neighbours_blue_and_the_rest_grey(core):
    app = open_map(concepts=["7"])
    found = ec.engram_cosines(core[1]).table()
    mine = found[(found["concept"] == "7") & (found["other"] != "7")].sort_values("cosine", ascending=False)
    near = mine["other"].tolist()[:3]
    traces = {t["name"]: t for t in charts(app)[0]["data"] if "customdata" in t}
    assert {name: t["marker"]["color"] for name, t in traces.items()} == {
        "the rest": BASE, "neighbours": EDITED, "erased": ERASED,
    }  # fmt: skip
    concepts = core[2].concept
    for name, wanted in (("erased", {"7"}), ("neighbours", set(near))):
        assert {concepts[i] for (i,) in traces[name]["customdata"]} == wanted
    said = " ".join(caption.value for caption in app.caption)
    assert f"Neighbours are the 3 engrams nearest to that of 7: {', '.join(near)}." in said
    assert app.selectbox(key="colour").value == roles.ROLES
    # It follows the edit until something else is chosen.
    app.pills(key="concepts").set_value([]).run()
    assert app.selectbox(key="colour").value == "Concept"
    app.selectbox(key="colour").set_value("Answer").run()
    app.pills(key="concepts").set_value(["3"]).run()
    assert not app.exception and app.selectbox(key="colour").value == "Answer"


def test_names_stand_at_the_centres_and_the_selected_concept_is_ringed(core):
    app = open_map(concept="4")
    data = charts(app)[0]["data"]
    inputs, points = core[2], places(charts(app)[0])
    of = np.array(inputs.concept, object)
    names = next(t for t in data if t.get("mode") == "text")
    assert [text.strip("<b>/") for text in names["text"]] == list(core[0].concepts)
    middle = [np.median(points[of == name], axis=0) for name in core[0].concepts]
    np.testing.assert_allclose(np.transpose([names["x"], names["y"]]), middle, atol=1e-4)
    ring = next(t for t in data if t["name"] == "selected")
    np.testing.assert_allclose(np.transpose([ring["x"], ring["y"]]), points[of == "4"], atol=1e-4)
    assert not any(t.get("name") == "selected" for t in charts(open_map())[0]["data"])
    app.selectbox(key="concept").set_value("5").run()
    assert not app.exception and app.button(key="selected_open").label == "Selected: **5**"


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("count", [1, 8, 24, 42, 43, 1000])
def test_no_two_categories_share_their_mark_but_where_all_are_grey(count, deep):
    names = [f"c{i}" for i in range(count)]
    marks = marks_of(names, deep=deep)
    assert set(marks) == set(names)
    if count <= 42:
        assert len(set(marks.values())) == count
    else:
        assert set(marks.values()) == {(BASE, "circle")}


def test_every_point_has_its_picture_for_the_mouse(core):
    from app.choice.picture import Picture
    from app.compute.images import pixels
    from app.session.visitors import base_of

    base, inputs = base_of(SAMPLE), core[2]
    sprite = maps.sprite_of(base, inputs)
    assert sprite.count == len(inputs) and sprite.shape == (8, 8)
    for place in (0, 17, len(inputs) - 1):
        row, column = divmod(place, sprite.columns)
        part = sprite.pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        np.testing.assert_allclose(part, pixels(base, Picture(inputs.concept[place], inputs.number[place])))


def test_neighbours_are_nearest_to_some_erased_one_and_never_erased_themselves():
    cosines = np.array([[1, 0.9, 0.1, 0.5], [0.9, 1, 0.2, 0.3], [0.1, 0.2, 1, 0.8], [0.5, 0.3, 0.8, 1]])
    found = ec.EngramCosines(cosines, np.ones(4), ("a", "b", "c", "d"), ("fc1",))
    assert maps.neighbours(found, ("a",), 2) == ("b", "d")
    assert maps.neighbours(found, ("a", "b"), 1) == ("d",)
    assert maps.neighbours(found, ("a", "b", "c", "d"), 1) == ()
