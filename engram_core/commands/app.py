"""`engram app`: the explorer."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..errors import DataError, DependencyError, EngramError, suggest
from ..language.dataset_names import is_dataset
from ..opening.plugins import provided
from ..opening.python_file import file_and_function
from ..opening.samples import sample_names
from .grouping import grouped

__all__ = ["open_app"]


@dataclass(frozen=True)
class _StartOptions:
    """What the explorer opens with, and who reaches it."""

    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine only.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8501
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True
    model: Annotated[
        str, typer.Option(help="Model to open with: a sample, or with --concepts a folder or hub name.")
    ] = ""
    concepts: Annotated[
        str,
        typer.Option(help="File of texts, or folder or zip of pictures: concepts of your own for --model."),
    ] = ""
    subject: Annotated[
        str,
        typer.Option(
            metavar="FILE.py:FUNCTION",
            help="A function of a Python file of yours, which is run; it returns a model with its concepts.",
        ),
    ] = ""
    demo: Annotated[
        bool, typer.Option("--demo", help="For a public screen: no paths, uploads or hub names; short texts.")
    ] = False
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A further name under which it answers, such as the public one of a proxy. Can be repeated.",
        ),
    ] = None
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of a proxy whose X-Forwarded-For says who a visitor is. Can be repeated.",
        ),
    ] = None
    allow_frame: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A site that may show it in a frame, such as https://huggingface.co. Can be repeated.",
        ),
    ] = None


@grouped
def open_app(start: _StartOptions) -> None:
    """Open the explorer in the browser."""
    command = provided("engram_core.app", "command", purpose="The explorer")
    missing = [name for name in ("streamlit", "plotly") if importlib.util.find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"The explorer needs {', '.join(missing)}: install it with  pip install 'engram-explorer[app]'."
        )
    _check(start.model, start.concepts)
    if start.subject:
        file_and_function(start.subject)
        if start.model or start.concepts:
            raise DataError("Give --subject, or --model with --concepts; found both.")
    _check_names(start.allow_host or [], start.trust_proxy or [])
    _check_frames(start.allow_frame or [])
    _check_port(start.host, start.port)
    # Threads that spin while they wait freeze a page on a busy machine; sleeping ones cost next to nothing.
    settings = {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"} | os.environ
    # The core knows nothing of screens: the explorer is another program, started as one.
    program = command(
        host=start.host, port=start.port, headless=not start.browser, demo=start.demo, model=start.model,
        concepts=start.concepts, subject=start.subject,
        allow_host=start.allow_host or (), trust_proxy=start.trust_proxy or (),
        allow_frame=start.allow_frame or (),
    )  # fmt: skip
    become(program, settings)


def become(command: list[str], env: Mapping[str, str]) -> NoReturn:
    """Go on as another program: it has this process, so whatever ends the one ends the other.

    Args:
        command: the program and its arguments.
        env: its environment.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":  # it cannot; there a new process would be left behind
        raise typer.Exit(subprocess.call(command, env=dict(env)))
    # Held back until the other one knows what to do with it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    os.execve(command[0], command, dict(env))


def _check(model: str, concepts: str) -> None:
    """Refuse what could only fail later, in a browser."""
    if concepts and not model:
        raise DataError(f"--concepts {concepts} needs a --model that has them.")
    if concepts and not is_dataset(concepts) and not Path(concepts).expanduser().exists():
        raise DataError(f"There is no file or folder {concepts}: --concepts takes texts or class folders.")
    if model and not concepts and model not in sample_names():
        raise suggest("sample", model, sample_names())


def _check_names(hosts: list[str], proxies: list[str]) -> None:
    """Refuse what is no name of a host, or no address."""
    for name in hosts:
        if not name or any(sign in name for sign in "/ *,@?#") or "://" in name:
            raise DataError(
                f"--allow-host {name!r} is no name of a host: give it as it stands in the browser's bar, "
                "without scheme, path or asterisk, such as  --allow-host engrams.example.org."
            )
    for address in proxies:
        try:
            ip_network(address, strict=False)
        except ValueError:
            raise DataError(
                f"--trust-proxy {address!r} is no address: give the number of the machine that the proxy "
                "runs on, such as  --trust-proxy 127.0.0.1."
            ) from None


def _check_frames(origins: list[str]) -> None:
    """Refuse what is no origin: it goes into a header, where a sign too many would say something else."""
    for origin in origins:
        if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", origin):
            raise DataError(
                f"--allow-frame {origin!r} is no origin: give scheme and host as they begin the address of "
                "the site, such as  --allow-frame https://huggingface.co."
            )


def _check_port(host: str, port: int) -> None:
    """Refuse an address that the server could not listen on, and say which one could do."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            # As the server itself does: what an ended one has left behind is no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise EngramError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. If an explorer is still "
            f"running there, open http://{host}:{port} or end it; otherwise choose another port: "
            f"engram app --port {port + 1 if port < 65535 else 8501}."
        ) from None
