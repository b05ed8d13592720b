"""The live page for language models: a prompt, and how both models go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engram_core.errors import EngramError

from ...choice.choice import Choice, clean, writing
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
from ...session import state
from .inside import draw
from .places import Places
from .proof import status

__all__ = ["INPUT", "TITLE", "ask", "example", "inputs", "more", "outputs", "stage"]

TITLE = "Erase a fact and watch what the model says"
INPUT: Markdown = "Prompt"  # what its inputs are called, for a button


def _about(base: Base, choice: Choice | None = None) -> str:
    """Return the concept whose questions are on offer."""
    about = st.session_state.get("about")
    if about in base.facts.classes:
        return str(about)
    chosen = (choice or state.choice_of(base.facts)).concepts
    known = base.explorer.get("show", {}).get("concepts", [])
    return next((name for name in (*chosen, *known) if name in base.facts.classes), base.facts.classes[0])


def _first_prompt(base: Base) -> str:
    known = base.explorer.get("show", {}).get("prompt")
    if known:
        return str(known)
    questions = texts.questions_of(base, _about(base))
    return questions[0].prompt if questions else "The"


def ask(base: Base) -> None:
    """Choose or write a prompt, in one row."""
    if not isinstance(st.session_state.get("prompt"), str):
        st.session_state["prompt"] = _first_prompt(base)
    most = server_options().most_characters
    st.session_state["prompt"] = st.session_state["prompt"][:most]
    with st.container(key="ask"):
        left, middle, right = st.columns([6, 3, 3], vertical_alignment="bottom")
    with left:
        st.text_area(
            "Prompt", key="prompt", persist_state="session", max_chars=most, height=68,
            label_visibility="collapsed",
        )  # fmt: skip
    _presets(base, middle, right)


def stage(base: Base) -> DeltaGenerator:
    """Return the place of both answers."""
    return st.container(key="stage_panel")


def inputs(base: Base) -> None:
    """Choose how both models write."""
    with st.expander("Generation settings"):
        _writing(base)


def _presets(base: Base, middle: DeltaGenerator, right: DeltaGenerator) -> None:
    state.tidy("about", base.facts.classes)
    with middle:
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
    with right:
        st.selectbox(
            "Ask",
            range(len(questions)),
            index=None,
            key="_question",
            format_func=lambda i: _listed(questions[i]),
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
    bounds = {}
    for key, (start, low, high) in writing(server_options().most_tokens).items():
        bounds[key] = low, high
        state.tidy(key, low=low, high=high)
        st.session_state.setdefault(key, start)
    st.slider("Most new tokens", *bounds["tokens"], key="tokens", persist_state="session")
    st.slider(
        "Temperature",
        *bounds["temperature"],
        step=0.1,
        key="temperature",
        persist_state="session",
        help="0 takes the likeliest token. Above, tokens are drawn: the same seed gives the same text.",
    )
    st.number_input("Seed", *bounds["seed"], key="seed", persist_state="session")
    if texts.has_chat(base):
        state.tidy("chat", (True, False))
        st.toggle(
            "Ask as in a chat",
            key="chat",
            persist_state="session",
            help="Puts the prompt into the model's chat template.",
        )


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
    for name in dict.fromkeys((_about(base, choice), *choice.concepts)):
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
        if places.right is not None:
            with places.right:
                _next(base, visitor, choice, prompt, chat=options["chat"])
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
    """Draw what changed inside."""
    prompt = st.session_state["prompt"]
    text = f"{prompt} {_answer(base, prompt, choice)}".strip()
    draw(base, visitor, choice, about=_about(base, choice), text=text)
