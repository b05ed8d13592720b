"""What ``--html`` of the command line writes: one figure as a page that needs nothing else.

The core draws nothing. It finds these functions by their entry points, ``engram_core.figures`` in
pyproject.toml.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .charts.frontier import frontier_figure
from .charts.scatter import Cloud, axes_of, scatter
from .words.maps import explain_map, map_title

__all__ = ["frontier_page", "map_page"]

_ARROWS = 40  # of those that moved furthest
_NAMES = 40  # more names than this hide each other


def frontier_page(
    table: pd.DataFrame,
    best: pd.DataFrame,
    *,
    measure: str,
    unit: str,
    chosen: Mapping[str, Any] | None,
    title: str,
) -> str:
    """Return the page of `engram sweep`.

    Args:
        table: one row per setting.
        best: the rows on the frontier.
        measure: what is measured, "score" or another measure of the task.
        unit: of a score.
        chosen: the recommended setting, or None.
        title: what stands above the figure.
    """
    figure = frontier_figure(table, best, measure=measure, unit=unit, chosen=chosen, title=title)
    return figure.to_html(include_plotlyjs=True, full_html=True)


def map_page(table: pd.DataFrame, *, about: Mapping[str, Any]) -> str:
    """Return the page of `engram map`.

    Args:
        table: one row per input or engram, with its coordinates (x, y, z) and, of an edited model,
            edited_x, edited_y, edited_z and moved.
        about: what the points are and how they were laid out; see `explain_map`.
    """
    axes = [axis for axis in "xyz" if axis in table]
    points = table[axes].to_numpy(float)
    edited = [f"edited_{axis}" for axis in axes]
    end = table[edited].to_numpy(float) if edited[0] in table else None
    inputs = "number" in table
    cloud = Cloud(
        points=points if end is None else end,
        hover=[
            html.escape(f"{row.concept} {row.number}" if inputs else str(row.concept))
            for row in table.itertuples()
        ],
        categories=list(table["concept"]) if inputs else None,
        order=list(dict.fromkeys(table["concept"])),
        values=None if inputs else table["norm"].to_numpy(float),
        value_name="‖E‖, Frobenius norm",
        start=None if end is None else points,
        end=end,
        arrows=np.array([], int) if end is None else np.argsort(-table["moved"].to_numpy())[:_ARROWS],
        axes=axes_of(about["method"], about["explained"], len(axes)),
        names=() if inputs or len(table) > _NAMES else list(table["concept"]),
    )
    figure = scatter(cloud).to_html(include_plotlyjs=True, full_html=False)
    title = html.escape(map_title(about))
    paragraphs = "".join(f"<p>{html.escape(text)}</p>" for text in explain_map(about, len(table)))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><style>body{font-family:sans-serif;'
        "max-width:1100px;margin:1.5rem auto;padding:0 1rem;line-height:1.5}</style></head>"
        f"<body><h1>{title}</h1>{figure}{paragraphs}</body></html>"
    )
