"""Tells Streamlit's page where its server is.

Opened at the path of a page, Streamlit (1.67) first looks for its server below that path, and the browser's
console notes two errors. A script of ours, written into the page before its own, says it at once.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from ..choice.pages import PAGES
from .visit import Message, Send

__all__ = ["BaseAddress", "uncompressed"]

_HEAD = b"<head>"
# Below whatever path a proxy serves the app at, the pages have their names.
_SCRIPT = (
    "<script>window.__streamlit = { BACKEND_BASE_URL: window.location.origin + "
    f"window.location.pathname.replace(/\\/(?:{'|'.join(PAGES)})\\/?$/, '/') }};</script>"
).encode()


def uncompressed(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return a request whose answer can be written into: one that asks for no compression."""
    headers = [header for header in scope["headers"] if header[0].lower() != b"accept-encoding"]
    return {**scope, "headers": headers}


class BaseAddress:
    """Sends an answer on; into one that is Streamlit's page it writes where the server is.

    Args:
        send: sends a message.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        """Send one message, or hold it until the page is whole."""
        if message["type"] == "http.response.start" and _is_page(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._send_page()

    async def _send_page(self) -> None:
        assert self._start is not None
        body = self._body.replace(_HEAD, _HEAD + _SCRIPT, 1)
        headers = [
            (name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"
        ]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _is_page(message: Message) -> bool:
    headers = {name.lower(): value for name, value in message.get("headers", ())}
    kind = headers.get(b"content-type", b"")
    return message["status"] == 200 and kind.startswith(b"text/html") and b"content-encoding" not in headers
