"""Nothing leaves its card, overlaps or is cut, whatever room the side bar leaves."""

from __future__ import annotations

import pytest
from reading import again

pytestmark = pytest.mark.e2e

WIDTHS = (1440, 1024, 820, 390)

# What of a panel lies outside it, and which of its words are cut.
OUTSIDE = """
() => [...document.querySelectorAll('.ee-hero, .ee-stat')].flatMap(card => {
  const whole = card.getBoundingClientRect();
  return [...card.querySelectorAll('*')].filter(part => {
    const box = part.getBoundingClientRect();
    return box.width && (box.left < whole.left - 1 || box.right > whole.right + 1);
  }).map(part => part.className + ': ' + part.textContent.slice(0, 40));
})
"""

# Which texts of a figure overlap another one or its edge, and which numbers lie under a bar.
TEXTS = """
() => [...document.querySelectorAll('.js-plotly-plot')].flatMap(plot => {
  const edge = plot.getBoundingClientRect(), faults = [];
  const boxes = [...plot.querySelectorAll('.g-xtitle text, .g-x2title text, .xtick text, .x2tick text')]
    .map(text => [text.textContent, text.getBoundingClientRect()]);
  for (const [i, [name, box]] of boxes.entries()) {
    if (box.left < edge.left - 1 || box.right > edge.right + 1) faults.push(name + ' is cut');
    for (const [other, second] of boxes.slice(i + 1))
      if (box.left < second.right - 1 && second.left < box.right - 1
          && box.top < second.bottom - 1 && second.top < box.bottom - 1) faults.push(name + ' on ' + other);
  }
  const bars = [...plot.querySelectorAll('.barlayer .point path')].map(bar => bar.getBoundingClientRect());
  for (const text of plot.querySelectorAll('.textpoint text')) {
    const box = text.getBoundingClientRect();
    if (box.right > edge.right + 1) faults.push(text.textContent + ' is cut');
    if (bars.some(bar => bar.width > 2 && bar.left < box.right - 3 && box.left < bar.right - 3
        && bar.top < box.bottom - 3 && box.top < bar.bottom - 3)) faults.push(text.textContent + ' on a bar');
  }
  return faults;
})
"""


@pytest.mark.parametrize("page", ["live", "strength", "start"])
def test_everything_keeps_to_its_place(opener, page):
    tab = opener("model=digits-mlp&class=7&image=3&concepts=7" if page == "live" else "", page=page)
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        again(tab)
        assert tab.evaluate(OUTSIDE) == [], width
        assert tab.evaluate(TEXTS) == [], width
        if page == "live":
            small = "Math.min(...[...document.querySelectorAll('.st-key-thumbnails img')].map(i => i.width))"
            assert tab.evaluate(small) >= 28, width
