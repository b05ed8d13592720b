"""The live page for language models: a prompt, and how both models go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engram_core.errors import EngramError

from ...choice.choice import Choice, clean
from ...compute import texts
from ...compute.edited_view import Proof, Visitor
from ...figures.charts.next_token import next_token_figure
from ...figures.panels.hero import text_hero
from ...figures.words.as_text import Markdown, filled, plain
from ...figures.words.continuations import say_texts
from ...figures.words.live import HOW
from ...figures.words.tokens import HOW_TOKENS, say_next
from ...options import server_options
from ...page import parts
from ...page.snippets import continuations_code
from ...server.base import Base
from . import chat
from .asking import about_of, first_prompt, presets, writing_of
from .inside import draw
from .places import Places
from .proof import status

__all__ = ["INPUT", "TITLE", "ask", "example", "inputs", "more", "outputs", "stage"]

TITLE = "Erase a fact and watch what the model says"
INPUT: Markdown = "Prompt"  # what its inputs are called, for a button


def ask(base: Base) -> None:
    """Choose or write a prompt, in one row; in a conversation a question only, which is said below."""
    chat.form(base)
    if chat.chatting(base):
        with st.container(key="ask"):
            left, right = st.columns(2, vertical_alignment="bottom")
        presets(base, left, right)
        return
    if not isinstance(st.session_state.get("prompt"), str):
        st.session_state["prompt"] = first_prompt(base)
    most = server_options().most_characters
    st.session_state["prompt"] = st.session_state["prompt"][:most]
    with st.container(key="ask"):
        left, middle, right = st.columns([6, 3, 3], vertical_alignment="bottom")
    with left:
        st.text_area(
            "Prompt", key="prompt", persist_state="session", max_chars=most, height=68,
            label_visibility="collapsed",
        )  # fmt: skip
    presets(base, middle, right)


def stage(base: Base) -> DeltaGenerator:
    """Return the place of both answers to a prompt."""
    return st.container(key="stage_panel")


def inputs(base: Base) -> None:
    """Draw the generation settings, folded; see `asking.writing_of`."""
    with st.expander("Generation settings"):
        writing_of(base)


def _options(base: Base) -> dict[str, Any]:
    state = st.session_state
    return {
        "max_new_tokens": int(state["tokens"]),
        "temperature": float(state["temperature"]),
        "seed": int(state["seed"]),
        "chat": bool(state.get("chat")) and texts.has_chat(base),
    }


def _answer(base: Base, prompt: str, choice: Choice) -> str:
    """Return the right continuation of a prompt, if it is a known question."""
    for name in dict.fromkeys((about_of(base, choice), *choice.concepts)):
        for question in texts.questions_of(base, name):
            if question.prompt.strip() == prompt.strip():
                return question.answer
    return ""


def _offer(base: Base, choice: Choice, prompt: str) -> None:
    """Offer a question about what is switched off, where the prompt is none."""
    if choice.keeps or not choice.concepts:
        return
    known = {name: texts.questions_of(base, name) for name in choice.concepts}
    if any(question.prompt.strip() == prompt.strip() for found in known.values() for question in found):
        return
    name = choice.concepts[-1]
    if not known[name] or name.casefold() in prompt.casefold():
        return
    with st.container(horizontal=True, vertical_alignment="center", key="offer_row"):
        said = filled("The prompt is no question about **{}**, which is erased.", name)
        st.markdown(said, width="content")
        st.button(
            filled("Ask about {}", name), key="show_erased", icon=":material/help:",
            on_click=_ask_about, args=(name, known[name][0].prompt),
        )  # fmt: skip


def _ask_about(name: str, prompt: str) -> None:
    st.session_state["about"], st.session_state["prompt"] = name, prompt


def outputs(base: Base, visitor: Visitor, choice: Choice, proof: Proof, places: Places) -> None:
    """Draw how both models go on, as they write, and the next token."""
    if chat.chatting(base):
        chat.draw(base, choice, proof, places)
        _next_behind(base, visitor, choice, places, _prompt(base), template=True)
        return
    prompt, options = st.session_state["prompt"], _options(base)
    panel, button, offer = places.panel.empty(), places.panel.empty(), places.panel.container()
    with offer:
        _offer(base, choice, prompt)
    answer = _answer(base, prompt, choice)
    shown: dict[str, Any] = {"answer": answer} | status(base, choice, proof)
    if not prompt.strip():
        panel.warning("The prompt is empty. Write a word, or choose a question.")
        return
    try:
        if answer:
            shown["chances"] = texts.answer_chances(base, visitor, prompt, answer, chat=options["chat"])
        _next_behind(base, visitor, choice, places, prompt, template=options["chat"])
        far, html = _stream(base, choice, prompt, options, shown, panel, button)
        if places.foot is not None:
            with places.foot:
                made = _panel(html, far, prompt, options)
                parts.Part("live", "Both continuations", HOW["texts"], base, choice).below("panel", made)
    except EngramError as error:
        panel.warning(plain(error))


def _stream(base, choice, prompt, options, shown, panel, button) -> tuple[texts.Continuation, str]:  # noqa: ANN001
    """Write into the panel as both models do; return what they wrote, and the panel at the end."""
    signature = (base.facts.name, prompt, choice, tuple(sorted(options.items())))
    stopped = st.session_state.get("_stopped")
    if stopped is not None and stopped[0] == signature:
        base_text, edited_text = stopped[1]
        html = text_hero(prompt, base_text, edited_text, done=True, **shown)
        panel.html(html)
        button.caption("Stopped. Change anything, or ask again, to go on.")
        return texts.Continuation(base_text, edited_text, False), html
    html = ""
    far = texts.Continuation("", "", False)
    for number, far in enumerate(texts.continue_both(base, choice, prompt, **options)):
        st.session_state["_far"] = (signature, (far.base, far.edited))
        html = text_hero(prompt, far.base, far.edited, done=far.done, **shown)
        panel.html(html)
        if number == 0 and not far.done:
            button.button("Stop writing", on_click=_stop, key="stop", type="tertiary")
    button.empty()
    return far, html


def _panel(html: str, far: texts.Continuation, prompt: str, options: Mapping[str, Any]) -> parts.Panel:
    numbers = pd.DataFrame(
        {"model": ["base", "edited"], "prompt": prompt, "continuation": [far.base, far.edited]}
    )
    code = continuations_code(prompt, **options)
    if not far.done:
        code += "\n# On the page, writing was stopped before its end: these texts go on."
    return parts.Panel(html, say_texts(far.base, far.edited), numbers, code)


def _prompt(base: Base) -> str:
    """Return what was asked last."""
    turns = chat.said() if chat.chatting(base) else []
    prompt = st.session_state.get("prompt")
    return turns[-1] if turns else prompt if isinstance(prompt, str) else first_prompt(base)


def _next_behind(
    base: Base, visitor: Visitor, choice: Choice, places: Places, prompt: str, *, template: bool
) -> None:
    if places.right is None:
        return
    with places.right:
        _next(base, visitor, choice, prompt, chat=template)


def _stop() -> None:
    st.session_state["_stopped"] = st.session_state.get("_far")


def _next(base: Base, visitor: Visitor, choice: Choice, prompt: str, *, chat: bool) -> None:
    table = texts.next_table(base, visitor, prompt, chat=chat)
    parts.part("live", "Next-token probabilities", HOW_TOKENS["next"], base, choice).figure(
        "next",
        next_token_figure(table),
        words=say_next(table),
        numbers=table,
        code=(
            "from engram_core.language import next_tokens\n"
            f"table = next_tokens(sample.model, edited, sample.task.tokenizer, {prompt!r}, k=8, chat={chat})"
        ),
    )


def example(base: Base, visitor: Visitor, values: Mapping[str, Any]) -> tuple[parts.Part, parts.Panel]:
    """Return the panel of an example and what it is called: one prompt, continued before and after."""
    choice = clean(dict(values), base.facts)
    proof = visitor.put(choice)
    prompt = str(values.get("prompt") or texts.questions_of(base, choice.concepts[0])[0].prompt)
    options = {"max_new_tokens": 8, "temperature": 0.0, "seed": 0, "chat": False}
    far = list(texts.continue_both(base, choice, prompt, **options))[-1]
    answer = next((q.answer for q in texts.questions_of(base, choice.concepts[0]) if q.prompt == prompt), "")
    chances = texts.answer_chances(base, visitor, prompt, answer, chat=False) if answer else None
    html = text_hero(
        prompt,
        far.base,
        far.edited,
        answer=answer,
        done=True,
        chances=chances,
        **status(base, choice, proof),
    )
    part = parts.Part("start", "The example: one prompt, both continuations", HOW["texts"], base, choice)
    return part, _panel(html, far, prompt, options)


def more(base: Base, visitor: Visitor, choice: Choice) -> None:
    """Draw what changed inside for a text."""
    prompt = _prompt(base)
    text = f"{prompt} {_answer(base, prompt, choice)}".strip()
    draw(base, visitor, choice, about=about_of(base, choice), text=text)
