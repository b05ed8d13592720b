"""The ASGI application around Streamlit's."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from streamlit.runtime import Runtime

from .base_address import BaseAddress, uncompressed
from .fair import Runs
from .hosts import Hosts, network
from .limits import Bucket, Limits
from .uploads import Uploads, forget
from .visit import Message, Receive, Send, Visit

__all__ = ["Gate"]

App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_LOG = logging.getLogger(__name__)
_STREAM = "/_stcore/stream"
_HEALTH = "/_stcore/health"
_UPLOAD = re.compile(r"/_stcore/upload_file/([^/]+)/[^/]+")
# What a page needs. Streamlit has more: an interface for agents, one for logins, a check that runs the
# script.
_OPEN = (_HEALTH, "/_stcore/host-config", "/_stcore/bidi-components/")
_FILES = ("/_stcore/", "/static/", "/media/", "/component/")  # everything else is Streamlit's page
_METRICS = "/_stcore/metrics"
_CLOSED = ("/_stcore", "/auth", "/oauth2callback", "/app/static")
_MOST_KNOWN = 20_000  # addresses that are remembered
_LOOK = 2.0  # seconds between two looks for sessions that nobody comes back to
_SWEEP = 30.0  # seconds between two looks for those that can be forgotten

# Streamlit's page loads nothing from elsewhere, and neither do ours: whatever a name, a card or a text would
# have a browser fetch stays unfetched. Styles and charts are written into the page, hence 'unsafe-inline' and
# 'unsafe-eval'.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' data: blob:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
    "frame-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_FRAMES = "frame-ancestors 'self'"
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    # An address holds what somebody chose and typed.
    (b"referrer-policy", b"same-origin"),
)


class Gate:
    """Streamlit's application, behind limits.

    Args:
        app: Streamlit's application.
        hosts: the names that are answered.
        limits: the limits.
        frames: sources of pages that may hold this server's in a frame, beside its own.
    """

    def __init__(self, app: App, hosts: Hosts, limits: Limits, *, frames: tuple[str, ...] = ()) -> None:
        self._app, self._hosts, self._limits = app, hosts, limits
        self._headers = _framed_by(frames)
        self._runs = Runs(limits.most_running, limits.share, most_greedy=limits.most_greedy)
        self._uploads = Uploads(limits)
        self._visits: set[Visit] = set()
        self._of: Counter[str] = Counter()
        self._arrivals: dict[str, Bucket] = {}
        self._requests: dict[str, Bucket] = {}
        self._swept = 0.0
        # When sessions were first seen without a visit, and those to which a file has come since.
        self._away: dict[str, float] = {}
        self._late: set[str] = set()
        self._watching: asyncio.TimerHandle | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # -- requests ---------------------------------------------------------------------------------

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        refusal = self._stranger(scope) or self._too_many(scope) or self._closed(scope)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        upload = _UPLOAD.fullmatch(scope["path"])

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message.get("headers", ())}
                extra = [header for header in self._headers if header[0] not in given]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        if upload and scope["method"] == "PUT":
            work: Awaitable[None] = self._upload(upload.group(1), scope, receive, with_headers)
        elif scope["method"] == "GET" and not scope["path"].startswith(_FILES):
            work = self._app(uncompressed(scope), receive, BaseAddress(with_headers))
        else:
            work = self._app(scope, receive, with_headers)
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                await work
        except TimeoutError:
            _LOG.info("A request to %.80r took too long and was ended.", scope["path"])

    def _stranger(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        host, origin, local = _header(scope, b"host"), _header(scope, b"origin"), scope.get("server") or ("",)
        if not self._hosts.answers(host, local=str(local[0])):
            return 403, (
                "This server does not answer under that name. Open it under the address that it printed when "
                "it started, or start it with --allow-host and the name."
            )
        if not self._hosts.of_own_page(origin, host):
            return 403, "Pages of other servers cannot talk to this one."
        return None

    def _too_many(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        # Whoever watches over the server must see how it is while it is asked too much.
        if scope["path"] == _HEALTH:
            return None
        if self._bucket(self._requests, scope, self._limits.requests).take():
            return None
        return 429, "Too many requests from one address; wait a little."

    def _closed(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        path = scope["path"]
        if path == _METRICS and self._limits.metrics:
            return None
        if _UPLOAD.fullmatch(path) and self._limits.uploads:
            return None
        if path.startswith(_OPEN) or not any(path == top or path.startswith(f"{top}/") for top in _CLOSED):
            return None
        return 404, "There is nothing at this address."

    async def _upload(
        self, session: str, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        length = _header(scope, b"content-length")
        refusal = self._uploads.refusal(session, length)
        if refusal is not None or length is None:
            await _answer(send, *(refusal or (411, "")))
            return
        self._uploads.begin(session, int(length))
        try:
            await self._app(scope, receive, send)
        finally:
            self._uploads.end(session, int(length))
            # One that came to its end after its page was closed belongs to nobody.
            self._late.add(session)
            self._watch()

    # -- visits -----------------------------------------------------------------------------------

    async def _websocket(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        address = network(str((scope.get("client") or ("",))[0]))
        if self._stranger(scope) or scope["path"] != _STREAM or not self._has_room(scope, address):
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        visit = Visit(self._limits, self._runs, _of_same_origin(scope), receive, send)
        self._visits.add(visit)
        self._of[address] += 1
        try:
            await visit.run(self._app)
        finally:
            self._visits.discard(visit)
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]
            if visit.flooded:
                self._bucket(self._arrivals, scope, self._limits.arrivals).owe(self._limits.flood_price)
            self._watch()

    def _has_room(self, scope: MutableMapping[str, Any], address: str) -> bool:
        most, most_of_one = self._limits.visits
        return (
            len(self._visits) < most
            and self._of[address] < most_of_one
            and self._bucket(self._arrivals, scope, self._limits.arrivals).take()
        )

    def _watch(self) -> None:
        """Look from now on whether there are sessions that nobody comes back to."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _look(self) -> None:
        """Let go of sessions that nobody has come back to.

        Streamlit keeps each until another one takes its place in a list, and its files for as long.
        """
        self._watching = None
        if not Runtime.exists():
            return
        runtime, now = Runtime.instance(), asyncio.get_running_loop().time()
        # Not by the names that visits have heard: who leaves at once has heard none.
        left = {info.session.id for info in runtime._session_mgr.list_sessions()}
        left = {session for session in left if not runtime.is_active_session(session)} | self._late
        self._away = {session: self._away.get(session, now) for session in left}
        for session, since in list(self._away.items()):
            if now - since >= self._limits.grace_seconds:
                del self._away[session]
                self._late.discard(session)
                if not runtime.is_active_session(session):
                    runtime.close_session(session)
                    forget(session)
        if self._away or self._visits:
            self._watch()

    # -- addresses --------------------------------------------------------------------------------

    def _bucket(
        self, buckets: dict[str, Bucket], scope: MutableMapping[str, Any], rate: tuple[float, float]
    ) -> Bucket:
        now = asyncio.get_running_loop().time()
        if now - self._swept > _SWEEP or len(buckets) > _MOST_KNOWN:
            self._swept = now
            for known in (self._arrivals, self._requests):
                for key in [key for key, bucket in known.items() if bucket.full]:
                    del known[key]
        address = network(str((scope.get("client") or ("",))[0]))
        return buckets.setdefault(address, Bucket(*rate))


