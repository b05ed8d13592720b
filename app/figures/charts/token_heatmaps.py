"""Where a concept sits: layers against the tokens of a text, kinds of module against blocks."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ..words.tokens import token_label
from .colour_scale import Scale
from .heatmap import heatmap

__all__ = ["layer_token_heatmap", "module_heatmap"]


def layer_token_heatmap(
    table: pd.DataFrame,
    *,
    rows: str = "layer",
    value: str = "ratio",
) -> go.Figure:
    """Draw layers × tokens of a text.

    Args:
        table: position, token, `rows` and `value`; several rows of one cell are averaged, and cells without
            any stay empty.
        rows: what stands on the vertical axis: ``"layer"``, ``"block"``, ``"module"`` or ``"part"``.
        value: ``"ratio"`` (from 0, one hue) or ``"change"`` (below and above 0, two hues).

    Returns:
        The figure.
    """
    grid = table.pivot_table(index=rows, columns="position", values=value, aggfunc="mean", sort=False)
    grid = grid.reindex(sorted(grid.columns), axis=1)
    tokens = table.drop_duplicates("position").set_index("position")["token"]
    title, signed = {"ratio": ("‖E x‖ / ‖W x‖", False), "change": ("Change (nats)", True)}[value]
    names = [str(name) for name in grid.index]
    # A token is shown whole, and two of one text may be the same: their places tell them apart.
    said = [str(tokens[position]) for position in grid.columns]
    return heatmap(
        grid.to_numpy(float),
        names,
        said,
        row=rows.capitalize(),
        column="Token of the text",
        scale=Scale(title, low=0.0, signed=signed),
        diagonal=False,
        clickable=False,
        row_labels=[token_label(name) for name in names],
        column_labels=[token_label(token) for token in said],
    )


def module_heatmap(table: pd.DataFrame) -> go.Figure:
    """Draw kinds of module × blocks; layers outside the blocks are left out.

    Args:
        table: block, module and relative; several layers of one cell are averaged.

    Returns:
        The figure.
    """
    inside = table.dropna(subset=["block"])
    grid = inside.pivot_table(index="module", columns="block", values="relative", aggfunc="mean", sort=False)
    names = [str(module) for module in grid.index]
    return heatmap(
        grid.to_numpy(float),
        names,
        [str(block) for block in grid.columns],
        row="Module",
        column="Block",
        scale=Scale("‖E‖ / ‖W‖", low=0.0),
        diagonal=False,
        clickable=False,
        row_labels=[token_label(name) for name in names],
    )
