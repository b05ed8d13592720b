"""In a browser: one selected concept on every page, letters that can be read, and a map that moves."""

from __future__ import annotations

import re

import pytest
from reading import again
from servers import settle
from test_pages_in_browser import CELL

from app.figures.charts.contrast import contrast
from app.figures.charts.palette import SELECTED

pytestmark = pytest.mark.e2e

# Every letter that is written in the first matrix: its colour, and the colour that is painted below it.
LETTERS = """
async () => {
  const plots = [...document.querySelectorAll('.js-plotly-plot')];
  const plot = plots.find(p => p.data.some(t => t.type === 'heatmap'));
  const pictures = [...plot.querySelectorAll('.heatmaplayer image')];
  const painted = [];
  for (const one of pictures) {
    const image = new Image();
    image.src = one.getAttribute('xlink:href') || one.href.baseVal;
    await image.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.width, image.height];
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    painted.push([one.getBoundingClientRect(), context, image]);
  }
  return [...plot.querySelectorAll('.heatmap-label text')].filter(t => t.textContent.trim()).map(t => {
    const box = t.getBoundingClientRect(), x = box.left - 3, y = box.top + box.height / 2;
    let behind = null;
    for (const [area, context, image] of painted) {
      if (x < area.left || x > area.right || y < area.top || y > area.bottom) continue;
      const at = [(x - area.left) / area.width * image.width, (y - area.top) / area.height * image.height];
      const pixel = [...context.getImageData(Math.floor(at[0]), Math.floor(at[1]), 1, 1).data];
      if (pixel[3] === 255) behind = pixel.slice(0, 3);
    }
    return [t.textContent, getComputedStyle(t).fill, behind];
  });
}
"""
OUTLINES = """
colour => [...document.querySelectorAll('.js-plotly-plot .shapelayer path')].filter(
  p => p.style.stroke.replaceAll(' ', '') === colour).length
"""


def _rgb(hexadecimal: str) -> str:
    return f"rgb({','.join(str(int(hexadecimal[i : i + 2], 16)) for i in (1, 3, 5))})"


def test_what_is_selected_in_a_matrix_is_highlighted_everywhere_and_opens_its_page(opener):
    page = opener("model=digits-mlp&criterion=Necessity", page="criteria")
    page.locator(".js-plotly-plot .heatmaplayer").first.wait_for(state="attached")
    page.locator(".js-plotly-plot").first.scroll_into_view_if_needed()
    page.mouse.click(*page.evaluate(CELL, [4, 9]))
    # By its role: Streamlit draws a second, hidden button to measure the first.
    chip = page.get_by_role("button", name="Selected: 4")
    chip.wait_for()
    again(page)
    assert "concept=4" in page.url and page.evaluate(OUTLINES, _rgb(SELECTED)) >= 2
    page.get_by_role("link", name="Map", exact=True).click()
    page.wait_for_url(re.compile(r"/map\?"))
    settle(page)
    assert "concept=4" in page.url and chip.is_visible()
    assert page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].some(p => p.data.some("
        "t => t.name === 'selected' && t.x.length > 10))"
    )
    chip.click()
    page.wait_for_url(re.compile(r"/concept\?"))
    settle(page)
    text = page.locator(".stMainBlockContainer").inner_text()
    for heading in ("Who is damaged", "Nearest engrams", "The four criteria", "Strength curve", "What flips"):
        assert heading in text
    assert re.search(r"“4” erased: its own score goes from [\d.]+% to [\d.]+%", text)
    page.get_by_role("link", name="Layers", exact=True).click()
    page.wait_for_url(re.compile(r"/layers\?"))
    settle(page)
    page.get_by_role("button", name="✕").click()
    page.wait_for_function("!new URLSearchParams(location.search).has('concept')")
    again(page)
    assert page.locator(".st-key-selected_clear").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_letter_on_a_cell_can_be_read(opener, scheme: str):
    page = opener("model=digits-mlp&criterion=Necessity", page="criteria", scheme=scheme)
    page.locator(".js-plotly-plot .heatmap-label text").first.wait_for(state="attached")
    found = page.evaluate(LETTERS)
    assert len(found) == 110  # ten by ten, and the base's column
    for text, colour, behind in found:
        assert behind is not None, text
        assert contrast(colour, f"rgb({','.join(map(str, behind))})") >= 4.5, text


def test_points_travel_and_their_pictures_follow_the_mouse(opener):
    page = opener("model=digits-mlp&concepts=7", page="map")
    plot = page.locator(".st-key-map_plot .js-plotly-plot")
    plot.scroll_into_view_if_needed()
    # Where the erased points are drawn, frame by frame.
    page.evaluate(
        """() => {
          window.seen = [];
          const look = () => {
            const plot = document.querySelector('.st-key-map_plot .js-plotly-plot');
            const erased = [...plot?.querySelectorAll('.scatterlayer .trace') ?? []].find(
              t => t.__data__?.[0]?.trace?.name === 'erased');
            const box = erased?.querySelector('.point')?.getBoundingClientRect();
            if (box) window.seen.push(`${box.x.toFixed(1)} ${box.y.toFixed(1)}`);
            if (window.seen.length < 2000) requestAnimationFrame(look);
          };
          look();
        }"""
    )
    page.locator(".st-key-after").get_by_text("After edit", exact=True).click()
    page.wait_for_function("new URLSearchParams(location.search).get('after') === 'true'")
    settle(page)
    page.wait_for_timeout(900)
    assert page.evaluate("new Set(window.seen).size") > 4  # here, there, and places between
    place = page.evaluate(
        """() => {
          const plot = document.querySelector('.st-key-map_plot .js-plotly-plot');
          const box = plot.querySelector('.scatterlayer .point').getBoundingClientRect();
          return [box.left + box.width / 2, box.top + box.height / 2];
        }"""
    )
    page.mouse.move(place[0] + 30, place[1] + 30)
    page.mouse.move(*place, steps=5)
    picture = page.locator(".ee-hover")
    picture.wait_for(state="visible")
    number = int(picture.get_attribute("data-number") or -1)
    shown = page.evaluate(
        "document.querySelector('.st-key-map_plot .js-plotly-plot')._hoverdata[0].customdata[0]"
    )
    assert number == shown >= 0 and "data:image/png" in picture.evaluate("e => e.style.backgroundImage")
    page.mouse.move(5, 5)
    picture.wait_for(state="hidden")
