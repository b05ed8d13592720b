"""The first thing the eye meets: the image, the base model's answer, the edited model's answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from html import escape

import numpy as np

from ..words.live import percent
from .png import data_uri

__all__ = ["hero", "say_texts", "stats", "text_hero"]


def _box(kind: str, inner: str, *, verdict: str = "", idle: bool = False) -> str:
    return (
        f'<div class="ee-answer ee-{kind}{" ee-idle" if idle else ""}">'
        f'<div class="ee-kind">{kind.capitalize()} model{verdict}</div>{inner}</div>'
    )


def _verdict(right: bool) -> str:
    return f'<span class="ee-verdict">{"correct" if right else "wrong"}</span>'


def _answer(kind: str, classes: Sequence[str], values: np.ndarray, truth: str | None) -> str:
    first, second = (int(place) for place in np.argsort(values)[::-1][:2])
    badge = "" if truth is None else _verdict(classes[first] == truth)
    return _box(
        kind,
        f'<div class="ee-name" data-answer="{kind}">{escape(classes[first])}</div>'
        f'<div class="ee-sure"><span>{escape(percent(values[first]))}</span>{badge}</div>'
        f'<div class="ee-track"><div class="ee-fill" style="width:{100 * values[first]:.2f}%"></div></div>'
        f'<div class="ee-next">then {escape(classes[second])}, {escape(percent(values[second]))}</div>',
    )


def _hint(text: str) -> str:
    return _box("edited", f'<div class="ee-hint" data-answer="edited">{escape(text)}</div>', idle=True)


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
    row = (
        f'<figure class="ee-image"><img src="{data_uri(pixels)}" alt="{alt}">'
        f"<figcaption>{known}{escape(about)}</figcaption></figure>"
        + _answer("base", classes, base, truth)
        + '<div class="ee-arrow" aria-hidden="true"></div>'
        + (_hint(hint) if hint is not None else _answer("edited", classes, edited, truth))
    )
    return _panel("ee-row", row, status, on, facts)


def _spans(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(r"\S+", text)]


def _others(base: str, edited: str) -> list[tuple[int, int]]:
    """Return which words of `edited` are not the base's at their place, as ranges of word numbers."""
    before, after = base.split(), edited.split()
    found = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return [(start, end) for kind, _, _, start, end in found if kind in ("replace", "insert")]


def say_texts(base: str, edited: str) -> str:
    """Say in a sentence whether two continuations agree, word by word."""
    before, after = base.split(), edited.split()
    if before == after:
        return "Both go on with the same words." if after else "Neither model adds a word."
    ranges = _others(base, edited)
    count = sum(end - start for start, end in ranges)
    if not count:
        left = len(before) - len(after)
        return f"The edited model leaves out {left} of the base's {len(before)} words and adds none."
    if count == len(after):
        return "The two continuations have no word in common."
    return (
        f"The continuations part at word {ranges[0][0] + 1}: {count} of the edited model's {len(after)} "
        f"words {'differs' if count == 1 else 'differ'}."
    )


def _marked(text: str, base: str, done: bool) -> str:
    """Return the edited text as HTML with the words marked that the base does not have there."""
    spans, parts, last = _spans(text), [], 0
    for start, end in _others(base, text):
        # The last word may be unfinished, in either text.
        end = end if done or end < len(spans) else end - 1
        if start >= end:
            continue
        first, beyond = spans[start][0], spans[end - 1][1]
        parts += [escape(text[last:first]), f'<mark class="ee-diff">{escape(text[first:beyond])}</mark>']
        last = beyond
    return "".join([*parts, escape(text[last:])])


def _said(kind: str, prompt: str, text: str, answer: str, done: bool, base: str | None = None) -> str:
    right = text.strip().lower().startswith(answer.strip().lower())
    shown = escape(text) if base is None else _marked(text, base, done)
    note = ""
    if base is not None and done:
        note = f'<div class="ee-next" data-agree="1">{escape(say_texts(base, text))}</div>'
    cursor = "" if done else '<span class="ee-cursor" aria-hidden="true"></span>'
    return _box(
        kind,
        f'<div class="ee-said"><span class="ee-prompt">{escape(prompt)}</span>'
        f'<span class="ee-more" data-answer="{kind}">{shown}</span>{cursor}</div>{note}',
        verdict=_verdict(right) if answer and done else "",
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
    row = _said("base", prompt, base, answer, done)
    row += _hint(hint) if hint is not None else _said("edited", prompt, edited, answer, done, base)
    return _panel("ee-row ee-texts", row, status, on, facts)


def _panel(kind: str, row: str, status: str, on: bool, facts: str) -> str:
    return (
        f'<section class="ee-hero" aria-live="polite"><div class="{kind}">{row}</div>'
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
