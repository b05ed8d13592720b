"""The server itself: Streamlit's application behind the gate, on uvicorn."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import streamlit
import uvicorn
from streamlit.cli_util import open_browser
from streamlit.web.bootstrap import load_config_options

from . import signals as ending
from .gate import one_run
from .gate.gate import Gate
from .gate.hosts import Hosts
from .gate.limits import Limits
from .gate.wire import protocols

__all__ = ["listen", "serve", "server_of"]

_EVERYWHERE = ("0.0.0.0", "::")


class _Server(uvicorn.Server):
    """Uvicorn's server; signals are ours (`app.signals`), and it says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(
    script: Path,
    settings: Mapping[str, Any],
    *,
    host: str,
    port: int,
    browser: bool,
    demo: bool,
    allowed: Sequence[str] = (),
    proxies: Sequence[str] = (),
    frames: Sequence[str] = (),
) -> None:
    """Serve the app until a signal ends it; exits.

    Args:
        script: Streamlit's script.
        settings: Streamlit's settings.
        host: address or name to listen on.
        port: port to listen on; 0 for any.
        browser: whether to open a browser.
        demo: whether it is a public screen.
        allowed: further names to answer under.
        proxies: addresses whose word is taken for who a visitor is.
        frames: sources of pages that may hold its pages in a frame, beside its own.
    """
    try:
        sockets = listen(host, port)
    except OSError as error:
        print(f"Cannot listen on {host}, port {port}: {error.strerror or error}.", file=sys.stderr)
        sys.exit(1)
    port = sockets[0].getsockname()[1]
    shown = "localhost" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"

    def ready() -> None:
        print(f"Engram Explorer: {url} (Ctrl+C ends it)", flush=True)
        if host in _EVERYWHERE and not allowed:
            print("Others reach it by this machine's address; for a name add --allow-host NAME.", flush=True)
        if browser:
            open_browser(url)

    server = server_of(
        script, settings, host=host, port=port, demo=demo, allowed=allowed, proxies=proxies, frames=frames,
        ready=ready,
    )  # fmt: skip

    def stop() -> None:
        server.should_exit = True

    ending.in_order(stop)
    server.run(sockets=sockets)
    sys.exit(ending.status())


def server_of(
    script: Path,
    settings: Mapping[str, Any],
    *,
    host: str,
    port: int,
    demo: bool = False,
    allowed: Sequence[str] = (),
    proxies: Sequence[str] = (),
    frames: Sequence[str] = (),
    ready: Callable[[], None],
) -> uvicorn.Server:
    """Return the server, which listens only when it is run with its sockets.

    Args:
        script: Streamlit's script.
        settings: Streamlit's settings.
        host: address or name that it listens on.
        port: port that it listens on.
        demo: whether it is a public screen.
        allowed: further names to answer under.
        proxies: addresses whose word is taken for who a visitor is.
        frames: sources of pages that may hold its pages in a frame, beside its own.
        ready: called when it answers.
    """
    _raise_file_limit()
    # How long a busy thread keeps the others waiting. With the usual 5 ms and four runs of pages, the thread
    # that answers the network waits 20 ms at every step of every answer.
    sys.setswitchinterval(0.002)
    limits = Limits.of(demo=demo)
    one_run.install()
    load_config_options({**settings, "server.address": host, "server.port": port, "browser.serverPort": port})
    gate = Gate(streamlit.App(script), Hosts(host, tuple(allowed)), limits, frames=tuple(frames))
    http, websocket = protocols(limits, proxies=proxies)
    config = uvicorn.Config(
        gate,
        http=http,
        ws=websocket,
        ws_max_size=limits.most_frame,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=64 * 1024,
    )
    return _Server(config, ready)


def listen(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on every address of a name.

    Args:
        host: address or name.
        port: port; 0 for any that is free.

    Returns:
        One for each address.

    Raises:
        OSError: if it cannot listen on any.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            listening = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(listening)
            if sys.platform != "win32":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            # Where any port will do, all addresses have the one that the first was given.
            listening.bind((address[0], sockets[0].getsockname()[1] or port, *address[2:]))
            listening.setblocking(False)
    except OSError:
        if any(_is_bound(listening) for listening in sockets):
            # One of a name's addresses is enough: this machine may have no IPv6.
            return [listening for listening in sockets if _is_bound(listening)]
        for listening in sockets:
            listening.close()
        raise
    return sockets


def _is_bound(listening: socket.socket) -> bool:
    return listening.getsockname()[1] != 0


def _raise_file_limit() -> None:
    """Let this process have as many connections as the system allows it."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
