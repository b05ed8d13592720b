"""Notes every connection of a process, and of those it starts, that leads off this machine.

Two ways, since each is blind where the other sees. Python itself says what it is about to connect to, look
up or send (audit events: nothing is too short to be seen, whether or not a network is there); and the
kernel's list of the processes' sockets, read again and again, also has what compiled code opened.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

__all__ = ["Outgoing", "is_here"]

# Read by Python at the start of every process that has the folder in PYTHONPATH.
_HOOK = """
import sys

_FILE = {file!r}
_EVENTS = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")


def _note(event, args):
    if event not in _EVENTS:
        return
    where = args[0] if event.startswith("socket.get") else args[-1]
    host = where[0] if isinstance(where, tuple) and where else where
    if isinstance(host, bytes) and event.startswith("socket.get"):
        host = host.decode("ascii", "replace")
    # Without a host it is the machine itself; an address that is a path is a socket of this machine.
    if isinstance(host, str) and host and not host.startswith("/"):
        with open(_FILE, "a", encoding="utf-8") as out:
            out.write(f"{{event}} {{host}}\\n")


sys.addaudithook(_note)
"""


def is_here(host: str) -> bool:
    """Return whether a host is this machine: by its address, or by the one name that needs no look-up."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    # 0.0.0.0 and :: mean "any of mine".
    return address.is_loopback or address.is_unspecified


class Outgoing:
    """What processes connected to.

    Args:
        folder: an empty folder for the hook and for what it notes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "connections.txt"
        (folder / "sitecustomize.py").write_text(_HOOK.format(file=str(self._file)), encoding="utf-8")
        self._seen: set[str] = set()
        self.looks = 0

    @property
    def path(self) -> str:
        """What belongs at the front of the process's PYTHONPATH."""
        return str(self.folder)

    def look(self, pid: int) -> None:
        """Read the open sockets of a process and of all that it started."""
        try:
            first = psutil.Process(pid)
            family = [first, *first.children(recursive=True)]
        except psutil.Error:
            return
        for process in family:
            try:
                found = process.net_connections(kind="inet")
            except psutil.Error:  # it has just ended
                continue
            self._seen |= {f"socket {each.raddr.ip}" for each in found if each.raddr}
        self.looks += 1

    @contextmanager
    def watching(self, pid: int, *, every: float = 0.25) -> Iterator[None]:
        """Read the sockets of a process in a thread of its own."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(every):
                self.look(pid)

        thread = threading.Thread(target=run, name="outgoing", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @property
    def noted(self) -> set[str]:
        """Every connection seen, also those to this machine: "<event> <host>"."""
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        return self._seen | set(lines)

    @property
    def faults(self) -> list[str]:
        """Those that lead, or would have led, off this machine."""
        return sorted(line for line in self.noted if not is_here(line.split(" ", 1)[1]))
