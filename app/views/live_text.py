"""The live page for language models: a prompt, how both models go on, and what changed inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from engram_core.errors import EngramError

from .. import frame, session
from ..adapter import texts
from ..adapter.base import Base
from ..adapter.visitor import Proof, Visitor
from ..choice import Choice, clean
from ..figures import tokens
from ..figures.hero import text_hero
from ..figures.text import HOW, describe_edit
from ..started import started
from . import controls

__all__ = ["TITLE", "example", "inputs", "more", "outputs"]

TITLE = "Switch a fact off and watch what the model says"

_EMPTY = "The same, so far. Switch a concept off under “Memories” and the edited model answers here."
SECTIONS = (
    "Questions, before and after",
    "Tokens of a text",
    "Where it answers",
    "Where the engram is",
    "Everything else",
)
_MOST_ROWS = 30  # layers in one picture; more are averaged by block


def _about(base: Base, choice: Choice | None = None) -> str:
    """Return the concept whose questions are on offer."""
    about = st.session_state.get("about")
    if about in base.facts.classes:
        return str(about)
    chosen = (choice or session.choice_of(base.facts)).concepts
    known = base.explorer.get("show", {}).get("concepts", [])
    return next((name for name in (*chosen, *known) if name in base.facts.classes), base.facts.classes[0])


def _first_prompt(base: Base) -> str:
    known = base.explorer.get("show", {}).get("prompt")
    if known:
        return str(known)
    questions = texts.questions_of(base, _about(base))
    return questions[0].prompt if questions else "The"


def inputs(base: Base) -> None:
    """Choose or write a prompt."""
    st.markdown("##### Prompt")
    if not isinstance(st.session_state.get("prompt"), str):
        st.session_state["prompt"] = _first_prompt(base)
    most = started().most_characters
    st.session_state["prompt"] = st.session_state["prompt"][:most]
    st.text_area(
        "Prompt",
        key="prompt",
        persist_state="session",
        max_chars=most,
        label_visibility="collapsed",
        height=80,
    )
    _presets(base)
    with st.expander("How it writes"):
        _writing(base)


def _presets(base: Base) -> None:
    session.tidy("about", base.facts.classes)
    st.selectbox(
        "A question about",
        base.facts.classes,
        index=None,
        key="about",
        persist_state="session",
        placeholder=_about(base),
    )
    # Its list follows the concept and it keeps no choice of its own: the prompt is what counts.
    questions = texts.questions_of(base, _about(base))
    st.session_state["_question"] = None
    st.selectbox(
        "Ask",
        range(len(questions)),
        index=None,
        key="_question",
        format_func=lambda i: (
            f"{questions[i].prompt} …" + ("" if questions[i].recorded else " (not recorded)")
        ),
        on_change=_asked,
        args=(questions,),
        placeholder=f"{len(questions)} questions",
        label_visibility="collapsed",
    )


def _listed(question: texts.Question) -> str:
    return f"{question.prompt} …" + ("" if question.recorded else " (not recorded)")


def _asked(questions: list[texts.Question]) -> None:
    chosen = st.session_state.get("_question")
    if chosen is not None:
        st.session_state["prompt"] = questions[chosen].prompt


def _writing(base: Base) -> None:
    most = started().most_tokens
    for key, default, low, high in (
        ("tokens", 12, 1, most),
        ("temperature", 0.0, 0.0, 2.0),
        ("seed", 0, 0, 10_000),
    ):
        session.tidy(key, low=low, high=high)
        st.session_state.setdefault(key, default)
    st.slider("Most new tokens", 1, most, key="tokens", persist_state="session")
    st.slider(
        "Temperature",
        0.0,
        2.0,
        step=0.1,
        key="temperature",
        persist_state="session",
        help="0 takes the likeliest token. Above, tokens are drawn: the same seed gives the same text.",
    )
    st.number_input("Seed", 0, 10_000, key="seed", persist_state="session")
    if texts.has_chat(base):
        session.tidy("chat", (True, False))
        st.toggle(
            "Ask as in a chat",
            key="chat",
            persist_state="session",
            help="Puts the prompt into the model's chat template.",
        )


def _options(base: Base) -> dict[str, Any]:
    state = st.session_state
    return {
        "max_new_tokens": int(state.get("tokens", 12)),
        "temperature": float(state.get("temperature", 0.0)),
        "seed": int(state.get("seed", 0)),
        "chat": bool(state.get("chat")) and texts.has_chat(base),
    }


def _answer(base: Base, prompt: str, choice: Choice) -> str:
    """Return the right continuation of a prompt, if it is a known question."""
    for name in dict.fromkeys((_about(base, choice), *choice.concepts)):
        for question in texts.questions_of(base, name):
            if question.prompt.strip() == prompt.strip():
                return question.answer
    return ""


def _facts(base: Base, proof: Proof) -> str:
    layers = f"{len(proof.per_layer)} layer{'s' if len(proof.per_layer) > 1 else ''}"
    size = f"size of the edit ‖ΔW‖/‖W‖ = {proof.relative:.2f} in {layers} · " if proof.on else ""
    return f"{size}base {base.facts.name}, SHA-256 {proof.digest[:8]}"


def outputs(base: Base, visitor: Visitor, choice: Choice, proof: Proof, top, right) -> None:  # noqa: ANN001
    """Draw how both models go on, as they write, and the next token."""
    prompt, options = st.session_state["prompt"], _options(base)
    panel, button = top.empty(), top.empty()
    shown = {
        "answer": _answer(base, prompt, choice),
        "status": describe_edit(choice),
        "on": proof.on,
        "facts": _facts(base, proof),
        "hint": None if choice.concepts else _EMPTY,
    }
    if not prompt.strip():
        panel.warning("The prompt is empty. Write a word, or choose a question.")
        return
    try:
        with right:
            _next(base, visitor, choice, prompt, chat=options["chat"])
        _stream(base, visitor, choice, prompt, options, shown, panel, button)
    except EngramError as error:
        panel.warning(str(error))


def _stream(base, visitor, choice, prompt, options, shown, panel, button) -> None:  # noqa: ANN001
    signature = (base.facts.name, prompt, choice, tuple(sorted(options.items())))
    stopped = st.session_state.get("_stopped")
    if stopped is not None and stopped[0] == signature:
        panel.html(text_hero(prompt, *stopped[1], done=True, **shown))
        button.caption("Stopped. Change anything, or ask again, to go on.")
        return
    far = texts.Continuation("", "", False)
    for number, far in enumerate(texts.continue_both(base, visitor, choice, prompt, **options)):
        st.session_state["_far"] = (signature, (far.base, far.edited))
        panel.html(text_hero(prompt, far.base, far.edited, done=far.done, **shown))
        if number == 0 and not far.done:
            button.button("Stop writing", on_click=_stop, key="stop", type="tertiary")
    button.empty()


def _stop() -> None:
    st.session_state["_stopped"] = st.session_state.get("_far")


def _next(base: Base, visitor: Visitor, choice: Choice, prompt: str, *, chat: bool) -> None:
    table = texts.next_table(base, visitor, prompt, chat=chat)
    title = "The next token"
    frame.heading(title, tokens.HOW_TOKENS["next"])
    frame.figure(
        "next",
        tokens.next_token_figure(table),
        page="live",
        text=title,
        how=tokens.HOW_TOKENS["next"],
        words=tokens.say_next(table),
        base=base,
        choice=choice,
        numbers=table,
        code=(
            "from engram_core.language import next_tokens\n"
            f"table = next_tokens(sample.model, edited, sample.task.tokenizer, {prompt!r}, k=8, chat={chat})"
        ),
    )


def example(base: Base, visitor: Visitor, values: Mapping[str, Any]) -> str:
    """Return the panel of an example as HTML: one prompt, continued before and after."""
    choice = clean(dict(values), base.facts)
    proof = visitor.put(choice)
    prompt = str(values.get("prompt") or texts.questions_of(base, choice.concepts[0])[0].prompt)
    options = {"max_new_tokens": 8, "temperature": 0.0, "seed": 0, "chat": False}
    far = list(texts.continue_both(base, visitor, choice, prompt, **options))[-1]
    answer = next((q.answer for q in texts.questions_of(base, choice.concepts[0]) if q.prompt == prompt), "")
    return text_hero(
        prompt,
        far.base,
        far.edited,
        answer=answer,
        done=True,
        status=describe_edit(choice),
        on=proof.on,
        facts=_facts(base, proof),
    )


# -- what changed inside -----------------------------------------------------------------------


def more(base: Base, visitor: Visitor, choice: Choice) -> None:
    """Draw what changed inside: one section at a time, so that only what is looked at is computed."""
    controls.ready("section", SECTIONS, SECTIONS[0])
    section = st.segmented_control(
        "Look closer", SECTIONS, key="section", persist_state="session", required=True
    )
    concept = choice.concepts[0] if choice.concepts else _about(base, choice)
    prompt = st.session_state["prompt"]
    text = f"{prompt} {_answer(base, prompt, choice)}".strip()
    try:
        if section == SECTIONS[0]:
            _questions(base, visitor, choice)
        elif section == SECTIONS[1]:
            _tokens(base, visitor, choice, text)
        elif section == SECTIONS[2]:
            _where(base, choice, concept, text)
        elif section == SECTIONS[3]:
            _energy(base, choice, concept)
        else:
            _rest(base, visitor, choice)
    except EngramError as error:
        st.warning(str(error))


def _questions(base: Base, visitor: Visitor, choice: Choice) -> None:
    concepts = choice.concepts[:12] or (_about(base, choice),)
    table = texts.answers(base, visitor, choice, concepts)
    lost = table["base exact"] & ~table["edited exact"]
    unseen = table["split"] == "probe"
    frame.heading(SECTIONS[0], HOW["questions"])
    frame.table(
        "questions",
        table.sort_values("split", kind="stable"),
        page="live",
        text=SECTIONS[0],
        how=HOW["questions"],
        words=(
            f"{len(table)} questions about {', '.join(concepts)}: {int(table['base exact'].sum())} answered "
            f"exactly before, {int(table['edited exact'].sum())} after. Of the {int(unseen.sum())} that were "
            f"never recorded, {int((lost & unseen).sum())} are lost. Mean NLL of the answers "
            f"{table['base nll'].mean():.2f} → {table['edited nll'].mean():.2f} nats per token."
        ),
        base=base,
        choice=choice,
        code=(
            "from engram_core.language import recall\n"
            f"after = recall(edited, sample.task.tokenizer, sample.task.texts, concepts={list(concepts)!r})"
        ),
    )


def _tokens(base: Base, visitor: Visitor, choice: Choice, text: str) -> None:
    frame.heading(SECTIONS[1], tokens.HOW_TOKENS["strip"])
    by_layer = st.toggle("Layer by layer", key="_by_layer", help=HOW["by_layer"]) and choice.changes
    by = None
    if by_layer:
        by = "layer" if len(choice.layers) <= _MOST_ROWS else "blocks"
    table = texts.changes(base, visitor, text, by=by)
    whole = table[table["part"] == "whole edit"] if "part" in table else table
    frame.table(
        "tokens",
        table,
        page="live",
        text=SECTIONS[1],
        how=tokens.HOW_TOKENS["strip"],
        words=tokens.say_tokens(whole),
        base=base,
        choice=choice,
        html=tokens.token_strip_html(whole, label="The prompt and its known answer"),
        code=_code("token_changes", f"sample.model, edited, sample.task.tokenizer, {text!r}, by={by!r}"),
    )
    if by_layer:
        parts = table[table["part"] != "whole edit"]
        frame.figure(
            "tokens_by_layer",
            tokens.layer_token_heatmap(parts, rows="part", value="change"),
            page="live",
            text="Tokens, layer by layer",
            how=HOW["by_layer"],
            words=tokens.say_map(parts, rows="part", value="change"),
            base=base,
            choice=choice,
            numbers=parts,
            code=_code("token_changes", f"sample.model, edited, sample.task.tokenizer, {text!r}, by={by!r}"),
        )


def _where(base: Base, choice: Choice, concept: str, text: str) -> None:
    table = texts.reactivation(base, choice, concept, text)
    rows = "layer" if table["layer"].nunique() <= _MOST_ROWS else "block"
    title = f"Where {concept} answers the tokens of the prompt"
    frame.heading(title, tokens.HOW_TOKENS["map"])
    frame.figure(
        "where",
        tokens.layer_token_heatmap(table, rows=rows),
        page="live",
        text=title,
        how=tokens.HOW_TOKENS["map"],
        words=tokens.say_map(table, rows=rows),
        base=base,
        choice=choice,
        numbers=table,
        code=_code("reactivation_map", f"sample.model, atlas, {concept!r}, sample.task.tokenizer, {text!r}"),
    )


def _rest(base: Base, visitor: Visitor, choice: Choice) -> None:
    frame.heading(SECTIONS[4], HOW["rest"])
    if not choice.changes:
        st.caption("Nothing is edited, so nothing else has changed.")
        return
    status, table = st.empty(), None
    for share, doing, table in texts.rest(base, visitor, choice):  # noqa: B007
        if table is None:
            status.progress(min(share, 1.0), text=f"Measuring the rest: {doing}")
    status.empty()
    assert table is not None
    values = table.set_index("measure")
    others = values.loc["recall, others"] if "recall, others" in values.index else None
    said = "" if others is None else f"Others: recall {others['before']:.1%} → {others['after']:.1%}. "
    rate = values.loc["degenerate rate"] if "degenerate rate" in values.index else None
    said += "" if rate is None else f"Degenerate texts: {rate['before']:.1%} → {rate['after']:.1%}."
    frame.table(
        "rest",
        table,
        page="live",
        text=SECTIONS[4],
        how=HOW["rest"],
        words=said,
        base=base,
        choice=choice,
        code=_code(
            "damage", "sample.model, edited, sample.task.tokenizer, sample.task.texts, max_new_tokens=24"
        ),
    )


def _energy(base: Base, choice: Choice, concept: str) -> None:
    table: pd.DataFrame = texts.energy(base, choice, concept)
    title = f"Which modules hold the engram of {concept}"
    frame.heading(title, tokens.HOW_TOKENS["modules"])
    frame.figure(
        "energy",
        tokens.module_heatmap(table),
        page="live",
        text=title,
        how=tokens.HOW_TOKENS["modules"],
        words=tokens.say_modules(table),
        base=base,
        choice=choice,
        numbers=table,
        code=_code("module_energy", f"atlas, {concept!r}"),
    )


def _code(function: str, arguments: str) -> str:
    return f"from engram_core.language import {function}\ntable = {function}({arguments})"
