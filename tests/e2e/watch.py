"""What a page does that it should not do: errors, and anything it asks of another machine."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import Page

__all__ = ["Watch"]


class Watch:
    """What a page did that it should not do."""

    def __init__(self, page: Page) -> None:
        self.faults: list[str] = []
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))  # those are no requests

    def _said(self, kind: str, text: str) -> None:
        if kind == "error":
            self.faults.append(f"console: {text}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
            self.faults.append(f"request: {url}")
