"""The first thing the eye meets: the image, the base model's answer, the edited model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from ..words.continuations import changed_spans, say_texts
from ..words.live import percent
from ..words.verdict import known_before, verdict
from .png import data_uri

__all__ = ["hero", "stats", "status_bar", "text_hero"]


def _box(kind: str, inner: str, *, badge: str = "", idle: bool = False) -> str:
    return (
        f'<div class="ee-answer ee-{kind}{" ee-idle" if idle else ""}">'
        f'<div class="ee-kind">{kind.capitalize()} model{badge}</div>{inner}</div>'
    )


def _badge(word: str) -> str:
    return f'<span class="ee-verdict" data-verdict="{escape(word)}">{escape(word)}</span>'


def _fall(right: str, before: float, after: float) -> str:
    """Return what became of the probability of the right answer."""
    said = f"{percent(before)} → {percent(after)}"
    return f'<div class="ee-next" data-right="1">{escape(right)}: {escape(said)}</div>'


def _answer_box(kind: str, classes: Sequence[str], values: np.ndarray, badge: str, more: str = "") -> str:
    first, second = (int(place) for place in np.argsort(values)[::-1][:2])
    return _box(
        kind,
        f'<div class="ee-name" data-answer="{kind}">{escape(classes[first])}</div>'
        f'<div class="ee-sure"><span>{escape(percent(values[first]))}</span>{badge}</div>'
        f'<div class="ee-track"><div class="ee-fill" style="width:{100 * values[first]:.2f}%"></div></div>'
        f'<div class="ee-next">then {escape(classes[second])}, {escape(percent(values[second]))}</div>{more}',
    )


def _answers(
    classes: Sequence[str], base: np.ndarray, edited: np.ndarray, truth: str | None
) -> tuple[str, str]:
    """Return the boxes of both models."""
    if truth is None:
        return _answer_box("base", classes, base, ""), _answer_box("edited", classes, edited, "")
    base, edited = np.asarray(base, float), np.asarray(edited, float)
    at = list(classes).index(truth)
    right = [int(values.argmax()) == at for values in (base, edited)]
    before, after = float(base[at]), float(edited[at])
    word = verdict(before, after, right_before=right[0], right_after=right[1])
    return (
        _answer_box("base", classes, base, _badge(known_before(right[0]))),
        _answer_box("edited", classes, edited, _badge(word), _fall(truth, before, after)),
    )


def _hint(text: str) -> str:
    return _box("edited", f'<div class="ee-hint" data-answer="edited">{escape(text)}</div>', idle=True)


def hero(
    pixels: np.ndarray | None,
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
        pixels: the image, (height, width), 0–1; None where the input is no image.
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
    picture = "" if pixels is None else f'<img src="{data_uri(pixels)}" alt="{alt}">'
    before, after = _answers(classes, base, edited, truth)
    row = (
        f'<figure class="ee-image">{picture}<figcaption>{known}{escape(about)}</figcaption></figure>'
        + before
        + '<div class="ee-arrow" aria-hidden="true"></div>'
        + (_hint(hint) if hint is not None else after)
    )
    return _panel("ee-row", row, status, on, facts)


def _marked(text: str, base: str, done: bool) -> str:
    """Return the edited text as HTML with the words marked that the base does not have there."""
    parts, last = [], 0
    for first, beyond in changed_spans(base, text, done=done):
        parts += [escape(text[last:first]), f'<mark class="ee-diff">{escape(text[first:beyond])}</mark>']
        last = beyond
    return "".join([*parts, escape(text[last:])])


def _said(kind: str, prompt: str, shown: str, done: bool, badge: str, notes: str = "") -> str:
    cursor = "" if done else '<span class="ee-cursor" aria-hidden="true"></span>'
    return _box(
        kind,
        f'<div class="ee-said"><span class="ee-prompt">{escape(prompt)}</span>'
        f'<span class="ee-more" data-answer="{kind}">{shown}</span>{cursor}</div>{notes}',
        badge=badge,
    )


def _right(text: str, answer: str) -> bool:
    return text.strip().lower().startswith(answer.strip().lower())


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
    chances: tuple[float, float] | None = None,
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
        chances: probability that base and edited model give the right continuation, if it was measured.
    """
    badges, fall = ("", ""), ""
    if answer and done:
        right = [_right(text, answer) for text in (base, edited)]
        before, after = chances or (None, None)
        word = verdict(before, after, right_before=right[0], right_after=right[1])
        badges = _badge(known_before(right[0])), _badge(word)
        fall = "" if chances is None else _fall(f"“{answer.strip()}”", *chances)
    agree = f'<div class="ee-next" data-agree="1">{escape(say_texts(base, edited))}</div>' if done else ""
    row = _said("base", prompt, escape(base), done, badges[0])
    if hint is not None:
        row += _hint(hint)
    else:
        row += _said("edited", prompt, _marked(edited, base, done), done, badges[1], fall + agree)
    return _panel("ee-row ee-texts", row, status, on, facts)


def _panel(kind: str, row: str, status: str, on: bool, facts: str) -> str:
    return (
        f'<section class="ee-hero" aria-live="polite"><div class="{kind}">{row}</div>'
        f"{status_bar(status, on, facts)}</section>"
    )


def status_bar(status: str, on: bool, facts: str) -> str:
    """Return the line that says what is on as HTML."""
    return (
        f'<div class="ee-status{" ee-on" if on else ""}"><span class="ee-dot"></span>'
        f'<b>{"Edit on" if on else "Edit off"}</b><span data-status="1">{escape(status)}</span>'
        f'<span class="ee-facts">{escape(facts)}</span></div>'
    )


def stats(rows: Sequence[tuple[str, str, str]]) -> str:
    """Return a few large numbers as HTML: (what, number, explanation) each."""
    cells = "".join(
        f'<div class="ee-stat"><div class="ee-kind">{escape(what)}</div>'
        f'<div class="ee-number">{escape(number)}</div><div class="ee-next">{escape(note)}</div></div>'
        for what, number, note in rows
    )
    return f'<div class="ee-stats">{cells}</div>'
