"""The first thing the eye meets: the image, the base model's answer, the edited model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from .images import data_uri

__all__ = ["hero", "stats"]


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "&lt; 0.1 %"
    if 0.999 < share < 1:
        return "&gt; 99.9 %"
    return f"{100 * share:.1f} %"


def _answer(title: str, kind: str, classes: Sequence[str], values: np.ndarray, truth: str) -> str:
    order = np.argsort(values)[::-1]
    first, second = int(order[0]), int(order[1])
    right = classes[first] == truth
    return (
        f'<div class="ee-answer ee-{kind}"><div class="ee-kind">{title}</div>'
        f'<div class="ee-name" data-answer="{kind}">{escape(classes[first])}</div>'
        f'<div class="ee-sure">{_percent(values[first])}<span class="ee-verdict">'
        f"{'correct' if right else 'wrong'}</span></div>"
        f'<div class="ee-track"><div class="ee-fill" style="width:{100 * values[first]:.2f}%"></div></div>'
        f'<div class="ee-next">then {escape(classes[second])}, {_percent(values[second])}</div></div>'
    )


def _hint(text: str) -> str:
    return (
        f'<div class="ee-answer ee-edited ee-idle"><div class="ee-kind">Edited model</div>'
        f'<div class="ee-hint" data-answer="edited">{escape(text)}</div></div>'
    )


def hero(
    pixels: np.ndarray,
    classes: Sequence[str],
    base: np.ndarray,
    edited: np.ndarray,
    *,
    truth: str,
    number: int,
    total: int,
    status: str,
    on: bool,
    facts: str,
    hint: str | None = None,
) -> str:
    """Return the panel as HTML.

    Args:
        pixels: the image, (height, width), 0–1.
        classes: class names.
        base: probability per class of the base model.
        edited: the same of the edited model.
        truth: the image's own class.
        number: number of the image among the held-out ones of its class.
        total: how many there are.
        status: what is on, in a phrase.
        on: whether an edit is in force.
        facts: its size and the model, in a phrase.
        hint: what to do, shown instead of the edited answer when nothing is edited.
    """
    name = escape(truth, quote=True)
    right = _hint(hint) if hint is not None else _answer("Edited model", "edited", classes, edited, truth)
    return (
        '<section class="ee-hero" aria-live="polite"><div class="ee-row">'
        f'<figure class="ee-image"><img src="{data_uri(pixels)}" alt="The chosen image, true class {name}">'
        f"<figcaption>True class <b>{name}</b><br>held-out image {number} of {total}</figcaption></figure>"
        + _answer("Base model", "base", classes, base, truth)
        + '<div class="ee-arrow" aria-hidden="true"></div>'
        + right
        + f'</div><div class="ee-status{" ee-on" if on else ""}"><span class="ee-dot"></span>'
        f'<b>{"Edit on" if on else "Edit off"}</b><span data-status="1">{escape(status)}</span>'
        f'<span class="ee-facts">{escape(facts)}</span></div></section>'
    )


def stats(rows: Sequence[tuple[str, str, str]]) -> str:
    """Return a few large numbers as HTML: (what, number, explanation) each."""
    cells = "".join(
        f'<div class="ee-stat"><div class="ee-kind">{escape(what)}</div>'
        f'<div class="ee-number">{escape(number)}</div><div class="ee-next">{escape(note)}</div></div>'
        for what, number, note in rows
    )
    return f'<div class="ee-stats">{cells}</div>'
