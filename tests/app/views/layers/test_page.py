"""The page of layers shows what the core computes, part by part, and hands a choice of layers to Live."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.figures.words import layers as layers_text
from app.launch import MAIN


def open_page(**values) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    app.query_params["model"] = "digits-mlp"
    app.session_state["_pending"] = ("layers", values)
    app.run()
    assert not app.exception and not app.error
    return app


def charts(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


@pytest.fixture(scope="module")
def base():
    from app.session.visitors import base_of

    return base_of("digits-mlp")


def square(table, column, base):
    wide = table.pivot(index="layer", columns="concept", values=column)
    return wide.loc[list(base.facts.layers), list(base.facts.classes)].to_numpy()


@pytest.mark.parametrize("shade", layers_text.SHADES)
def test_sizes_are_the_energy_of_the_atlas(base, shade):
    shown = np.array(charts(open_page(look="Size", shade=shade))[0]["data"][0]["z"], float)
    expected = square(base.atlas.energy(), "relative", base)
    np.testing.assert_allclose(shown, np.log10(expected) if shade == "logarithmic" else expected, rtol=1e-5)


def test_the_leak_is_the_certificate_of_the_atlas(base):
    shown = np.array(charts(open_page(look="Leak"))[0]["data"][0]["z"], float)
    np.testing.assert_allclose(shown, 100 * square(base.atlas.certificates(), "error", base), atol=1e-6)


def test_directions_show_spectrum_cut_and_exclusivity(base):
    app = open_page(look="Directions", lookat="fc2", which="7")
    spectrum, exclusivity, layers = charts(app)
    found = base.atlas.spectra(["fc2"])
    kept = next(trace for trace in spectrum["data"] if trace["name"].startswith("kept"))
    assert len(kept["y"]) == int(found["kept"].sum())
    cut = next(trace for trace in spectrum["data"] if trace["name"].startswith("the cut"))
    assert cut["y"][0] == pytest.approx(float(base.atlas.spectrum("fc2").threshold[0]))
    mu = ec.exclusivity_table(base.atlas, layers=["fc2"], concepts=["7"])["mu"].to_numpy()
    bars = [y for trace in exclusivity["data"] if trace["type"] == "bar" for y in trace["y"]]
    np.testing.assert_allclose(sorted(bars), sorted(mu[mu > 1e-3]))
    assert len(layers["data"][0]["z"]) == len(base.facts.layers)


def test_the_effect_of_each_layer_is_that_of_the_edit_there(base):
    app = open_page(look="Effect", concepts=["7"])
    figure = charts(app)[0]
    rows = figure["layout"]["yaxis"]["ticktext"]
    assert rows == ["all layers", *base.facts.layers]
    erased = next(trace for trace in figure["data"] if trace["name"] == "erased")
    for row, value in zip(rows, erased["x"], strict=True):
        layers = None if row == "all layers" else [row]
        view = base.atlas.apply(erase="7", layers=layers)
        score = base.sample.task.measure(view, base.sample.concepts, ["7"]).score["7"]
        assert value == pytest.approx(100 * score)
    assert any("random edit" in trace["name"] for trace in figure["data"])


def test_chosen_layers_go_to_live():
    app = open_page(look="Effect", concepts=["7"])
    assert app.button(key="to_live").disabled
    app.multiselect(key="_only 3").set_value(["fc2"]).run()
    app.button(key="to_live").click().run()
    assert not app.exception
    assert app.session_state["layers"] == ["fc2"] and app.session_state["concepts"] == ["7"]
    assert any("in fc2 only" in block.proto.body for block in app.get("html"))


def test_every_layer_is_named_with_its_reason(base):
    app = open_page(look="Coverage")
    table = app.dataframe[0].value
    assert len(table) == len(base.atlas.coverage)
    assert table.loc[~table["covered"], "reason"].str.len().gt(0).all()
    assert set(table.loc[table["covered"], "layer"]) == set(base.facts.layers)


def test_without_a_concept_the_page_says_which_one_it_shows():
    app = open_page(look="Effect")
    assert any("No concept is chosen" in note.value for note in app.info)


def test_nonsense_shows_the_default(base):
    app = open_page(look="Directions", lookat="fc99", which="<b>", by="luck", shade="pink")
    assert app.selectbox(key="lookat").value == base.facts.layers[0]
    assert app.selectbox(key="which").value == base.facts.classes[0]


def test_the_words_of_a_block_are_explained_where_they_stand():
    llama = ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"]
    assert layers_text.say_kinds(llama) == (
        "Inside a block: **q**: query, what a token looks for; **down**: what all units together give back."
    )
    assert layers_text.say_kinds(["q", "down"]) == layers_text.say_kinds(llama)
    assert "**c_proj**" in layers_text.say_kinds(["h.0.attn.c_attn", "attention c_proj"])
    assert layers_text.say_kinds(["fc1", "encoder.down.0", "gate"]) == ""


def test_the_way_a_spectrum_was_found_is_said_in_words():
    table = pd.DataFrame({"eigenvalue": [1.0, 0.0], "kept": [True, False]})
    assert "Solved in the dual form: from the products of the recorded rows" in layers_text.say_spectrum(
        table, 0.1, "dual", 1
    )
