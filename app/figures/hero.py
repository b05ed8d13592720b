"""The first thing the eye meets: the image, the base model's answer, the edited model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from .images import data_uri

__all__ = ["hero", "stats", "text_hero"]


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "&lt; 0.1%"
    if 0.999 < share < 1:
        return "&gt; 99.9%"
    return f"{100 * share:.1f}%"


def _answer(title: str, kind: str, classes: Sequence[str], values: np.ndarray, truth: str | None) -> str:
    order = np.argsort(values)[::-1]
    first, second = int(order[0]), int(order[1])
    verdict = "" if truth is None else "correct" if classes[first] == truth else "wrong"
    badge = f'<span class="ee-verdict">{verdict}</span>' if verdict else ""
    return (
        f'<div class="ee-answer ee-{kind}"><div class="ee-kind">{title}</div>'
        f'<div class="ee-name" data-answer="{kind}">{escape(classes[first])}</div>'
        f'<div class="ee-sure">{_percent(values[first])}{badge}</div>'
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
    truth: str | None,
    about: str,
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
        truth: the image's own class, or None if nobody knows it.
        about: which image it is, in a phrase.
        status: what is on, in a phrase.
        on: whether an edit is in force.
        facts: its size and the model, in a phrase.
        hint: what to do, shown instead of the edited answer when nothing is edited.
    """
    known = f"True class <b>{escape(truth)}</b><br>" if truth is not None else ""
    alt = f"The chosen image, true class {escape(truth)}" if truth is not None else "The drawn image"
    right = _hint(hint) if hint is not None else _answer("Edited model", "edited", classes, edited, truth)
    return (
        '<section class="ee-hero" aria-live="polite"><div class="ee-row">'
        f'<figure class="ee-image"><img src="{data_uri(pixels)}" alt="{alt}">'
        f"<figcaption>{known}{escape(about)}</figcaption></figure>"
        + _answer("Base model", "base", classes, base, truth)
        + '<div class="ee-arrow" aria-hidden="true"></div>'
        + right
        + "</div>"
        + _status(status, on, facts)
    )


def _said(title: str, kind: str, prompt: str, text: str, answer: str, done: bool) -> str:
    verdict = ""
    if answer and done:
        right = text.strip().lower().startswith(answer.strip().lower())
        verdict = f'<span class="ee-verdict">{"correct" if right else "wrong"}</span>'
    cursor = "" if done else '<span class="ee-cursor" aria-hidden="true"></span>'
    return (
        f'<div class="ee-answer ee-{kind}"><div class="ee-kind">{title}{verdict}</div>'
        f'<div class="ee-said"><span class="ee-prompt">{escape(prompt)}</span>'
        f'<span class="ee-more" data-answer="{kind}">{escape(text)}</span>{cursor}</div></div>'
    )


def text_hero(
    prompt: str,
    base: str,
    edited: str,
    *,
    answer: str,
    done: bool,
    status: str,
    on: bool,
    facts: str,
    hint: str | None = None,
) -> str:
    """Return the panel of a language model as HTML: one prompt, two continuations.

    Args:
        prompt: the prompt.
        base: what the base model has written so far.
        edited: what the edited model has written so far.
        answer: the right continuation, "" if nobody knows it.
        done: whether both have ended.
        status: what is on, in a phrase.
        on: whether an edit is in force.
        facts: its size and the model, in a phrase.
        hint: what to do, shown instead of the edited answer when nothing is edited.
    """
    right = _hint(hint) if hint is not None else _said("Edited model", "edited", prompt, edited, answer, done)
    return (
        '<section class="ee-hero" aria-live="polite"><div class="ee-row ee-texts">'
        + _said("Base model", "base", prompt, base, answer, done)
        + right
        + "</div>"
        + _status(status, on, facts)
    )


def _status(status: str, on: bool, facts: str) -> str:
    return (
        f'<div class="ee-status{" ee-on" if on else ""}"><span class="ee-dot"></span>'
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
