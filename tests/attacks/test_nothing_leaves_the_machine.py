"""Tried: handshakes and requests with foreign Origin and Host headers, and use of every page.

Streamlit asked a server on the internet for this machine's address, on its event loop, when a handshake named
a foreign origin: all visitors waited until that had failed (20 s where no DNS answers). Must be: the whole
app connects to nothing but this machine itself, and asks for no name.

Twofold, since either can be blind: an audit hook in the server hears of every connection and look-up that
Python makes, and, where the system allows it, the server runs in a network namespace whose only way out is a
device that counts what is sent to it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = """
import os, sys

SENDS = ("socket.connect", "socket.sendto")
NAMES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
HEARD = os.open(os.environ["ENGRAM_HEARD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def hear(event, arguments):
    if event in SENDS or event in NAMES:
        os.write(HEARD, f"{event} {arguments[1:] if event in SENDS else arguments}\\n".encode())

sys.addaudithook(hear)
"""
RUN = """
import runpy
sys.argv[0] = "app.launch"
runpy.run_module("app.launch", run_name="__main__", alter_sys=True)
"""
PAGES = ("start", "live", "map", "model")


def _namespace() -> list[str] | None:
    """Return what runs a command in a network of its own, or None where that is not allowed."""
    if sys.platform != "linux" or not shutil.which("unshare") or not shutil.which("ip"):
        return None
    for prefix in (["unshare", "-n"], ["unshare", "-rn"]):
        if subprocess.run([*prefix, "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0:
            return prefix
    return None


def _visit(port: int) -> None:
    """Ask for everything, as strangers and as a visitor do. Runs beside the server."""
    from raw import ask, page, session_of
    from websockets.exceptions import InvalidStatus

    async def sockets() -> None:
        for origin in (
            "http://evil.example",
            "https://x.streamlit.app",
            "null",
            "http://192.0.2.7:80",
            "http://[2001:db8::1]",
        ):
            try:
                await page(port, origin=origin)
            except InvalidStatus:
                pass
            else:
                raise AssertionError(origin)
        for name in PAGES:
            connection = await page(port)
            await session_of(connection, f"page={name}&model=digits-mlp&concepts=7", seconds=240)
            await connection.close()

    for host, origin in (
        ("evil.example", ""),
        ("evil.example", "http://evil.example"),
        ("", "http://evil.example"),
    ):
        for path in (
            "/",
            "/_stcore/health",
            "/_stcore/host-config",
            "/_stcore/metrics",
            "/_stcore/upload_file/x/y",
            "/media/x",
        ):
            for method in ("GET", "OPTIONS", "PUT"):
                headers = {name: text for name, text in (("Host", host), ("Origin", origin)) if text}
                ask(port, path, method=method, **headers)
    asyncio.run(sockets())


SCRIPT = """
import os, subprocess, sys, time
from pathlib import Path
lone = sys.argv[2] == "lone"
def sh(*command): subprocess.run(command, check=True)
if lone:
    sh("ip", "link", "set", "lo", "up")
    try:
        sh("ip", "link", "add", "engram0", "type", "dummy")
        sh("ip", "link", "set", "engram0", "addrgenmode", "none")
        sh("ip", "addr", "add", "192.0.2.1/32", "dev", "engram0")
        sh("ip", "link", "set", "engram0", "up")
        sh("ip", "route", "add", "default", "dev", "engram0")
    except subprocess.CalledProcessError:
        pass  # a system without such devices; its counter of what found no way out may do
def sent():
    device = [line for line in Path("/proc/self/net/dev").read_text().splitlines() if "engram0:" in line]
    names, numbers = Path("/proc/self/net/snmp").read_text().splitlines()[:2]
    lost = dict(zip(names.split(), numbers.split())).get("OutNoRoutes", "0")
    return int(lost) + sum(int(line.split()[10]) for line in device)
def probe():
    # What a look-up would look like: if it is not counted, the counter is blind.
    import socket
    before = sent()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.sendto(b"x", ("198.51.100.1", 53))
        except OSError:
            pass
    return sent() - before
print("counts", probe() if lone else 0)
before = sent()
import test_nothing_leaves_the_machine as here
from servers import free_port
port = free_port()
server = subprocess.Popen([sys.executable, "-c", here.HOOK + here.RUN, "--port", str(port), "--no-browser"])
try:
    for _ in range(900):
        if here._answers(port): break
        assert server.poll() is None
        time.sleep(0.1)
    here._visit(port)
finally:
    server.terminate()
    server.wait(30)
print("packets", sent() - before)
"""


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, bool]:
    """What the run printed, what the hook heard, and whether it had a network of its own."""
    prefix, heard = _namespace(), tmp_path_factory.mktemp("heard") / "heard"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "ENGRAM_HEARD": str(heard),
    }
    command = [*(prefix or []), sys.executable, "-c", SCRIPT, "x", "lone" if prefix else "shared"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout, heard.read_text(), prefix is not None


def test_the_server_connects_to_nothing_but_this_machine(told: tuple[str, str, bool]):
    heard = [
        line
        for line in told[1].splitlines()
        if not any(here in line for here in ("'127.0.0.1'", "'::1'", "'localhost'"))
    ]
    assert "socket.getaddrinfo ('127.0.0.1'" in told[1], (
        "the hook hears: the server looks up what it listens on"
    )
    assert not heard
    if told[2]:
        said = told[0].split()
        assert int(said[said.index("counts") + 1]) > 0, "a probe was not counted: the counter is blind"
        assert int(said[said.index("packets") + 1]) == 0
