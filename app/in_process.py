"""The explorer inside a process that is somebody else's, such as a notebook's, whose models it shows."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any
from urllib.parse import urlencode

from streamlit.cli_util import open_browser

from engram_core.errors import EngramError

from .choice.pages import path_of
from .launch import MAIN, SETTINGS
from .options import ServerOptions, environment
from .serving import listen, server_of

__all__ = ["InProcess", "serve"]

_HOST = "127.0.0.1"
_PATIENCE = 60.0  # seconds for the server to answer
# A notebook is a page of another server on this machine, and of no server in an editor.
_FRAMES = (
    "http://localhost:*", "http://127.0.0.1:*", "https://localhost:*", "https://127.0.0.1:*",
    "vscode-webview:",
)  # fmt: skip

_guard = threading.RLock()
_running: list[InProcess] = []


class InProcess:
    """A server in a thread of this process, on 127.0.0.1.

    Args:
        port: port to listen on; 0 for any that is free.
    """

    def __init__(self, port: int) -> None:
        try:
            self._sockets = listen(_HOST, port)
        except OSError as error:
            raise EngramError(
                f"Cannot listen on {_HOST}, port {port}: {error.strerror or error}. Leave port out, and any "
                "free one is taken."
            ) from None
        self.port = int(self._sockets[0].getsockname()[1])
        self._before = sys.getswitchinterval(), {name: os.environ.get(name) for name in _environment()}
        os.environ.update(_environment())
        self._ready = threading.Event()
        self._server = server_of(
            MAIN, SETTINGS, host=_HOST, port=self.port, frames=_FRAMES, ready=self._ready.set
        )
        self._thread = threading.Thread(target=self._run, name="engram-explorer", daemon=True)
        self._thread.start()
        self._ready.wait(_PATIENCE)
        if not self._server.started:
            self.stop()
            raise EngramError("The explorer's server did not start; what it printed above says why.")

    def _run(self) -> None:
        try:
            self._server.run(sockets=self._sockets)
        finally:
            self._ready.set()

    @property
    def url(self) -> str:
        """Address of the first page."""
        return f"http://{_HOST}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def page_of(self, name: str) -> str:
        """Return the address of a model's page.

        Args:
            name: of the model.
        """
        return f"{self.url}/{path_of('live')}?{urlencode({'model': name})}"

    def open_browser(self, url: str) -> None:
        """Open a browser window.

        Args:
            url: what it shows.
        """
        open_browser(url)

    def wait(self) -> None:
        """Wait until it has ended."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def stop(self) -> None:
        """End it, and put back what it has changed of the process."""
        self._server.should_exit = True
        self._thread.join(10)
        interval, variables = self._before
        sys.setswitchinterval(interval)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        with _guard:
            if self in _running:
                _running.remove(self)


def _environment() -> dict[str, str]:
    return environment(ServerOptions(guest=True))


def serve(*, port: int = 0) -> Any:
    """Return the server of this process; it is started if it is not running.

    Args:
        port: port to listen on; 0 for any that is free.

    Raises:
        EngramError: if the port is taken, or the server is running on another one.
    """
    with _guard:
        for known in list(_running):
            if not known.running:
                _running.remove(known)
            elif port in (0, known.port):
                return known
            else:
                raise EngramError(
                    f"The explorer of this process is running on port {known.port} already: leave port out, "
                    "or stop it first."
                )
        _running.append(InProcess(port))
        return _running[-1]
