"""One page that is open in a browser: what it sends, at what pace it is handed on, and when it is ended."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from google.protobuf.message import DecodeError
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner_utils.script_run_context import SCRIPT_RUN_CONTEXT_ATTR_NAME

from .fair import Account, Runs
from .limits import Bucket, Limits
from .reruns import Pending, TooMuch
from .wire import ABORT

__all__ = ["Visit"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LOG = logging.getLogger(__name__)
_SIGNS = 16 * 1024  # messages about a run are smaller than this; figures need not be read again
_LOOK = 0.05  # seconds between two looks at what holds a run back
_STUCK = 0.3  # seconds in which a browser that reads has taken what is sent
_OPERATIONS = frozenset({"deferred_file", "dataframe_chunk"})
# Codes of a websocket's close.
_POLICY, _TOO_BIG, _PROTOCOL, _NO_TEXT = 1008, 1009, 1002, 1003


class Visit:
    """One connection of one page.

    Args:
        limits: the limits.
        runs: places for runs, shared by all visits.
        scope: the connection's ASGI scope.
        receive: what comes from the browser.
        send: what goes to it.

    Attributes:
        session: Streamlit's name for the session, once it has said it.
        flooded: whether it was ended for asking too much.
    """

    def __init__(self, limits: Limits, runs: Runs, scope: Message, receive: Receive, send: Send) -> None:
        self.session = ""
        self.flooded = False
        self._limits, self._runs, self._scope = limits, runs, scope
        self._receive, self._send = receive, send
        self._account = Account()
        self._pending = Pending(limits.most_widgets)
        self._asked = asyncio.Event()
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._messages = Bucket(*limits.messages)
        self._bytes = Bucket(3 * limits.most_frame, limits.most_frame / 2)
        self._pace = Bucket(*limits.reruns)
        self._asks = Bucket(*limits.asks)
        self._sending_since: float | None = None
        self._began = time.monotonic()
        self._has_asked = False
        self._ended = False

    async def run(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        """Let Streamlit serve this visit until either side ends it."""
        helpers = [
            asyncio.create_task(work(), name=f"gate-{work.__name__.strip('_')}")
            for work in (self._listen, self._hand_on, self._look_after)
        ]
        try:
            await app(self._scope, self._inbox.get, self._forward)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            self._runs.done(self._account)

    async def _listen(self) -> None:
        """Read what the browser sends, and sort it."""
        while True:
            message = await self._receive()
            kind = message["type"]
            if kind == "websocket.receive":
                if not self._ended:
                    self._sort(message)
                continue
            self._inbox.put_nowait(message)
            if kind == "websocket.disconnect":
                return

    def _sort(self, message: Message) -> None:
        data = message.get("bytes")
        if data is None:
            self._end(_NO_TEXT, "it sent text")
            return
        if len(data) > self._limits.most_frame:
            self._end(_TOO_BIG, f"a message of {len(data)} bytes")
            return
        if not self._messages.take() or not self._bytes.take(len(data)):
            self.flooded = True
            self._end(_POLICY, "it sent too much")
            return
        asked = BackMsg()
        try:
            asked.ParseFromString(data)
        except (DecodeError, ValueError):
            self._end(_PROTOCOL, "it sent what is no message")
            return
        kind = asked.WhichOneof("type")
        if kind == "rerun_script":
            self._has_asked = True
            self._asks.owe(1)
            try:
                self._pending.add(asked.rerun_script)
            except TooMuch:
                self._end(_TOO_BIG, "it set too many widgets")
                return
            self._asked.set()
        elif self._passes(kind, asked):
            self._inbox.put_nowait(message)

    def _passes(self, kind: str | None, asked: BackMsg) -> bool:
        """Say whether a message that asks for no run is handed on.

        What is not here is for developers: it clears every visitor's cache, runs git, or writes files.

        Returns:
            Whether it is.
        """
        if kind in ("stop_script", "app_heartbeat"):
            return True
        if kind == "file_urls_request":
            return (
                self._limits.uploads and len(asked.file_urls_request.file_names) <= self._limits.upload_files
            )
        if kind == "backend_operation_request":
            return asked.backend_operation_request.WhichOneof("payload") in _OPERATIONS
        return False

    async def _hand_on(self) -> None:
        """Give Streamlit the newest request when its turn has come."""
        while True:
            await self._asked.wait()
            while (wait := self._pace.wait()) > 0:
                await asyncio.sleep(wait)
            while self._is_held():
                await asyncio.sleep(_LOOK)
            self._account.greedy = self._asks.owes
            await self._runs.turn(self._account)
            self._pace.take()
            message = BackMsg()
            message.rerun_script.CopyFrom(self._pending.take())
            if not self._pending:
                self._asked.clear()
            self._inbox.put_nowait({"type": "websocket.receive", "bytes": message.SerializeToString()})
            if self._account.greedy:
                await self._until_it_ends()

    async def _until_it_ends(self) -> None:
        """Keep the place of a greedy visit's run until its end, or until it is replaced and nobody waits."""
        await asyncio.sleep(2 * _LOOK)
        while _alive(self.session):
            if self._pending and not self._runs.waited_for:
                return
            await asyncio.sleep(_LOOK)
        self._runs.done(self._account)

    def _is_held(self) -> bool:
        """Say whether a further run would only pile up: its answer, or the runs that were replaced."""
        since = self._sending_since
        stuck = since is not None and time.monotonic() - since > _STUCK
        return stuck or _alive(self.session) >= self._limits.most_alive

    async def _look_after(self) -> None:
        """End a visit that wants nothing, or that takes nothing."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            if not self._has_asked and now - self._began > self._limits.silent_seconds:
                self._end(_POLICY, "it never asked for a page")
            if self._sending_since is not None and now - self._sending_since > self._limits.stuck_seconds:
                self._end(_POLICY, "it takes no answers")

    async def _forward(self, message: Message) -> None:
        """Send the browser what Streamlit has for it, and learn from it when a run has ended."""
        if self._ended:
            raise ConnectionAbortedError("The visit has been ended.")
        data = message.get("bytes")
        if message["type"] == "websocket.send" and data is not None and len(data) <= _SIGNS:
            self._learn(data)
        self._sending_since = time.monotonic()
        try:
            await self._send(message)
        finally:
            self._sending_since = None

    def _learn(self, data: bytes) -> None:
        said = ForwardMsg.FromString(data)
        kind = said.WhichOneof("type")
        if kind == "new_session":
            self.session = said.new_session.initialize.session_id or self.session
        elif kind == "script_finished" and not self._account.greedy:
            self._runs.done(self._account)

    def _end(self, code: int, why: str) -> None:
        """Close the connection, and tell Streamlit that it is gone."""
        if self._ended:
            return
        self._ended = True
        _LOG.info("A visit was ended: %s", why)
        abort = self._scope.get(ABORT)
        if abort is not None:
            abort()
        self._closing = asyncio.create_task(self._close(code), name="gate-close")
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    async def _close(self, code: int) -> None:
        try:
            await asyncio.wait_for(self._send({"type": "websocket.close", "code": code}), 5)
        except Exception:  # whatever is wrong with it, it ends
            _LOG.debug("A close was not taken", exc_info=True)


def _alive(session: str) -> int:
    """Return how many runs of a session live, those included that have been replaced."""
    if not session:
        return 0
    contexts = (getattr(thread, SCRIPT_RUN_CONTEXT_ATTR_NAME, None) for thread in threading.enumerate())
    return len({id(context) for context in contexts if context is not None and context.session_id == session})
