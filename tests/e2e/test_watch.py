"""The watch over pages and server sees what it is there to see."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from outgoing import Outgoing, is_here
from watch import Watch

# Addresses and a name that belong to nobody (RFC 5737, RFC 2606).
CONNECT = """
import socket, subprocess, sys
for ask in (
    lambda: socket.create_connection(("192.0.2.1", 9), timeout=0.05),
    lambda: socket.create_connection(("127.0.0.1", 9), timeout=0.05),
    lambda: socket.getaddrinfo("nobody.invalid", 80),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.2", 9)),
    lambda: subprocess.run([sys.executable, "-c", "import socket; socket.gethostbyname('b.invalid')"]),
):
    try:
        ask()
    except OSError:
        pass
"""


def test_what_a_process_and_its_children_connect_to_is_noted(tmp_path):
    outgoing = Outgoing(tmp_path)
    environment = os.environ | {"PYTHONPATH": outgoing.path}
    done = subprocess.run([sys.executable, "-c", CONNECT], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert outgoing.faults == [
        "socket.connect 192.0.2.1", "socket.getaddrinfo 192.0.2.1", "socket.getaddrinfo nobody.invalid",
        "socket.gethostbyname b.invalid", "socket.sendto 192.0.2.2",
    ]  # fmt: skip
    assert "socket.connect 127.0.0.1" in outgoing.noted


def test_the_kernels_list_of_sockets_is_read_without_the_hook(tmp_path):
    # A datagram socket is connected without a packet and without a network.
    code = (
        "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.connect(('127.0.0.2', 9)); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    outgoing = Outgoing(tmp_path)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        with outgoing.watching(process.pid, every=0.01):
            until = time.monotonic() + 20
            while not outgoing.looks and time.monotonic() < until:
                time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert outgoing.noted == {"socket 127.0.0.2"} and outgoing.faults == []


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", True), ("192.0.2.1", False),
     ("fe80::1%eth0", False), ("10.0.0.1", False), ("localhost.example", False)],
)  # fmt: skip
def test_what_counts_as_this_machine(host, here):
    assert is_here(host) is here


@pytest.mark.e2e
def test_a_page_that_asks_somebody_else_is_noted(context):
    page = context().new_page()
    watch = Watch(page)
    page.set_content("<h1>A page</h1>")
    page.evaluate(
        """() => {
          new WebSocket('ws://192.0.2.1:9/socket');
          new Image().src = 'http://192.0.2.2:9/image';
          new WebSocket('ws://127.0.0.1:9/socket');
        }"""
    )
    for _ in range(100):
        if len([fault for fault in watch.faults if fault.startswith("request")]) == 2:
            break
        page.wait_for_timeout(50)
    assert {f for f in watch.faults if f.startswith("request")} == {
        "request: ws://192.0.2.1:9/socket", "request: http://192.0.2.2:9/image",
    }  # fmt: skip
