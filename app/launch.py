"""How the app is started: one list of Streamlit settings for the command line, the tests and everybody."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import signals as ending
from .options import ServerOptions, environment

__all__ = ["MAIN", "SETTINGS", "command", "main"]

MAIN = Path(__file__).with_name("main.py")

SETTINGS: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    # Pages of these origins may hold this app in a frame and press its buttons. By default all of a cloud's
    # do.
    "client.allowedOrigins": [],
    "client.showErrorDetails": "none",
    "client.toolbarMode": "viewer",
    # Megabytes. A zipped folder of pictures or a table of texts; models are opened by path.
    "server.maxUploadSize": 50,
    # It looks into every imported module, torch included, and nobody edits an installed app.
    "server.fileWatcherType": "none",
    "server.enableStaticServing": False,
    "server.enableAgentApi": False,
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.enableWebsocketCompression": False,
    "server.scriptHealthCheckEnabled": False,
    # On a machine that never ran Streamlit it would ask for an e-mail address, in the terminal, and wait.
    "server.showEmailPrompt": False,
    "server.headless": True,
    # Its welcome speaks of Streamlit; `main` says what was started.
    "logger.hideWelcomeMessage": True,
    "theme.light.primaryColor": "#0072B2",
    "theme.dark.primaryColor": "#56B4E9",
    "theme.baseRadius": "0.5rem",
}


def command(
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    headless: bool = True,
    demo: bool = False,
    model: str = "",
    concepts: str = "",
    subject: str = "",
    allow_host: Sequence[str] = (),
    trust_proxy: Sequence[str] = (),
    allow_frame: Sequence[str] = (),
) -> list[str]:
    """Return the command that starts the app.

    Args:
        host: address to listen on; 127.0.0.1 is reachable from this machine only.
        port: port to listen on.
        headless: do not open a browser.
        demo: for a public screen.
        model: sample, local folder or hub name to open with.
        concepts: file or folder of concepts for an own model.
        subject: function of a Python file that makes a model with its concepts, as ``file.py:make``.
        allow_host: further names to answer under.
        trust_proxy: addresses of proxies that name their visitors.
        allow_frame: origins of pages that may show the explorer in a frame.
    """
    # By the folder's name and not by this module's: the pages, which are a script, go by that.
    made = [sys.executable, "-m", f"{MAIN.parent.name}.launch", "--host", host, "--port", str(port)]
    for name, value in (("--model", model), ("--concepts", concepts), ("--subject", subject)):
        made += [name, value] if value else []
    made += (["--no-browser"] if headless else []) + (["--demo"] if demo else [])
    lists = (("--allow-host", allow_host), ("--trust-proxy", trust_proxy), ("--allow-frame", allow_frame))
    for name, values in lists:
        made += [part for value in values for part in (name, value)]
    return made


def parser() -> argparse.ArgumentParser:
    """Return what reads the options."""
    known = argparse.ArgumentParser(prog="engram app", description="Open the explorer in the browser.")
    known.add_argument("--host", default="127.0.0.1", help="address to listen on")
    known.add_argument("--port", type=int, default=8501, help="port to listen on")
    known.add_argument("--no-browser", action="store_true", help="do not open a browser window")
    known.add_argument("--model", default="", help="sample, local folder or hub name to open with")
    known.add_argument("--concepts", default="", help="file or folder of concepts for an own model")
    known.add_argument("--subject", default="", help="file.py:make, which is run and returns a model")
    known.add_argument("--demo", action="store_true", help="public screen: no paths, uploads or hub names")
    known.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a further name to answer under"
    )
    known.add_argument(
        "--trust-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a proxy that names its visitors",
    )
    known.add_argument(
        "--allow-frame",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a site that may show it in a frame",
    )
    return known


def main() -> None:
    """Start the app; `engram app` becomes this (see `command`)."""
    ending.at_once()
    options = parser().parse_args()
    os.environ.update(environment(ServerOptions(options.model, options.concepts, options.demo)))
    if options.subject:
        _hold(options.subject)
    # Only now: this takes seconds, and a press of Ctrl+C in them just ends it.
    from .serving import serve

    serve(
        MAIN,
        SETTINGS,
        host=options.host,
        port=options.port,
        browser=not options.no_browser,
        demo=options.demo,
        allowed=tuple(options.allow_host),
        proxies=tuple(options.trust_proxy),
        frames=tuple(options.allow_frame),
    )


def _hold(subject: str) -> None:
    """Have a Python file make its model before anybody is let in; exit with a sentence if it fails."""
    from engram_core.errors import EngramError
    from engram_core.opening.in_memory import hold
    from engram_core.opening.python_file import sample_of_file

    print(f"Running {subject}", flush=True)
    try:
        # Below a figure stands the file's name: a path of this machine is nobody's business.
        shown = Path(subject).name
        first = "from engram_core.opening.python_file import sample_of_file"
        code = f"{first}\nsample = sample_of_file({shown!r})"
        hold(sample_of_file(subject), code=code)
    except EngramError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
