"""Figures of the language page draw what their tables say, and let no text become markup."""

import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from app.figures.charts.next_token import next_token_figure
from app.figures.charts.palette import GAIN, LOSS
from app.figures.charts.token_heatmaps import layer_token_heatmap, module_heatmap
from app.figures.panels.token_strip import token_strip_html
from app.figures.words.tokens import HOW_TOKENS, say_map, say_modules, say_next, say_tokens

TOKENS = ["The", " <script>", "\n", ' "Pa&', "ris"]
CHANGES = [np.nan, -4.0, 0.0, 2.0, -1.0]
STRIP = pd.DataFrame({"token": TOKENS, "before": -1.0, "after": np.array(CHANGES) - 1, "change": CHANGES})
NEXT = pd.DataFrame(
    {
        "id": [1, 2, 3], "token": [" Paris", "<b>", " the"], "before": [0.7, 0.2, 0.01],
        "after": [0.001, 0.25, 0.5], "rank_before": [1, 2, 9], "rank_after": [1500, 2, 1],
    }
)  # fmt: skip


def layers() -> pd.DataFrame:
    return pd.DataFrame(
        [
            (f"model.layers.{block}.{module}", block, module, place, token, 0.1 * place + block)
            for block in (0, 1)
            for module in ("q", "down")
            for place, token in enumerate(["a", " b", "a"])
        ],
        columns=["layer", "block", "module", "position", "token", "ratio"],
    )


class Spans(HTMLParser):
    """Every span with a title: its attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[dict, str]] = []
        self.tags: set[str] = set()
        self.open: dict | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.open = dict(attrs) if tag == "span" and "title" in dict(attrs) else None
        if self.open is not None:
            self.found.append((self.open, ""))

    def handle_data(self, data):
        if self.open is not None:
            self.found[-1] = (self.found[-1][0], self.found[-1][1] + data)

    def handle_endtag(self, tag):
        self.open = None


def test_the_strip_holds_every_token_as_text_with_its_change_and_colour():
    spans = Spans(token_strip_html(STRIP))
    assert spans.tags == {"div", "span"}
    assert "".join(text for _, text in spans.found).replace("↵", "") == "".join(TOKENS)
    first, fall, none, rise, small = (attributes for attributes, _ in spans.found)
    assert "style" not in first
    assert "−4.00 nats" in fall["title"] and "36.79 %" in fall["title"] and "<script>" in fall["title"]
    assert f"var(--ee-loss, {LOSS}) 60%" in fall["style"] and "solid" in fall["style"]
    assert f"var(--ee-edited, {GAIN}) 30%" in rise["style"] and "dotted" in rise["style"]
    assert " 15%" in small["style"]
    assert " 0%" in none["style"] and "border-bottom" not in none["style"]


def test_the_strip_says_itself_and_shares_a_scale_if_asked():
    page = token_strip_html(STRIP, reach=8.0, label="Probe")
    said = unescape(re.search('aria-label="([^"]*)"', page)[1])
    assert said == f"Probe: {say_tokens(STRIP)}"
    assert "largest fall “<script>”, −4.00" in said and 'largest rise “"Pa&”, +2.00' in said
    assert " 30%" in Spans(page).found[1][0]["style"] and "+8.00 nats" in page
    alone = STRIP.iloc[:1]
    assert "none has others before it" in say_tokens(alone) and "The" in token_strip_html(alone)


def test_next_tokens_are_bars_with_ranks_and_plain_labels():
    figure = next_token_figure(NEXT)
    base, edited = figure.data
    np.testing.assert_allclose(base.x, [70, 20, 1])
    np.testing.assert_allclose(edited.x, [0.1, 25, 50])
    assert [list(c)[1] for c in edited.customdata] == [1500, 2, 1]
    assert list(figure.layout.yaxis.ticktext) == ["\u00a0Paris", "&lt;b>", "\u00a0the"]
    assert figure.layout.xaxis.range[1] > 70 and figure.layout.xaxis.title.text == "Probability (%)"
    assert say_next(NEXT) == (
        "The likeliest next token changes from “Paris” to “the”. “Paris”: 70.0% before, 0.1% after, "
        "now rank 1,500."
    )


def test_the_map_keeps_positions_apart_and_layers_in_order():
    table = layers()
    figure = layer_token_heatmap(table)
    heat = figure.data[0]  # what lies over it are the letters
    assert np.array(heat.z, float).shape == (4, 3)
    assert heat.z[2][1] == pytest.approx(1.1)
    assert list(figure.layout.yaxis.ticktext) == list(dict.fromkeys(table["layer"]))
    assert list(figure.layout.xaxis.ticktext) == ["a", "\u00a0b", "a"]
    blocks = layer_token_heatmap(table, rows="block").data[0]
    np.testing.assert_allclose(np.array(blocks.z, float), [[0, 0.1, 0.2], [1, 1.1, 1.2]])
    assert say_map(table).startswith("Strongest in model.layers.1.q at “a”: 1.20.")


def test_a_cell_without_rows_is_empty_and_changes_have_two_hues():
    table = layers().drop(index=1).rename(columns={"ratio": "change"})
    table.loc[0, "change"] = -3.0
    heat = layer_token_heatmap(table, value="change").data[0]
    assert heat.z[0][1] is None and heat.z[0][0] == -3.0
    assert (heat.zmin, heat.zmax) == (-3.0, 3.0)
    assert heat.colorscale[0][1].upper() == LOSS and heat.colorscale[-1][1].upper() == GAIN


def test_modules_by_block_leave_out_what_is_in_no_block():
    table = layers().drop_duplicates("layer").rename(columns={"ratio": "relative"})
    head = pd.DataFrame([("lm_head", pd.NA, "lm_head", 0, "", 5.0)], columns=table.columns)
    figure = module_heatmap(pd.concat([table, head], ignore_index=True))
    assert list(figure.layout.yaxis.ticktext) == ["q", "down"]
    np.testing.assert_allclose(np.array(figure.data[0].z, float), [[0, 1], [0, 1]])
    assert figure.layout.xaxis.title.text == "Block" and figure.data[0].colorbar.title.text == "‖E‖ / ‖W‖"
    assert "Largest in model.layers.1.q: 1.00" in say_modules(table)


def test_every_figure_says_how_to_read_it():
    assert set(HOW_TOKENS) == {"strip", "next", "map", "modules"}
    assert all(text.startswith("**How to read this.**") for text in HOW_TOKENS.values())
