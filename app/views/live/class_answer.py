"""What both models answer in classes: where the panel's export goes, and the figure of all classes."""

from __future__ import annotations

from ...choice.choice import Choice
from ...compute.images import Answer
from ...figures.charts.bars import probability_figure
from ...figures.words.as_text import Markdown
from ...figures.words.live import HOW, marks_of
from ...page import parts
from ...server.base import Base
from .places import Places

__all__ = ["draw"]


def draw(
    base: Base,
    choice: Choice,
    said: Answer,
    panel: parts.Panel,
    places: Places,
    *,
    both: Markdown,
    classes: Markdown,
) -> None:
    """Draw what stands behind the panel of both answers, in the places that somebody looks at.

    Args:
        base: the model.
        choice: the edit.
        said: both answers to one input.
        panel: how they are shown, with its words, numbers and code.
        places: of the page.
        both: what the panel is called.
        classes: what the figure is called.
    """
    if places.foot is not None:
        with places.foot:
            parts.Part("live", both, HOW["panel"], base, choice).below("panel", panel)
    if places.right is None:
        return
    with places.right:
        parts.part("live", classes, HOW["answer"], base, choice).figure(
            "answer",
            probability_figure(
                said.classes, said.base, said.edited, truth=said.truth, marks=marks_of(choice)
            ),
            words=panel.words,
            numbers=panel.numbers,
            code=panel.code,
        )
