"""One running app and one browser for all end-to-end tests, and a watch over what every page does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from outgoing import Outgoing
from playwright.sync_api import Browser, BrowserContext, Page
from servers import chromium, open_browser, running, settle
from watch import Watch


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("app") / "server.log"
    outgoing = Outgoing(tmp_path_factory.mktemp("outgoing"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", outgoing.path, prepend=os.pathsep)
        with running(log) as server:
            patch.undo()  # for this process alone
            assert server.process is not None
            with outgoing.watching(server.process.pid):
                yield server.url
    assert "Traceback" not in log.read_text()
    assert outgoing.faults == [] and outgoing.looks
    # The browser talked to it all the time: a watch that saw nothing at all was not watching.
    assert "socket 127.0.0.1" in outgoing.noted


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
