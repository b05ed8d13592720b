"""What a visitor means is what happens: one name typed is one concept, and a click on a point opens it."""

from __future__ import annotations

import re

import pytest
from reading import again, wait_status

pytestmark = pytest.mark.e2e

# Where a point of a map stands on the screen, and which concept its hover text names.
POINT = """
number => {
  const plot = [...document.querySelectorAll('.js-plotly-plot')].find(p => p.data.some(
    t => t.type === 'scatter' && t.mode?.includes('markers')));
  const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
  const trace = plot.data.filter(t => t.mode?.includes('markers')).at(-1), at = number % trace.x.length;
  return {
    x: box.left + xaxis._offset + xaxis.d2p(trace.x[at]), y: box.top + yaxis._offset + yaxis.d2p(trace.y[at]),
    says: trace.hovertext[at].match(/<b>(.*?)<\\/b>/)[1],
    whole: trace.hovertext[at].replace(/<br>.*/, '').replace(/<[^>]*>/g, ''),
  };
}
"""


def test_a_name_that_is_typed_is_one_concept(opener):
    page = opener("model=authors-lm&tokens=2")
    box = page.locator(".st-key-concepts input").first
    box.click()
    assert not page.get_by_role("option", name="Select all").count()
    box.press_sequentially("Fabrice")  # others hold it too, or its letters
    page.wait_for_timeout(300)
    offered = page.get_by_role("option").all_inner_texts()
    assert len(offered) > 1
    assert not [text for text in offered if re.match(r"Select \d+ matches", text)]
    page.keyboard.press("Enter")
    wait_status(page, f"{offered[0]} erased")
    assert page.url.count("concepts=") == 1
    again(page)


@pytest.mark.parametrize("points", ["Inputs by traces", "Engrams"])
def test_a_click_on_a_point_of_the_map_opens_it(opener, points):
    page = opener(f"model=digits-mlp&points={points.replace(' ', '+')}", page="map")
    page.locator(".js-plotly-plot .scatterlayer").first.wait_for(state="attached")
    page.locator(".js-plotly-plot").first.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    point = page.evaluate(POINT, 3)
    page.mouse.move(point["x"], point["y"])
    page.wait_for_timeout(300)
    page.mouse.click(point["x"], point["y"])
    if points == "Engrams":
        page.get_by_role("button", name="Erase it in Live").click()
        wait_status(page, f"{point['says']} erased")
        return
    page.get_by_text(re.compile(r"^\d+ inputs selected$")).wait_for()
    again(page)
    shown = [picture.get_attribute("alt") or "" for picture in page.locator("figure img").all()]
    assert point["whole"] in shown
    page.get_by_role("button", name="Open in Live").click()
    page.wait_for_function("document.querySelector('.ee-image')?.textContent.includes('True class')")
    again(page)
