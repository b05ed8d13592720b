"""Live with a model that chats: one conversation with base and edited model, side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from engram_core.errors import EngramError

from ...choice.choice import Choice
from ...choice.short_address import LONGEST
from ...compute import texts
from ...compute.chat import Talk, converse
from ...compute.edited_view import Proof
from ...figures.panels.chat import answer_html, said_html
from ...figures.panels.hero import status_bar
from ...figures.words.as_text import Markdown, plain
from ...options import server_options
from ...page import parts
from ...page.chat_snippet import chat_code
from ...server.base import Base
from ...session import state
from .places import Places
from .proof import status

__all__ = ["COMPLETION", "FORMS", "chatting", "draw", "form", "said", "say", "settings"]

# These texts stand in the address: a change breaks links.
FORMS = CHAT, COMPLETION = "chat", "completion"
_WORDS = {CHAT: "Chat", COMPLETION: "Continue a text"}
_MOST_TURNS = 8
_TOKENS = 48
_HEIGHT, _PRESENTED = 330, 150  # pixels of a side, which scrolls; presenting, all else stands below
_HOW: Markdown = (
    "**How to read this.** You speak to both models at once, in the form of the model's own chat template. "
    "Each side answers by itself and remembers its own answers, so the two conversations may part. When the "
    "edit changes, the edited side answers everything again. The last line says what is on, how large the "
    "edit is against the weights it changes, and which model was loaded."
)


def chatting(base: Base) -> bool:
    """Return whether the page is a conversation: of a model that chats, unless a text is to be continued."""
    if not texts.has_chat(base):
        return False
    chosen = st.session_state.get("form")
    if chosen in FORMS:
        return bool(chosen == CHAT)
    # Links of before name a prompt and no form.
    return not isinstance(st.session_state.get("prompt"), str)


def form(base: Base) -> None:
    """Choose between a conversation and the continuation of a text."""
    if not texts.has_chat(base):
        return
    now = CHAT if chatting(base) else COMPLETION
    state.tidy("form", FORMS)
    st.session_state["form"] = now
    st.segmented_control(
        "Form", FORMS, format_func=lambda name: plain(_WORDS[name]), key="form", persist_state="session",
        required=True, label_visibility="collapsed",
    )  # fmt: skip


def said() -> list[str]:
    """Return what the visitor has said, in order, as far as a conversation here may go."""
    most = server_options().most_characters
    given = st.session_state.get("said") or []
    return [text[:most] for text in given if isinstance(text, str) and text.strip()][-_MOST_TURNS:]


def _say() -> None:
    text = str(st.session_state.get("_say") or "").strip()
    if text:
        st.session_state["said"] = [*said(), text][-_MOST_TURNS:]


def say(text: str) -> None:
    """Say something; for callbacks."""
    st.session_state["said"] = [*said(), text][-_MOST_TURNS:]


def _forget() -> None:
    st.session_state["said"] = []


def settings() -> dict[str, Any]:
    """Return how both models answer."""
    values = st.session_state
    most = min(_TOKENS, server_options().most_tokens)
    state.tidy("chat_tokens", low=1, high=server_options().most_tokens)
    return {
        "max_new_tokens": int(values.get("chat_tokens") or most),
        "temperature": float(values.get("temperature") or 0.0), "seed": int(values.get("seed") or 0),
    }  # fmt: skip


def draw(base: Base, choice: Choice, proof: Proof, places: Places) -> None:
    """Draw the conversation as both models speak."""
    turns = said()
    height = _PRESENTED if st.session_state.get("present") is True else _HEIGHT
    with places.panel:
        sides = st.columns(2)
        spots = {}
        for kind, title, side in zip(("base", "edited"), ("Base model", "Edited model"), sides, strict=True):
            with side:
                st.markdown(f"**{plain(title)}**")
                with st.container(border=True, height=height, key=f"chat_{kind}", autoscroll=True):
                    spots[kind] = _places(turns)
        shown = status(base, choice, proof)
        st.html(status_bar(shown["status"], shown["on"], shown["facts"]))
        with st.container(horizontal=True, vertical_alignment="center", key="chat_row"):
            st.chat_input(
                "Say something to both models", key="_say", on_submit=_say,
                max_chars=min(server_options().most_characters, LONGEST),
            )  # fmt: skip
            st.button(
                "New conversation", icon=":material/restart_alt:", type="tertiary", key="chat_forget",
                on_click=_forget, disabled=not turns,
            )  # fmt: skip
    if not turns:
        for kind in ("base", "edited"):
            spots[kind][0].caption("Say something below, or choose a question.")
        return
    talk = Talk((), (), False)
    try:
        for talk in converse(base, choice, turns, **settings()):
            _show(spots, talk)
    except EngramError as error:
        places.panel.warning(plain(error))
        return
    if places.foot is not None:
        with places.foot:
            part = parts.Part("live", "Both conversations", _HOW, base, choice)
            part.below("panel", _panel(turns, talk))


def _places(turns: list[str]) -> list[Any]:
    """Draw what was said; return the place of each answer."""
    found = []
    for text in turns:
        with st.chat_message("user"):
            st.html(said_html(text))
        with st.chat_message("assistant"):
            found.append(st.empty())
    return found or [st.empty()]


def _show(spots: dict[str, list[Any]], talk: Talk) -> None:
    for kind, answers in (("base", talk.base), ("edited", talk.edited)):
        last = len(answers) - 1
        # What stands already is not sent again with every token, but for the end of the one before.
        for number in range(0 if talk.done else max(last - 1, 0), last + 1):
            ended = talk.done or number < last
            spots[kind][number].html(answer_html(answers[number], kind, done=ended, last=number == last))


def _panel(turns: list[str], talk: Talk) -> parts.Panel:
    numbers = pd.DataFrame({
        "number": range(1, len(turns) + 1), "prompt": turns, "base": talk.base, "edited": talk.edited,
    })  # fmt: skip
    same = sum(a == b for a, b in zip(talk.base, talk.edited, strict=True))
    words = f"{same} of {len(turns)} answers are the same on both sides."
    html = "".join(
        f"{said_html(text)}{answer_html(a, 'base', done=True, last=False)}"
        f"{answer_html(b, 'edited', done=True, last=False)}"
        for text, a, b in zip(turns, talk.base, talk.edited, strict=True)
    )
    return parts.Panel(html, words, numbers, chat_code(turns, **settings()))
