"""A small canvas to draw a digit on: eight by eight pixels, as the model sees it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ..pictures import DRAWABLE, LEVELS

__all__ = ["canvas"]

_HTML = """
<div class="pad" role="application" aria-label="Drawing area, eight by eight pixels: mouse or finger">
  <canvas width="8" height="8" tabindex="0"></canvas>
  <button type="button">Clear</button>
</div>
"""

_CSS = """
.pad { display: flex; gap: .8rem; align-items: flex-end; }
canvas { width: 176px; height: 176px; image-rendering: pixelated; touch-action: none; cursor: crosshair;
  border-radius: 8px; border: 1px solid color-mix(in srgb, currentColor 30%, transparent); background: #000; }
canvas:focus-visible { outline: 3px solid var(--st-primary-color); }
button { font: inherit; color: inherit; background: transparent; padding: .3rem .8rem; border-radius: 8px;
  border: 1px solid color-mix(in srgb, currentColor 30%, transparent); cursor: pointer; }
"""

# The pen leaves a soft dot a little wider than a pixel: scikit-learn's digits are counts of ink in 4 x 4
# cells of a finer scan, so their edges are soft too. Nothing is sent while the pen is down.
_JS = """
export default function ({ parentElement, data, setStateValue }) {
  const SIZE = 8, LEVELS = data.levels, top = LEVELS.length - 1;
  const canvas = parentElement.querySelector('canvas');
  const context = canvas.getContext('2d');
  let ink = new Float32Array(SIZE * SIZE), last = null;
  const show = () => {
    const image = context.createImageData(SIZE, SIZE);
    ink.forEach((value, i) => {
      const grey = Math.round(255 * value);
      image.data.set([grey, grey, grey, 255], 4 * i);
    });
    context.putImageData(image, 0, 0);
  };
  const text = () => [...ink].map(v => LEVELS[Math.round(v * top)]).join('');
  const load = drawn => {
    ink = Float32Array.from({ length: SIZE * SIZE }, (_, i) => drawn ? LEVELS.indexOf(drawn[i]) / top : 0);
    show();
  };
  const dot = (x, y) => {
    for (let row = 0; row < SIZE; row++) for (let column = 0; column < SIZE; column++) {
      const far = Math.hypot(column + .5 - x, row + .5 - y);
      const value = Math.min(1, Math.max(0, 1.35 - far));
      ink[row * SIZE + column] = Math.max(ink[row * SIZE + column], value);
    }
  };
  const place = event => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * SIZE, (event.clientY - box.top) / box.height * SIZE];
  };
  const line = ([x, y]) => {
    const [fromX, fromY] = last ?? [x, y];
    const steps = Math.max(1, Math.ceil(4 * Math.hypot(x - fromX, y - fromY)));
    for (let i = 0; i <= steps; i++) dot(fromX + (x - fromX) * i / steps, fromY + (y - fromY) * i / steps);
    last = [x, y];
    show();
  };
  canvas.onpointerdown = event => {
    canvas.setPointerCapture(event.pointerId);
    last = null;
    line(place(event));
  };
  canvas.onpointermove = event => { if (last) line(place(event)); };
  canvas.onpointerup = () => { if (last) { last = null; setStateValue('drawn', text()); } };
  canvas.onpointercancel = canvas.onpointerup;
  parentElement.querySelector('button').onclick = () => { load(''); setStateValue('drawn', ''); };
  load(data.drawn);
}
"""

_component = None


def canvas(drawn: str) -> str:
    """Draw the canvas and return what is on it, as `pictures.encode` would write it ("" when empty).

    Args:
        drawn: what it shows at first.
    """
    global _component
    if _component is None:
        _component = st.components.v2.component("engram_canvas", html=_HTML, css=_CSS, js=_JS)
    result: Any = _component(
        key="canvas",
        data={"levels": LEVELS, "drawn": drawn},
        default={"drawn": drawn},
        on_drawn_change=lambda: None,
    )
    found = result.drawn or ""
    blank = "0" * (DRAWABLE[0] * DRAWABLE[1])
    return "" if found == blank else str(found)
