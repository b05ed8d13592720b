"""The share menu: a link to the view, the session as a file, and the report."""

from __future__ import annotations

from urllib.parse import parse_qs

import streamlit as st

from ..choice.address import SessionFileError, from_file, to_file, to_query
from ..choice.pages import PAGES, path_of
from ..choice.scenes import as_data, scenes_in
from ..choice.short_address import query_of
from ..figures.words.as_text import plain
from ..options import server_options
from ..session import arrival, scenes, state
from ..session.written_address import keys_without_room, next_address
from .downloads import offered_items
from .report import report_page

__all__ = ["address", "share_menu"]


def address() -> dict[str, list[str]]:
    """Return the keys and texts of the address of the present view."""
    return parse_qs(to_query(state.values()), keep_blank_values=True)


def _link(page: str) -> str:
    origin = (st.context.url or "").split("?")[0].rstrip("/")
    for name in PAGES:
        origin = origin.removesuffix(f"/{path}") if (path := path_of(name)) else origin
    # By name and not by path: so it works without the gate, too, where the paths of pages cause errors.
    return f"{origin}/?" + "&".join(part for part in (f"page={page}", query_of(next_address())) if part)


def share_menu(page: str) -> None:
    """Draw the menu: link, session file and report."""
    with st.popover("Share", icon=":material/ios_share:", type="tertiary", key="share"):
        link = _link(page)
        st.markdown(
            "**Link to this view.** It shows what you see to anyone who opens it on this server. To copy it, "
            "press the :material/content_copy: at the right end of the line."
        )
        st.code(link, language=None, wrap_lines=True)
        if missing := keys_without_room():
            st.caption(
                plain(
                    f"The link leaves out {', '.join(missing)}: with it, it would be longer than mails and "
                    "servers take. A session file holds everything."
                )
            )
        st.markdown("**Session file.** The same as a small JSON file, to keep and to open again.")
        st.download_button(
            "Save the session", to_file(page, address(), **_scenes()), "engram-session.json",
            "application/json", on_click="ignore", width="stretch", key="save_session",
        )  # fmt: skip
        if not server_options().demo:
            _open_session()
        st.markdown(
            "**Report.** Every figure you have looked at, with its numbers, as one offline HTML file."
        )
        items = offered_items()
        st.download_button(
            "Report",
            # Made when asked for: this menu is drawn before the figures below it.
            lambda: report_page(list(items.values()), title="Engram Explorer: report", link=link),
            "engram-report.html",
            "text/html",
            on_click="ignore",
            width="stretch",
            key="save_report",
        )


def _scenes() -> dict[str, object]:
    """Return the visitor's own scenes as a session file holds them; nothing while there are none."""
    own = scenes.own_scenes()
    return {} if own is None else {"scenes": as_data(own)}


def _open_session() -> None:
    file = st.file_uploader("Open a session file", type=["json"], key="_session_file", max_upload_size=1)
    if file is None or st.session_state.get("_opened") == file.file_id:
        return
    try:
        page, texts = from_file(file.getvalue(), PAGES)
        found = scenes_in(file.getvalue(), PAGES)
    except SessionFileError as error:
        st.warning(plain(error))
        return
    st.session_state["_opened"] = file.file_id
    if found is not None:
        scenes.put_scenes(found)
    arrival.open_address(page, texts)
