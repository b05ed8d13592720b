"""Cells of a matrix: painted, written on in letters that can be read, and told about under the mouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .contrast import INKS, colour_at, ink

__all__ = ["Cells", "told"]

_CLEAR = "rgba(0,0,0,0)"


@dataclass(frozen=True)
class Cells:
    """A block of cells.

    Attributes:
        z: what each is coloured by, from top to bottom; None where nothing is known.
        texts: what is written in each.
        colours: a colour scale, as stops.
        ends: values of its first and its last colour.
        x: place of the first column.
        y: place of the first row.
        gap: pixels between two cells.
    """

    z: Sequence[Sequence[float | None]]
    texts: Sequence[Sequence[str]]
    colours: Sequence[Sequence[float | str]]
    ends: tuple[float, float]
    x: float = 0.0
    y: float = 0.0
    gap: int = 1

    def painted(self) -> dict[str, Any]:
        """Return the trace of the cells, without letters."""
        return self._trace(self.z, self.colours, self.ends)

    def letters(self) -> list[dict[str, Any]]:
        """Return the traces of what is written: in black where that is read better, in white elsewhere.

        A heatmap writes in one colour (Plotly's own choice falls below a contrast of 4.5 on middling
        colours), so these are two, each of clear cells.
        """
        inks = [[None if v is None else ink(self._colour(v)) for v in line] for line in self.z]
        traces = []
        for one in INKS:
            mine = [[0.0 if found == one else None for found in line] for line in inks]
            if all(value is None for line in mine for value in line):
                continue
            texts = [
                [text if found == one else "" for text, found in zip(line, hues, strict=True)]
                for line, hues in zip(self.texts, inks, strict=True)
            ]
            clear = self._trace(mine, [[0.0, _CLEAR], [1.0, _CLEAR]], (0.0, 1.0))
            traces.append(clear | {"text": texts, "texttemplate": "%{text}", "textfont": {"color": one}})
        return traces

    def _colour(self, value: float) -> tuple[float, float, float]:
        low, high = self.ends
        return colour_at(self.colours, (value - low) / (high - low))

    def _trace(
        self,
        z: Sequence[Sequence[float | None]],
        colours: Sequence[Sequence[float | str]],
        ends: tuple[float, float],
    ) -> dict[str, Any]:
        return {
            "type": "heatmap", "z": z, "x0": self.x, "dx": 1, "y0": self.y, "dy": 1, "colorscale": colours,
            "zmin": ends[0], "zmax": ends[1], "xgap": self.gap, "ygap": self.gap, "hoverinfo": "skip",
            "showscale": False,
        }  # fmt: skip


def told(
    x: Sequence[float],
    y: Sequence[float],
    texts: Sequence[str],
    picked: Sequence[Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return invisible squares over cells: Plotly reports no click on a heatmap itself.

    Args:
        x: their columns.
        y: their rows.
        texts: what each says under the mouse.
        picked: what a click on each reports; None where there is nothing to pick.
    """
    return {
        "type": "scatter", "mode": "markers", "x": list(x), "y": list(y), "text": list(texts),
        "opacity": 0, "marker": {"symbol": "square", "size": 18}, "hovertemplate": "%{text}<extra></extra>",
        "showlegend": False,
        **({} if picked is None else {"customdata": picked}),
        # A mark once chosen would otherwise become visible, and the others fainter.
        "selected": {"marker": {"opacity": 0}}, "unselected": {"marker": {"opacity": 0}},
    }  # fmt: skip