def _framed_by(frames: tuple[str, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of a server whose pages others may hold in a frame."""
    if not frames:
        return _HEADERS
    policy = _POLICY.replace(_FRAMES, " ".join([_FRAMES, *frames])).encode()
    # The older header knows no list of sources; browsers that know the policy leave it aside.
    kept = tuple(header for header in _HEADERS[1:] if header[0] != b"x-frame-options")
    return ((b"content-security-policy", policy), *kept)


def _header(scope: MutableMapping[str, Any], name: bytes) -> str | None:
    """Return a header; one that is there twice is none that can be trusted."""
    values = [value for key, value in scope["headers"] if key.lower() == name]
    if not values:
        return None
    return values[0].decode("latin-1") if len(values) == 1 else "?"


def _of_same_origin(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return a scope that says of an origin, which has been checked, only that it is this server's.

    Of any other Streamlit would ask whether it is this machine's address on the internet, and look that up.
    """
    if _header(scope, b"origin") is None:
        return scope
    host = _header(scope, b"host") or ""
    headers = [
        (key, f"{scope.get('scheme', 'ws').replace('ws', 'http')}://{host}".encode("latin-1"))
        if key.lower() == b"origin"
        else (key, value)
        for key, value in scope["headers"]
    ]
    scope["headers"] = headers
    return scope


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = (sentence + "\n").encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *_HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
