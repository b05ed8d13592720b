"""A map that moves: points travel from base to edited, and the picture under the mouse is shown."""

from __future__ import annotations

import streamlit as st

from ...compute.maps import Sprite
from ...figures.panels.png import data_uri

__all__ = ["motion"]

_SHOWN = 84  # pixels of the longer side on the screen

# Streamlit (1.67) draws a figure anew when its numbers change, so Plotly's own transitions have nothing to
# start from. The places of the points are kept here, and when the next figure has the same points on the same
# axes, each is led from where it was. Plotly's notes hold text alone: the picture is looked up by what Plotly
# itself has under the mouse, which it notes a little after the move, hence the second look.
_JS = """
export default function ({ data }) {
  const LONG = 700;  // milliseconds
  const kept = window.engramMap ??= {};
  const find = () => document.querySelector('.st-key-map_plot .js-plotly-plot');
  const places = plot => {
    const found = new Map();
    for (const group of plot.querySelectorAll('.scatterlayer .trace')) {
      const trace = group.__data__?.[0]?.trace;
      if (!trace?.customdata) continue;
      for (const mark of group.querySelectorAll('.point')) {
        const number = trace.customdata[mark.__data__?.i]?.[0];
        const at = /translate\\(([-\\d.e]+)[ ,]+([-\\d.e]+)\\)/.exec(mark.getAttribute('transform') ?? '');
        if (number !== undefined && at) found.set(number, [+at[1], +at[2], mark]);
      }
    }
    return found;
  };
  const draw = () => {
    const plot = find();
    if (!plot?._fullLayout?.xaxis || plot === kept.plot) return;
    const now = places(plot);
    if (now.size < data.points) return;  // not all drawn yet
    const { xaxis, yaxis, width, height } = plot._fullLayout;
    const axes = JSON.stringify([xaxis.range, yaxis.range, width, height, now.size]);
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
    if (axes === kept.axes && !still) {
      for (const [number, [x, y, mark]] of now) {
        const [fromX, fromY] = kept.places.get(number) ?? [x, y];
        if (Math.hypot(x - fromX, y - fromY) < 1) continue;
        mark.animate(
          [{ transform: `translate(${fromX}px, ${fromY}px)` }, { transform: `translate(${x}px, ${y}px)` }],
          { duration: LONG, easing: 'ease-in-out' });
      }
    }
    Object.assign(kept, { plot, axes, places: now });
  };
  const watcher = new MutationObserver(draw);
  watcher.observe(document.body, { childList: true, subtree: true });
  draw();

  let timer = null, shown = null, move = () => {};
  if (data.uri) {
    const { uri, columns, width, height, count, pixels } = data;
    const scale = pixels / Math.max(width, height), rows = Math.ceil(count / columns);
    shown = document.createElement('div');
    shown.className = 'ee-hover';
    shown.setAttribute('aria-hidden', 'true');
    Object.assign(shown.style, {
      position: 'fixed', display: 'none', pointerEvents: 'none', zIndex: 1000000, borderRadius: '6px',
      width: `${width * scale}px`, height: `${height * scale}px`, imageRendering: 'pixelated',
      border: '2px solid #fff', boxShadow: '0 2px 10px rgba(0,0,0,.45)', backgroundImage: `url(${uri})`,
      backgroundSize: `${columns * width * scale}px ${rows * height * scale}px`,
    });
    document.body.append(shown);
    const look = (plot, x, y) => {
      const number = plot?.isConnected ? plot._hoverdata?.[0]?.customdata?.[0] : undefined;
      if (!(number >= 0 && number < count)) { shown.style.display = 'none'; return; }
      const column = number % columns, row = Math.floor(number / columns);
      Object.assign(shown.style, {
        display: 'block', backgroundPosition: `${-column * width * scale}px ${-row * height * scale}px`,
        left: `${Math.max(4, x - width * scale - 18)}px`, top: `${Math.max(4, y + 14)}px`,
      });
      shown.dataset.number = number;
    };
    move = event => {
      const plot = event.target.closest?.('.st-key-map_plot') ? find() : null;
      clearTimeout(timer);
      look(plot, event.clientX, event.clientY);
      if (plot) timer = setTimeout(() => look(plot, event.clientX, event.clientY), 120);
    };
    document.addEventListener('mousemove', move);
  }
  return () => {
    clearTimeout(timer);
    watcher.disconnect();
    document.removeEventListener('mousemove', move);
    shown?.remove();
  };
}
"""

_component = None


def motion(points: int, sprite: Sprite | None) -> None:
    """Let the points of the map travel, and show the picture of the one under the mouse.

    Args:
        points: how many there are.
        sprite: all their pictures in one, in their order; None where inputs are no pictures.
    """
    global _component
    if _component is None:
        _component = st.components.v2.component("engram_map", js=_JS)
    data: dict[str, object] = {"points": points}
    if sprite is not None:
        height, width = sprite.shape
        data |= {
            "uri": data_uri(sprite.pixels), "columns": sprite.columns, "width": width, "height": height,
            "count": sprite.count, "pixels": _SHOWN,
        }  # fmt: skip
    _component(key="map_motion", data=data)
