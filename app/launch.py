"""How the app is started: one list of Streamlit settings for the command line, the tests and everybody."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from .started import Started, environment

__all__ = ["MAIN", "SETTINGS", "command", "main"]

MAIN = Path(__file__).with_name("main.py")

SETTINGS: dict[str, str] = {
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "viewer",
    # Megabytes. A zipped folder of pictures or a table of texts; models are opened by path.
    "server.maxUploadSize": "50",
    # It looks into every imported module, torch included, and nobody edits an installed app.
    "server.fileWatcherType": "none",
    "server.enableStaticServing": "false",
    # On a machine that never ran Streamlit it would ask for an e-mail address, in the terminal, and wait.
    "server.showEmailPrompt": "false",
    # Its welcome speaks of Streamlit; `main` says what was started.
    "logger.hideWelcomeMessage": "true",
    "theme.light.primaryColor": "#0072B2",
    "theme.dark.primaryColor": "#56B4E9",
    "theme.baseRadius": "0.5rem",
}


def command(*, host: str = "127.0.0.1", port: int = 8501, headless: bool = True) -> list[str]:
    """Return the command that starts the app.

    Args:
        host: address to listen on; 127.0.0.1 is reachable from this machine only.
        port: port to listen on.
        headless: do not open a browser.
    """
    settings = SETTINGS | {
        "server.address": host,
        "server.port": str(port),
        "server.headless": str(headless).lower(),
    }
    flags = [f"--{key}={value}" for key, value in settings.items()]
    return [sys.executable, "-m", "streamlit", "run", str(MAIN), *flags]


def main() -> None:
    """Start the app (`engram app` runs this as ``python -m app.launch``)."""
    parser = argparse.ArgumentParser(prog="engram app", description="Open the explorer in the browser.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8501, help="port to listen on")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser window")
    parser.add_argument("--model", default="", help="sample, local folder or hub name to open with")
    parser.add_argument("--concepts", default="", help="file or folder of concepts for an own model")
    parser.add_argument("--demo", action="store_true", help="public screen: no paths, uploads or hub names")
    options = parser.parse_args()
    started = Started(options.model, options.concepts, options.demo)
    print(f"Engram Explorer: http://{options.host}:{options.port} (Ctrl+C ends it)", flush=True)
    try:
        sys.exit(
            subprocess.call(
                command(host=options.host, port=options.port, headless=options.no_browser),
                env=os.environ | environment(started),
            )
        )
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
