"""Tried: requests under names that are not this server's, and from pages of other servers.

A page of a stranger can give its own name the address 127.0.0.1 and have the browser of somebody who runs the
explorer drive it (DNS rebinding). Must be: only the names of this machine, what --host says and what --allow-
host adds are answered, by HTTP and on the websocket; pages of other origins are refused; no other origin may
hold the app in a frame.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from raw import ask, page
from servers import Server, running
from websockets.exceptions import InvalidStatus

from app.gate.hosts import Hosts, network

STRANGERS = (
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "2130706433",
    "0x7f.1",
    "127.1",
)
ODD = (
    "user@127.0.0.1",
    "127.0.0.1/x",
    "127.0.0.1?x",
    "127.0.0.1:99999",
    "127.0.0.1:x",
    "[::1",
    "",
    "a b",
    "127.0.0.1,x",
)
PATHS = (
    "/",
    "/live",
    "/_stcore/health",
    "/_stcore/host-config",
    "/_stcore/metrics",
    "/media/x.png",
    "/static/x.js",
)


@pytest.mark.parametrize("host", STRANGERS + ODD)
def test_strange_names_are_not_answered(server: Server, host: str):
    name = f"{host}:{server.port}" if host in STRANGERS else host
    for path in PATHS if host == STRANGERS[0] else PATHS[:2]:
        told = ask(server.port, path, Host=name)
        assert told.status in (400, 403) and "<html" not in told.body, (name, path)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]"])
def test_this_machine_s_own_names_are(server: Server, host: str):
    assert ask(server.port, "/", Host=f"{host}:{server.port}").status == 200


async def _refused(port: int, **headers: str) -> bool:
    try:
        connection = await page(port, **headers)
    except InvalidStatus as refusal:
        return refusal.response.status_code == 403
    await connection.close()
    return False


@pytest.mark.parametrize("host", STRANGERS[:3])
def test_nor_on_the_websocket(server: Server, host: str):
    # Page and host agree, as they do when a name is rebound.
    name = f"{host}:{server.port}"
    assert asyncio.run(_refused(server.port, origin=f"http://{name}", name=name))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://x.streamlit.app",
        "null",
        "http://127.0.0.1:1",
        "http://localhost",
        "file://",
        "x",
    ],
)
def test_pages_of_others_cannot_talk_to_it(server: Server, origin: str):
    assert asyncio.run(_refused(server.port, origin=origin))
    assert ask(server.port, "/_stcore/health", Origin=origin).status == 403


def test_its_own_pages_can(server: Server):
    for origin in (f"http://127.0.0.1:{server.port}", f"http://localhost:{server.port}", None):
        assert not asyncio.run(_refused(server.port, origin=origin))


def test_no_other_page_holds_it_in_a_frame_or_gives_it_orders(server: Server):
    told = ask(server.port, "/")
    assert told.headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in told.headers["content-security-policy"]
    assert json.loads(ask(server.port, "/_stcore/host-config").body)["allowedOrigins"] == []


def test_a_site_that_is_named_may_hold_it_in_a_frame_and_no_other():
    with running(options=("--allow-frame", "https://huggingface.co")) as server:
        policy = ask(server.port, "/").headers["content-security-policy"]
    assert policy.endswith("frame-ancestors 'self' https://huggingface.co")


def test_a_proxy_s_name_is_answered_if_it_is_allowed():
    with running(options=("--allow-host", "engrams.example.org")) as server:
        name = "engrams.example.org"
        assert ask(server.port, "/", Host=name).status == 200
        assert ask(server.port, "/", Host="evil.example").status == 403
        for host in (name, f"127.0.0.1:{server.port}"):  # whichever of the two the proxy hands on
            assert not asyncio.run(_refused(server.port, origin=f"https://{name}", name=host))
        assert asyncio.run(_refused(server.port, origin=f"https://x.{name}", name=name))


def test_names_and_origins_by_rule():
    wide = Hosts("0.0.0.0")
    assert wide.answers("192.168.1.5:8501", local="192.168.1.5") and not wide.answers("0.0.0.0:8501")
    assert not wide.answers("lecture.local:8501", local="192.168.1.5")
    assert Hosts("lecture.local").answers("Lecture.Local.:8501")
    assert Hosts("::1").answers("[0:0:0:0:0:0:0:1]:80") and not Hosts().answers("[::2]")
    own = Hosts(allowed=("engrams.example.org",))
    assert own.of_own_page("https://engrams.example.org", "127.0.0.1:8501")
    assert not own.of_own_page("ftp://engrams.example.org", "engrams.example.org")
    assert not own.of_own_page("https://[broken", "engrams.example.org")
    assert network("::ffff:10.0.0.1") == "10.0.0.1" and network("2001:db8::1") == network("2001:db8::ffff")
    assert network("2001:db8::1") != network("2001:db8:0:1::1") and network("unix") == "unix"
