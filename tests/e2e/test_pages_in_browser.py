"""Every page: fits, follows the theme, can be presented; cells and points can be picked."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page
from reading import again, share_link, status, wait_status
from servers import settle

pytestmark = pytest.mark.e2e

PAGES = {
    "start": "",
    "live": "model=digits-mlp&class=7&image=3&concepts=7",
    "criteria": "model=digits-mlp&concepts=7",
    "concept": "model=digits-mlp&concept=7",
    "strength": "model=digits-mlp&tried=true",
    "map": "model=digits-mlp&concepts=7&after=true",
    "layers": "model=digits-mlp&concepts=7",
    "learn": "",
    "model": "",
}

# Elements over the right edge of the page that no box of their own scrolls: they are cut off.
WIDE = """
width => [...document.querySelectorAll('.stMainBlockContainer *')].filter(e => {
  const box = e.getBoundingClientRect();
  if (!box.width || !box.height || box.right <= width + 1 || !e.checkVisibility()) return false;
  if (e.closest('details:not([open]), .stDataFrame')) return false;
  for (let p = e.parentElement; p && !p.matches('.stMainBlockContainer'); p = p.parentElement)
    if (getComputedStyle(p).overflowX !== 'visible') return false;
  return true;
}).slice(0, 5).map(e => e.tagName + '.' + e.className)
"""


def _background(page: Page) -> int:
    colour = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_and_follows_the_theme(opener, name: str):
    page = opener(PAGES[name], page=name)
    assert _background(page) > 600
    assert page.get_by_test_id("stException").count() == 0
    for width, height in ((1024, 768), (768, 1024), (420, 900)):
        page.set_viewport_size({"width": width, "height": height})
        again(page)
        wide = page.evaluate(
            "Math.max(document.documentElement.scrollWidth, document.querySelector('.stMain').scrollWidth)"
        )
        assert wide <= width and page.evaluate(WIDE, width) == []
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "getComputedStyle(document.querySelector('.stApp')).backgroundColor.match(/\\d+/g).slice(0, 3)"
        ".reduce((a, b) => a + +b, 0) < 150"
    )


def test_presenting_makes_it_large_and_folds_side_bar_and_controls(opener):
    page = opener(PAGES["live"])
    size = "parseFloat(getComputedStyle(document.querySelector('.ee-name')).fontSize)"
    before = page.evaluate(size)
    page.get_by_test_id("stSidebar").get_by_text("Presenter mode").click()
    page.wait_for_function(f"{size} > {1.2 * before}")
    settle(page)
    assert "present=true" in page.url and status(page) == "7 erased, strength 1"
    other = opener(share_link(page))
    assert other.evaluate(size) > 1.2 * before
    # The switches stay; the rest of the edit is behind a button, and the figures behind the stage.
    assert other.locator(".st-key-concepts").is_visible()
    assert other.locator(".st-key-edit_popover").is_visible()
    other.locator(".st-key-stage_behind summary").click()
    other.locator(".stPlotlyChart").first.wait_for()
    settle(other)
    wide = other.locator(".stPlotlyChart").first.bounding_box()
    whole = other.locator(".ee-hero").bounding_box()
    assert wide and whole and wide["width"] > 0.9 * whole["width"]
    other.locator(".st-key-inputs_popover button").first.click()
    other.locator(".st-key-thumbnails").get_by_role("radio").nth(4).click()
    other.wait_for_function("document.querySelector('.ee-image').textContent.includes('image 5 of')")
    side = other.get_by_test_id("stSidebar")
    box = side.bounding_box() if side.count() else None
    assert box is None or box["x"] + box["width"] <= 1


@pytest.mark.parametrize("name", ["live", "criteria"])
def test_a_page_opens_at_its_own_path_without_an_error_and_presents_at_once(opener, server, name: str):
    page = opener(f"{server}/{name}?{PAGES[name]}&present=true")
    size = "parseFloat(getComputedStyle(document.querySelector('.stMainBlockContainer p')).fontSize)"
    assert f"/{name}?" in page.url and "present=true" in page.url and page.evaluate(size) > 18
    page.reload()
    settle(page)
    # Whatever the browser's console noted is a fault of the page (see `opener`).
    assert f"/{name}?" in page.url and "present=true" in page.url and page.evaluate(size) > 18


# Where a cell of the heatmap stands on the screen, by the names on its axes.
CELL = """
([column, row]) => {
  const plots = [...document.querySelectorAll('.js-plotly-plot')];
  const plot = plots.find(p => p.data.some(t => t.type === 'heatmap'));
  const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
  return [box.left + xaxis._offset + xaxis.d2p(column), box.top + yaxis._offset + yaxis.d2p(row)];
}
"""


def test_a_cell_opens_its_inputs_and_sends_them_to_live(opener):
    page = opener("model=digits-mlp&criterion=Necessity", page="criteria")
    page.locator(".js-plotly-plot .heatmaplayer").first.wait_for(state="attached")
    page.locator(".js-plotly-plot").first.scroll_into_view_if_needed()
    page.mouse.click(*page.evaluate(CELL, [4, 9]))
    page.wait_for_function("new URLSearchParams(location.search).get('edited') === '4'")
    again(page)
    assert "probed=9" in page.url
    shown = page.locator(".st-key-thumbnails img").first.get_attribute("alt")
    assert shown and shown.startswith("9, image ")
    number = re.search(r"image (\d+), now (\w+)", shown)
    assert number
    page.get_by_role("button", name="Show in Live").click()
    wait_status(page, "4 erased, strength 1")
    assert f"held-out image {number.group(1)} of" in page.locator(".ee-image").inner_text()
    assert page.locator("[data-answer=edited]").inner_text() == number.group(2)
    again(page)


def test_a_lasso_on_the_map_shows_the_inputs_and_sends_one_to_live(opener):
    page = opener("model=digits-mlp&concepts=7", page="map")
    plot = page.locator(".js-plotly-plot").first
    plot.scroll_into_view_if_needed()
    plot.hover()
    plot.locator("[data-attr=dragmode][data-val=lasso]").click()
    box = plot.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    at = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.1, 0.12)]
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in at]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()
    heading = page.get_by_text(re.compile(r"^\d+ inputs selected$"))
    heading.wait_for()
    again(page)
    assert int(heading.inner_text().split()[0]) > 10
    pictures = page.locator("figure img")
    name = pictures.first.get_attribute("alt")
    assert name and pictures.count() == 12
    kind, number = re.findall(r"\d+", name)[:2]
    page.get_by_role("button", name="Open in Live").click()
    wait_status(page, "7 erased, strength 1")
    assert f"held-out image {number} of" in page.locator(".ee-image").inner_text()
    assert f"True class {kind}" in page.locator(".ee-image").inner_text()
    again(page)


# The words of the map (its text alternative), and what Plotly was given to draw.
MAP = """
() => {
  const plot = [...document.querySelectorAll('.js-plotly-plot')].find(p => p.data.some(
    t => t.type.startsWith('scatter') && t.mode?.includes('markers')));
  const dots = plot.data.filter(t => t.mode?.includes('markers'));
  const axes = plot._fullLayout.scene ?? plot._fullLayout;
  return {
    kinds: [...new Set(dots.map(t => t.type))],
    points: dots.flatMap(t => Array.from(t.x, (x, i) => [x, t.y[i], ...(t.z ? [t.z[i]] : [])])),
    axis: axes.xaxis.title.text,
  };
}
"""


@pytest.mark.parametrize(("dimensions", "kind"), [("2-D", "scatter"), ("3-D", "scatter3d")])
def test_umap_is_drawn_when_it_is_ready(opener, dimensions: str, kind: str):
    query = f"model=digits-mlp&concepts=7&dimensions={dimensions}"
    page = opener(query, page="map")
    first = page.evaluate(MAP)
    assert first["axis"].startswith("Component 1" if dimensions == "2-D" else "PC 1")
    page.locator(".st-key-method").get_by_text("UMAP", exact=True).click()
    page.wait_for_function(
        "(m => m.includes('UMAP'))([...document.querySelectorAll('.js-plotly-plot')].map("
        "p => (p._fullLayout?.scene ?? p._fullLayout)?.xaxis?.title?.text ?? '').join())",
        timeout=300_000,  # the first fit compiles
    )
    settle(page)
    text = page.locator(".stMainBlockContainer").inner_text()
    assert "PCA, until UMAP is ready" not in text and "UMAP is on its way" not in text
    drawn = page.evaluate(MAP)
    assert drawn["kinds"] == [kind]
    assert len(drawn["points"]) == len(first["points"]) > 100
    assert all(len(p) == int(dimensions[0]) for p in drawn["points"])
    assert all(c is not None for p in drawn["points"] for c in p) and drawn["points"] != first["points"]
    # An edit moves points on the fitted map and is not a map of its own that is still PCA.
    page.locator(".st-key-after").get_by_text("After edit", exact=True).click()
    page.wait_for_function("new URLSearchParams(location.search).get('after') === 'true'")
    again(page)
    moved = page.evaluate(MAP)
    assert moved["axis"] == drawn["axis"] and len(moved["points"]) == len(drawn["points"])
    assert moved["points"] != drawn["points"]


def test_a_cell_of_the_layers_opens_that_layer(opener):
    page = opener("model=digits-mlp&criterion=Specificity", page="criteria")
    plot = page.locator(".js-plotly-plot").last
    plot.scroll_into_view_if_needed()
    find = CELL.replace("plots.find(", "plots.reverse().find(")
    page.mouse.click(*page.evaluate(find, [4, 1]))
    page.wait_for_function("new URLSearchParams(location.search).get('at') === 'fc2'")
    again(page)
    assert "edited=4" in page.url and "probed=4" in page.url
    assert page.get_by_text("layer fc2").first.is_visible()
    again(page)


def test_long_work_is_stopped_and_gone_on_with(opener):
    page = opener("model=digits-mlp&criterion=Necessity&strength=0.85", page="criteria")
    page.get_by_role("button", name="20 seeds").or_(page.get_by_role("radio", name="20 seeds")).first.click()
    # Streamlit has a button of this name in its own header.
    page.locator("[class*=st-key-stop_] button").click()
    page.get_by_text(re.compile(r"^Stopped at \d+ %")).wait_for()
    settle(page)
    assert page.get_by_text("With 20 seeds").count() == 0
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("With 20 seeds").first.wait_for()
    settle(page)
    assert page.get_by_role("button", name="Go on").count() == 0
    again(page)
