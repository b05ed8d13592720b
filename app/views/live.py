"""Live: one image, one edit, base and edited answer side by side, then the score of every class."""

from __future__ import annotations

import time

import streamlit as st

from engram_core.errors import EngramError

from .. import session
from ..choice import Choice
from ..core_adapter import Base, Proof, Visitor, control_steps
from ..figures.bars import Control, probability_figure, score_figure
from ..figures.hero import hero, stats
from ..figures.text import HOW, describe_edit, groups_of, marks_of, mean_of, say_answer, say_scores
from . import controls

__all__ = ["page"]

_EMPTY = "The same, so far. Switch a concept off under “Memories” and the edited model answers here."

# Let the browser draw the answer before the slow part takes the processor. A visitor who moves on within it,
# as when a slider is dragged, costs no scoring at all: the next `st` call ends this run.
_BREATH = 0.25

_CHART = {
    "displaylogo": False,
    "modeBarButtons": [["toImage"]],
    "toImageButtonOptions": {"format": "svg", "filename": "engram-explorer"},
}


def page(name: str) -> None:
    """Draw the page for a sample."""
    try:
        base = session.base_of(name)
    except EngramError as error:
        st.warning(str(error))
        return
    _about(base)
    _address_notes(base)
    _panel(base)


def _about(base: Base) -> None:
    sample, facts = base.sample, base.facts
    with st.sidebar:
        st.markdown(f"**{sample.title}**")
        st.caption(sample.summary)
        mean = sum(base.scores.values()) / len(base.scores)
        st.caption(
            f"{len(facts.classes)} concepts · {len(facts.layers)} layers hold memories · "
            f"{sum(facts.held_out.values()):,} held-out images · base accuracy {mean:.1%}"
        )
        with st.popover("Model card", width="stretch"):
            st.markdown(sample.card)


def _address_notes(base: Base) -> None:
    notes = session.address_problems(base.facts)
    unknown = session.unknown_sample()
    if unknown:
        st.info(unknown)
    if notes:
        st.info(
            "Not everything in the address could be used; the default stands instead: "
            + "; ".join(notes)
            + "."
        )


@st.fragment
def _panel(base: Base) -> None:
    # Places first, work later: what is slow stands last and can be given up when the visitor moves on.
    st.markdown("#### Switch a memory off and watch the answer change")
    top = st.container()
    left, right = st.columns([5, 7], gap="large")
    with left:
        controls.gallery(base)
        controls.edit(base.facts)
        controls.advanced(base.facts)
        st.button("Reset to the base model", on_click=session.reset, width="stretch", key="reset")
    choice = session.choice_of(base.facts)
    visitor = session.visitor_of(base)
    try:
        proof = visitor.put(choice)
    except EngramError as error:
        top.warning(str(error))
        return
    _answer(base, visitor, choice, proof, top, right)
    below = st.container()
    _proof(base, choice, proof)
    with below:
        _scores(base, visitor, choice)


def _answer(base: Base, visitor: Visitor, choice: Choice, proof: Proof, top, right) -> None:  # noqa: ANN001
    answer = visitor.answer(choice)
    hint = None if choice.concepts else _EMPTY
    layers = f"{len(proof.per_layer)} layer{'s' if len(proof.per_layer) > 1 else ''}"
    size = f"‖ΔW‖/‖W‖ {proof.relative:.2f} in {layers} · " if proof.on else ""
    top.html(
        hero(
            answer.pixels,
            answer.classes,
            answer.base,
            answer.edited,
            truth=answer.truth,
            number=choice.image,
            total=base.facts.held_out[choice.shown],
            status=describe_edit(choice),
            on=proof.on,
            facts=f"{size}{base.facts.name} {proof.digest[:8]}",
            hint=hint,
        )
    )
    with right:
        _heading("This image, class by class", "answer")
        words = say_answer(answer.classes, answer.base, answer.edited, answer.truth)
        st.plotly_chart(
            probability_figure(
                answer.classes, answer.base, answer.edited, truth=answer.truth, marks=marks_of(choice)
            ),
            config=_CHART,
            alt=words,
        )
        st.caption(words)


def _heading(title: str, how: str) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"##### {title}", width="content")
        with st.popover("How to read this", type="tertiary"):
            st.markdown(HOW[how])


def _scores(base: Base, visitor: Visitor, choice: Choice) -> None:
    _heading("Every class on held-out images", "scores")
    status, numbers, place, words = st.empty(), st.empty(), st.empty(), st.empty()
    scores = base.scores
    for share, scores in visitor.scores(choice):  # noqa: B007
        if share < 1:
            status.progress(share, text="Scoring the edited model on every held-out image")
        if share == 0:
            time.sleep(_BREATH)
    gone = choice.gone(base.facts.classes)

    def draw(control: Control | None) -> None:
        said = say_scores(base.facts.classes, base.scores, scores, gone, control)
        numbers.html(stats(_summary(base, choice, scores, control)))
        place.plotly_chart(
            score_figure(
                base.facts.classes,
                base.scores,
                scores,
                counts=base.facts.held_out,
                marks=marks_of(choice),
                control=control,
            ),
            config=_CHART,
            alt=said,
        )
        words.caption(said)

    runs: list[dict[str, float]] = []
    drawn = False
    for share, runs in control_steps(base, choice):  # noqa: B007
        if share < 1:
            if not drawn:
                draw(None)
                drawn = True
            status.progress(share, text="Scoring the control: random edits of the same size")
    status.empty()
    draw(Control.of(base.facts.classes, runs))


def _summary(
    base: Base, choice: Choice, scores: dict[str, float], control: Control | None
) -> list[tuple[str, str, str]]:
    classes = base.facts.classes
    shams = None if control is None else dict(zip(classes, control.mean, strict=True))
    rows = []
    for title, names in groups_of(choice, classes):
        before, after, sham = (mean_of(values, names) for values in (base.scores, scores, shams))
        if before is None or after is None:
            continue
        what = ", ".join(names) if len(names) <= 3 else f"{len(names)} classes"
        count = sum(base.facts.held_out[name] for name in names)
        note = f"mean accuracy of {what}, {count:,} held-out images"
        number = f"{before:.1%} → {after:.1%}" if choice.changes else f"{before:.1%}"
        if sham is not None:
            note += f"; control {sham:.1%}"
        rows.append((title, number, note))
    return rows


def _proof(base: Base, choice: Choice, proof: Proof) -> None:
    _heading("Proof", "proof")
    layers = ", ".join(f"{name} {value:.2f}" for name, value in proof.per_layer.items())
    changed = (
        f"{describe_edit(choice)}. {len(proof.per_layer)} of {len(base.facts.layers)} layers changed, "
        f"‖ΔW‖/‖W‖ = {proof.relative:.3f} ({layers})."
        if proof.on
        else f"{describe_edit(choice)}. No layer is changed: the edited model is the base, bit for bit."
    )
    state = "unchanged" if proof.intact else "CHANGED"
    st.markdown(
        f"{changed} Base **{base.facts.name}**, SHA-256 `{proof.digest[:12]}`, {state}: "
        "the base is never written."
    )
    skipped = "; ".join(f"{name or 'model'}: {reason}" for name, reason in base.skipped)
    st.caption(f"Layers without memories: {skipped or 'none'}.")
