"""Scenes on the page: from one to the next by buttons and arrow keys, and the list of them."""

from __future__ import annotations

import streamlit as st

from ..choice.scenes import LONGEST_SENTENCE, MOST, Scene
from ..figures.words.as_text import Markdown, filled, plain
from ..options import server_options
from ..session import scenes

__all__ = ["scene_bar", "scene_note"]

# Left and right, and what a presenter's remote control sends. Not while somebody types, nor on what has arrow
# keys of its own. The buttons do the work, so keys can do nothing that a click cannot.
_JS = """
export default function () {
  if (window.engramScenes) return;
  const taken = 'input, textarea, select, canvas, [contenteditable=true], [role=slider], [role=radio], '
    + '[role=tab], [role=combobox], [role=listbox], [role=option], [role=menu], [role=menuitem], '
    + '[role=grid], [role=dialog], [data-testid=stPopoverBody]';
  const ways = { ArrowLeft: 'previous', PageUp: 'previous', ArrowRight: 'next', PageDown: 'next' };
  window.engramScenes = event => {
    const way = ways[event.key];
    if (!way || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey)
      return;
    if (event.target.closest?.(taken)) return;
    // Out of presenter mode the page keys turn pages, as everywhere.
    if (event.key.startsWith('Page') && !document.querySelector('.st-key-dock')) return;
    const button = document.querySelector(`.st-key-scene_${way} button`);
    if (!button || button.disabled) return;
    event.preventDefault();
    button.click();
  };
  window.addEventListener('keydown', window.engramScenes);
}
"""

_component = None


def _keys() -> None:
    global _component
    if _component is None:
        _component = st.components.v2.component("engram_scenes", js=_JS)
    _component(key="scene_keys")


def scene_bar(page: str, *, large: bool) -> None:
    """Draw the way to the scene before and after, and the list of all.

    Args:
        page: page that is shown.
        large: whether what is to be seen stands there too, as in a presentation.
    """
    known = scenes.all_scenes()
    if known:
        _step(page, "previous", -1)
    if known and large:
        with st.container(key="scene_sentence", width="stretch"):
            st.markdown(_said(page))
    if known and large:
        _step(page, "next", 1)
    _list(page)
    if known and not large:
        _step(page, "next", 1)
    if known:
        _keys()


def scene_note(page: str) -> Markdown:
    """Return what is to be seen in the scene that is shown; "" between two."""
    return _said(page) if scenes.shown_in(page) is not None else ""


def _step(page: str, way: str, by: int) -> None:
    arrow, key = (":material/arrow_back:", "left") if by < 0 else (":material/arrow_forward:", "right")
    st.button(
        "", key=f"scene_{way}", icon=arrow, type="tertiary", on_click=scenes.step_scene, args=(page, by),
        help=f"{plain(way.capitalize())} scene ({plain(key)} arrow key)",
    )  # fmt: skip


def _said(page: str) -> Markdown:
    """Say which scene is shown, and what is to be seen in it: of a view that was changed, nothing."""
    known, shown, place = scenes.all_scenes(), scenes.shown_in(page), scenes.place_in(page)
    if shown is not None:
        return filled("**{} of {}** · {}", shown + 1, len(known), known[shown].sentence)
    if place is not None:
        return filled("**{} of {}** · changed since", place + 1, len(known))
    return filled("**{} scenes** · the right arrow key opens the first", len(known))


def _list(page: str) -> None:
    """Draw the button behind which all scenes stand, to be opened, ordered, removed, and added to."""
    known = scenes.all_scenes()
    with st.popover("Scenes", icon=":material/slideshow:", type="tertiary", key="scenes_popover"):
        st.markdown(
            "**Scenes.** Views in an order, with a sentence each. The arrow keys go from one to the next. A "
            "session file (under Share) keeps them."
        )
        shown = scenes.shown_in(page)
        for place, scene in enumerate(known):
            _row(place, scene, last=place == len(known) - 1, shown=place == shown)
        if server_options().demo:
            return  # where no session file can be opened, a list of one's own would be lost
        if scenes.own_scenes() is not None:
            st.button(
                "Bring back the scenes that come with the explorer", key="scenes_restore",
                on_click=scenes.put_scenes, args=(None,), width="stretch",
            )  # fmt: skip
        if len(known) >= MOST:
            st.caption(f"There is room for {MOST} scenes.")
            return
        st.text_input(
            "What is to be seen in this view", key="_scene_sentence", max_chars=LONGEST_SENTENCE,
            placeholder="One sentence for the room",
        )  # fmt: skip
        st.button(
            "Save this view as a scene", key="scene_save", icon=":material/add:", width="stretch",
            on_click=_save, args=(page,),
        )  # fmt: skip


def _row(place: int, scene: Scene, *, last: bool, shown: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"scene_row_{place}", wrap=False):
        st.button(
            filled("{}. {}", place + 1, scene.sentence), key=f"scene_open_{place}", width="stretch",
            type="primary" if shown else "tertiary", on_click=scenes.to_scene, args=(place,),
        )  # fmt: skip
        if server_options().demo:
            return
        st.button(
            "", key=f"scene_up_{place}", icon=":material/arrow_upward:", help="Earlier", type="tertiary",
            disabled=place == 0, on_click=scenes.move_scene, args=(place, -1),
        )  # fmt: skip
        st.button(
            "", key=f"scene_down_{place}", icon=":material/arrow_downward:", help="Later", type="tertiary",
            disabled=last, on_click=scenes.move_scene, args=(place, 1),
        )  # fmt: skip
        st.button(
            "", key=f"scene_remove_{place}", icon=":material/delete:", type="tertiary",
            help=plain(f"Remove scene {place + 1}"), on_click=scenes.remove_scene, args=(place,),
        )  # fmt: skip


def _save(page: str) -> None:
    sentence = str(st.session_state.get("_scene_sentence") or "").strip()
    scenes.add_scene(sentence or f"A view of the page {page}", page)
    st.session_state["_scene_sentence"] = ""
