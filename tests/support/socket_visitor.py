"""A visitor without a browser: one real session of the running server, spoken to as Streamlit's page does.

A browser spends most of its time drawing. Twenty of them on two cores would measure Chromium; twenty of these
keep the server busy and see every message that a browser would get, the ones that are overwritten at once
included.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlencode

import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

from app.figures.words.as_text import plain

__all__ = ["Shown", "SocketVisitor"]


@dataclass
class Shown:
    """What one run of the live page has sent so far.

    Attributes:
        status: the phrase that names the edit.
        about: which input it is.
        base: what the base model says.
        edited: what the edited model says, or the hint that nothing is edited.
        done: whether the text is complete (always, for images).
        answer: probabilities in per cent that the first figure draws, base and edited.
        scores: scores in per cent that the figure of all concepts draws, base and edited.
    """

    status: str
    about: str
    base: str
    edited: str
    done: bool = True
    answer: tuple[np.ndarray, np.ndarray] | None = None
    scores: tuple[np.ndarray, np.ndarray] | None = None


@dataclass
class SocketVisitor:
    """One session.

    Args:
        port: port of the server.
        seen: called with every panel and figure that arrives, for checks.

    Attributes:
        shown: what the last run has sent so far.
        finished: whether the last run has come to its end.
        cut_short: how many runs were given up for a newer choice.
    """

    port: int
    seen: Callable[[Shown], None]
    shown: Shown | None = None
    finished: bool = False
    cut_short: int = 0
    _socket: ClientConnection | None = None
    _widgets: dict[str, str] = field(default_factory=dict)
    _page: str = ""
    _query: str = ""

    async def open(self, address: list[tuple[str, str]]) -> None:
        """Come with an address."""
        self._socket = await connect(
            f"ws://127.0.0.1:{self.port}/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            origin=f"http://127.0.0.1:{self.port}",  # type: ignore[arg-type]
            max_size=None,
            open_timeout=60,
            ping_timeout=None,
        )
        self._query = urlencode(address)
        await self._run([])

    async def close(self) -> None:
        """Leave, as when a tab is closed."""
        if self._socket is not None:
            await self._socket.close()

    async def choose(self, **values: list[str] | float) -> None:
        """Set widgets by key, as one click after the other would."""
        states = []
        for key, value in values.items():
            if key not in self._widgets:
                raise AssertionError(f"The page has no widget {key!r}; it has {sorted(self._widgets)}.")
            name = self._widgets[key]
            state = WidgetState(id=name)
            if isinstance(value, list):
                # A browser sends back what stands on the button.
                state.string_array_value.data.extend(plain(one) for one in value)
            elif key == "image":
                state.double_value = value
            else:
                state.double_array_value.data.append(value)
            states.append(state)
        await self._run(states)

    async def until(self, ready: Callable[[SocketVisitor], bool], *, seconds: float) -> None:
        """Read what the server sends until a condition holds.

        Raises:
            TimeoutError: if it does not in time.
        """
        async with asyncio.timeout(seconds):
            while not ready(self):
                await self._read()

    async def rest(self, seconds: float) -> None:
        """Do nothing for a while but read."""
        try:
            await self.until(lambda _: False, seconds=seconds)
        except TimeoutError:
            return

    async def _run(self, states: list[WidgetState]) -> None:
        assert self._socket is not None
        message = BackMsg()
        run = message.rerun_script
        run.query_string = self._query
        run.page_script_hash = self._page
        run.widget_states.widgets.extend(states)
        self.shown, self.finished = None, False
        await self._socket.send(message.SerializeToString())

    async def _read(self) -> None:
        assert self._socket is not None
        data = await self._socket.recv()
        assert isinstance(data, bytes)
        message = ForwardMsg.FromString(data)
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self._page = message.new_session.page_script_hash
            self.shown, self.finished = None, False
        elif kind == "page_info_changed":
            self._query = message.page_info_changed.query_string
        elif kind == "script_finished":
            # A run that another one has cut short ends with another word.
            self.finished = message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
            self.cut_short += message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self._element(message.delta.new_element)

    def _element(self, element: Any) -> None:
        kind = element.WhichOneof("type")
        if kind in ("button_group", "slider", "number_input", "multiselect"):
            name = getattr(element, kind).id
            self._widgets[name.split("-", 2)[-1]] = name
        elif kind == "exception":
            raise AssertionError(f"The page failed: {element.exception.message}")
        elif kind == "markdown" and "CHANGED" in element.markdown.body:
            raise AssertionError("The page says that the base was changed.")
        elif kind == "html":
            self._html(element.html.body)
        elif kind == "plotly_chart" and self.shown is not None:
            self._chart(json.loads(element.plotly_chart.spec))

    def _chart(self, figure: dict[str, Any]) -> None:
        assert self.shown is not None
        base, edited = (np.array(trace["x"], float) for trace in figure["data"][:2])
        # By their axis and not by their order: what waits to be sent is put together by place on the page.
        title = figure["layout"]["xaxis"]["title"]["text"]
        if title.startswith("Probability"):
            self.shown.answer = base, edited
        else:
            self.shown.scores = base, edited
        self.seen(self.shown)

    def _html(self, body: str) -> None:
        if "data-status" not in body:
            return
        status, base, edited = (
            unescape(re.sub("<[^>]+>", "", re.search(pattern, body, re.S).group(1)))  # type: ignore[union-attr]
            for pattern in (
                r"<span data-status[^>]*>(.*?)</span>",
                r'data-answer="base">(.*?)</(?:span|div)>',
                r'data-answer="edited">(.*?)</(?:span|div)>',
            )
        )
        about = re.search(r"(held-out image \d+) of", body) or re.search(r'ee-prompt">(.*?)</', body)
        phrase = unescape(about.group(1)) if about else ""
        # Where a space stands between prompt and text is a matter of typography.
        self.shown = Shown(status, phrase.strip(), base.strip(), edited.strip(), "ee-cursor" not in body)
        self.seen(self.shown)
