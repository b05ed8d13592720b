"""How the app is started: one list of Streamlit settings for the command line, the tests and everybody."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["MAIN", "SETTINGS", "command"]

MAIN = Path(__file__).with_name("main.py")

SETTINGS: dict[str, str] = {
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "viewer",
    "server.maxUploadSize": "20",
    # It looks into every imported module, torch included, and nobody edits an installed app.
    "server.fileWatcherType": "none",
    "server.enableStaticServing": "false",
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
