"""A running app and a real browser, for the tests that need either and for the screenshots of the docs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from app.launch import command

__all__ = ["Server", "chromium", "free_port", "open_browser", "running", "settle"]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


def chromium() -> str | None:
    """Return the path of a Chromium, or None."""
    return os.environ.get("ENGRAM_CHROMIUM") or shutil.which("chromium")


@dataclass
class Server:
    """One process of the app.

    Attributes:
        port: port that it listens on.
        log: file for what it prints.
        process: the process while it runs.
        demo: whether it is a public screen.
        options: further options of `engram app`.
    """

    port: int
    log: Path | None = None
    process: subprocess.Popen | None = None
    demo: bool = False
    options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Address of the first page, without the slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def resident(self) -> float:
        """Memory of the process in MiB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with open(self.log or os.devnull, "ab") as out:
            self.process = subprocess.Popen(
                [*command(port=self.port, demo=self.demo), *self.options],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        for _ in range(300):
            if self.process.poll() is not None:
                raise RuntimeError(f"The app ended with code {self.process.returncode} before it answered.")
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError("The app did not answer within a minute.")

    def stop(self) -> None:
        """End the process."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(
    log: Path | None = None, *, demo: bool = False, options: tuple[str, ...] = ()
) -> Iterator[Server]:
    """Run the app on a free port."""
    server = Server(free_port(), log, demo=demo, options=options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run a headless Chromium."""
    path = chromium()
    if path is None:
        raise RuntimeError("No Chromium: set ENGRAM_CHROMIUM or install chromium.")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


# Streamlit says itself whether the script runs; bars and spinners can be gone between two steps of a page
# that still works. It must stay so for a moment, since a click or a redirect takes one to become a run.
_SETTLED = """
() => {
  const app = document.querySelector('[data-testid=stApp]');
  const rests = app?.dataset.testScriptState === 'notRunning'
    && app.dataset.testConnectionState === 'CONNECTED'
    && document.querySelector('.stMainBlockContainer h4')
    && !document.querySelector('.stProgress, [data-testid=stSkeleton]')
    && [...document.querySelectorAll('.stPlotlyChart')].every(c => c.querySelector('.plot-container'));
  window.restsSince = rests ? window.restsSince ?? performance.now() : undefined;
  return rests && performance.now() - window.restsSince > 300;
}
"""


def settle(page: Page, *, seconds: float = 120) -> None:
    """Wait until a page has computed and drawn everything."""
    page.evaluate("delete window.restsSince")
    page.wait_for_function(_SETTLED, timeout=1000 * seconds)
