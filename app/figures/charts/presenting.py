"""Figures for the back of a room: the same, with larger letters, marks and rows."""

from __future__ import annotations

import plotly.graph_objects as go

__all__ = ["enlarged"]

_TEXT, _SMALL = 18, 16  # pixels; Streamlit's own theme draws 12
_TALLER = 1.3


def enlarged(chart: go.Figure) -> go.Figure:
    """Return a copy of a figure that is read from afar; the figure itself stays as it is."""
    large = go.Figure(chart)
    # One by one: Streamlit's theme sets the sizes of titles, ticks and legend, which a common font loses to.
    size = {"size": _TEXT}
    large.update_layout(font=size, legend_font=size, hoverlabel_font={"size": _SMALL})
    for axes in (large.update_xaxes, large.update_yaxes):
        axes(tickfont={"size": _SMALL}, title_font=size)
    large.update_scenes(xaxis_title_font=size, yaxis_title_font=size, zaxis_title_font=size)
    if chart.layout.height:
        large.update_layout(height=int(_TALLER * chart.layout.height))
    for trace in large.data:
        if trace.type == "heatmap":
            trace.update(textfont=size, colorbar={"tickfont": {"size": _SMALL}, "title": {"font": size}})
        elif trace.type == "scatter":
            trace.update(textfont={"size": _SMALL})
            colours = trace.marker.colorbar if trace.marker.colorbar.to_plotly_json() else None
            if colours is not None:
                colours.update(tickfont={"size": _SMALL}, title={"font": size})
    return large
