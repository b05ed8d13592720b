"""One running app and one browser for all end-to-end tests, and a watch over what every page does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from servers import chromium, open_browser, running, settle


class Watch:
    """What a page did that it should not do."""

    def __init__(self, page: Page) -> None:
        self.faults: list[str] = []
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("request", lambda request: self._asked(request.url))

    def _said(self, kind: str, text: str) -> None:
        if kind == "error":
            self.faults.append(f"console: {text}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
            self.faults.append(f"request: {url}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("app") / "server.log"
    with running(log) as server:
        yield server.url
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip("No Chromium: set ENGRAM_CHROMIUM to run the browser tests.")
    with open_browser() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Give browser contexts: each is another visitor, with a browser of their own."""
    contexts = []

    def open_context(*, width: int = 1440, height: int = 900, scheme: str = "light") -> BrowserContext:
        contexts.append(
            browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
        )
        return contexts[-1]

    yield open_context
    for each in contexts:
        each.close()


@pytest.fixture
def opener(context, server: str) -> Iterator[Callable[..., Page]]:
    """Open a page of the app as a new visitor; afterwards none of them may have done anything wrong."""
    watches = []

    def open_page(query: str = "", *, page: str = "live", wait: bool = True, **options) -> Page:
        tab = context(**options).new_page()
        watches.append(Watch(tab))
        tab.set_default_timeout(60_000)
        # A link from the page itself is opened as it is; "start" by the bare address.
        query = query.removeprefix("?")
        if query.startswith("http"):
            tab.goto(query)
        else:
            tab.goto(f"{server}/?page={page}&{query}" if page != "start" or query else f"{server}/")
        if wait:
            settle(tab)
        return tab

    yield open_page
    assert [fault for watch in watches for fault in watch.faults] == []
