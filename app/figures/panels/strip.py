"""The strip below the answers: four numbers with a bar each, and the interval of the random edits."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..words.strip import Cell, Span

__all__ = ["strip_html"]


def strip_html(cells: Sequence[Cell]) -> str:
    """Return the strip as HTML."""
    return f'<section class="ee-strip" aria-label="What the edit did">{"".join(map(_cell, cells))}</section>'


def _cell(cell: Cell) -> str:
    return (
        f'<div class="ee-cell ee-cell-{escape(cell.kind)}" data-cell="{escape(cell.kind)}">'
        f'<div class="ee-kind">{escape(cell.title)}</div>'
        f'<div class="ee-number">{escape(cell.number)}</div>{_bar(cell)}'
        f'<div class="ee-next">{escape(cell.note)}</div></div>'
    )


def _bar(cell: Cell) -> str:
    if any(cell.spans):
        kinds = zip(("forgets", "keeps"), cell.spans, strict=True)
        return "".join(_track(span.mean, kind, span) for kind, span in kinds if span is not None)
    return _track(cell.share)


def _track(share: float | None, kind: str = "share", span: Span | None = None) -> str:
    if share is None:
        return '<div class="ee-track" aria-hidden="true"></div>'
    ends = ""
    if span is not None:
        left, right = min(_inside(span.low), 99.2), _inside(span.high)
        ends = f'<div class="ee-span" style="left:{left:.1f}%;width:{max(right - left, 0.8):.1f}%"></div>'
    return (
        f'<div class="ee-track" aria-hidden="true"><div class="ee-fill ee-{kind}" '
        f'style="width:{_inside(share):.1f}%"></div>{ends}</div>'
    )


def _inside(share: float) -> float:
    return 100 * min(max(share, 0.0), 1.0)
