"""A small canvas to draw a digit on: eight by eight pixels, as the model sees it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ...choice.picture import DRAWABLE, LEVELS

__all__ = ["HINT", "canvas"]

HINT = (
    "White on black, as the model sees it: draw with the mouse or a finger, large, in the middle. With the "
    "keyboard: the arrow keys move the frame, Space or Enter turns its pixel on and off."
)

_HTML = """
<div class="pad">
  <div class="paper">
    <canvas width="8" height="8" tabindex="0" role="application" aria-label="Drawing area, eight by eight
 pixels: draw with mouse or finger, or move with the arrow keys and press Space"></canvas>
    <div class="cursor"></div>
  </div>
  <button type="button">Clear</button>
  <output aria-live="polite"></output>
</div>
"""

_CSS = """
.pad { display: flex; gap: .8rem; align-items: flex-end; }
.paper { position: relative; width: 178px; height: 178px; }
canvas { width: 176px; height: 176px; image-rendering: pixelated; touch-action: none; cursor: crosshair;
  border-radius: 8px; border: 1px solid color-mix(in srgb, currentColor 30%, transparent); background: #000; }
canvas:focus-visible { outline: 3px solid var(--st-primary-color); }
.cursor { display: none; position: absolute; box-sizing: border-box; width: 22px; height: 22px;
  border: 2px solid #fff; outline: 2px solid #0072b2; pointer-events: none; }
canvas:focus-visible + .cursor { display: block; }
output { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
button { font: inherit; color: inherit; background: transparent; padding: .3rem .8rem; border-radius: 8px;
  border: 1px solid color-mix(in srgb, currentColor 30%, transparent); cursor: pointer; }
"""

# The pen leaves a soft dot a little wider than a pixel: scikit-learn's digits are counts of ink in 4 x 4
# cells of a finer scan, so their edges are soft too. Nothing is sent while the pen is down, nor between two
# keys. This function is called again with every answer of the server: what must last is kept on the canvas,
# and an answer to what was drawn before the last stroke is none.
_JS = """
export default function ({ parentElement, data, setStateValue }) {
  const SIZE = 8, CELL = 22, PAUSE = 400, LEVELS = data.levels, top = LEVELS.length - 1;
  const canvas = parentElement.querySelector('canvas');
  const cursor = parentElement.querySelector('.cursor');
  const spoken = parentElement.querySelector('output');
  const context = canvas.getContext('2d');
  const kept = canvas.kept ??= {
    ink: new Float32Array(SIZE * SIZE), row: 3, column: 3, timer: null, sent: null,
  };
  let last = null;
  const show = () => {
    const image = context.createImageData(SIZE, SIZE);
    kept.ink.forEach((value, i) => {
      const grey = Math.round(255 * value);
      image.data.set([grey, grey, grey, 255], 4 * i);
    });
    context.putImageData(image, 0, 0);
  };
  const text = () => {
    const levels = [...kept.ink].map(v => Math.round(v * top));
    return levels.some(Boolean) ? levels.map(v => LEVELS[v]).join('') : '';
  };
  const load = drawn => {
    kept.ink = Float32Array.from(
      { length: SIZE * SIZE }, (_, i) => drawn ? LEVELS.indexOf(drawn[i]) / top : 0);
    show();
  };
  const send = () => {
    clearTimeout(kept.timer);
    kept.timer = null;
    kept.sent = text();
    setStateValue('drawn', kept.sent);
  };
  const dot = (x, y) => {
    for (let row = 0; row < SIZE; row++) for (let column = 0; column < SIZE; column++) {
      const far = Math.hypot(column + .5 - x, row + .5 - y);
      const value = Math.min(1, Math.max(0, 1.35 - far));
      kept.ink[row * SIZE + column] = Math.max(kept.ink[row * SIZE + column], value);
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
  canvas.onpointerup = () => { if (last) { last = null; send(); } };
  canvas.onpointercancel = canvas.onpointerup;
  const point = () => {
    cursor.style.left = `${1 + CELL * kept.column}px`;
    cursor.style.top = `${1 + CELL * kept.row}px`;
  };
  const say = () => {
    const on = kept.ink[kept.row * SIZE + kept.column] > .5;
    spoken.textContent = `Row ${kept.row + 1}, column ${kept.column + 1}: ${on ? 'ink' : 'empty'}`;
  };
  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  canvas.onkeydown = event => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const move = MOVES[event.key];
    if (move) {
      kept.row = Math.min(SIZE - 1, Math.max(0, kept.row + move[0]));
      kept.column = Math.min(SIZE - 1, Math.max(0, kept.column + move[1]));
      point();
    } else if (event.key === ' ' || event.key === 'Enter') {
      const at = kept.row * SIZE + kept.column;
      kept.ink[at] = kept.ink[at] > .5 ? 0 : 1;
      show();
      clearTimeout(kept.timer);
      kept.timer = setTimeout(send, PAUSE);
    } else return;
    say();
    event.preventDefault();
    event.stopPropagation();  // Streamlit has keys of its own
  };
  canvas.onfocus = say;
  parentElement.querySelector('button').onclick = () => { load(''); send(); };
  point();
  if (kept.timer === null && (kept.sent === null || kept.sent === data.drawn)) {
    kept.sent = null;
    load(data.drawn);
  }
}
"""

_component = None


def canvas(drawn: str, *, key: str) -> str:
    """Draw the canvas and return what is on it, as `pictures.encode` would write it ("" when empty).

    Args:
        drawn: what it shows at first.
        key: another one where a drawing has come from elsewhere: a canvas shows what was drawn on it.

    Returns:
        What is drawn on it, "" when empty.
    """
    global _component
    if _component is None:
        _component = st.components.v2.component("engram_canvas", html=_HTML, css=_CSS, js=_JS)
    result: Any = _component(
        key=key,
        data={"levels": LEVELS, "drawn": drawn},
        default={"drawn": drawn},
        on_drawn_change=lambda: None,
    )
    found = result.drawn or ""
    blank = "0" * (DRAWABLE[0] * DRAWABLE[1])
    return "" if found == blank else str(found)
