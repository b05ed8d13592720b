"""What a language model is asked, and how it writes: questions on offer, and the settings of generation."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...choice.choice import Choice, writing
from ...compute import texts
from ...options import server_options
from ...server.base import Base
from ...session import state
from . import chat

__all__ = ["about_of", "first_prompt", "presets", "writing_of"]


def about_of(base: Base, choice: Choice | None = None) -> str:
    """Return the concept whose questions are on offer."""
    about = st.session_state.get("about")
    if about in base.facts.classes:
        return str(about)
    chosen = (choice or state.choice_of(base.facts)).concepts
    known = base.explorer.get("show", {}).get("concepts", [])
    return next((name for name in (*chosen, *known) if name in base.facts.classes), base.facts.classes[0])


def first_prompt(base: Base) -> str:
    """Return what is asked before anybody has asked anything."""
    known = base.explorer.get("show", {}).get("prompt")
    if known:
        return str(known)
    questions = texts.questions_of(base, about_of(base))
    return questions[0].prompt if questions else "The"


def presets(base: Base, middle: DeltaGenerator, right: DeltaGenerator) -> None:
    """Offer the questions about a concept: the concept in one place, its questions in the other."""
    state.tidy("about", base.facts.classes)
    with middle:
        st.selectbox(
            "A question about",
            base.facts.classes,
            index=None,
            key="about",
            persist_state="session",
            placeholder=about_of(base),
        )
    # Its list follows the concept and it keeps no choice of its own: the prompt is what counts.
    questions = texts.questions_of(base, about_of(base))
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
    if chosen is None:
        return
    if st.session_state.get("form") == chat.CHAT:
        chat.say(questions[chosen].prompt)
    else:
        st.session_state["prompt"] = questions[chosen].prompt


def writing_of(base: Base) -> None:
    """Choose how both models write."""
    bounds = {}
    for key, (start, low, high) in writing(server_options().most_tokens).items():
        bounds[key] = low, high
        state.tidy(key, low=low, high=high)
        st.session_state.setdefault(key, start)
    if chat.chatting(base):
        st.session_state["chat_tokens"] = chat.settings()["max_new_tokens"]
        st.slider("Most new tokens", *bounds["tokens"], key="chat_tokens", persist_state="session")
    else:
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
    if texts.has_chat(base) and not chat.chatting(base):
        state.tidy("chat", (True, False))
        st.toggle(
            "Ask as in a chat",
            key="chat",
            persist_state="session",
            help="Puts the prompt into the model's chat template.",
        )
