"""Tried: sockets that do half of what they should, or far too much of it.

Heads of requests that never end, frames that are too large, too many or empty, pages that never read what
they are sent, that ask for nothing, that come and go all the time, that name sessions of others. Must be:
each is closed or bounded, the server goes on answering, and its log holds no traceback.
"""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import Awaitable, Callable

import psutil
import pytest
from raw import ask, closed_within, page, rerun, session_of
from servers import Server, running
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.gate.limits import Limits

LIMITS = Limits()


@pytest.fixture(autouse=True)
def _still_there(server: Server):
    yield
    began = time.monotonic()
    assert ask(server.port, "/_stcore/health", timeout=10).status == 200
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000,
        b"GET /" + b"x" * 100_000,
        b"\x16\x03\x01\x02\x00" * 100,
        b"\r\n" * 90_000,
    ],
)
def test_a_head_that_is_too_large_or_none_is_refused(server: Server, request_: bytes):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        try:
            connection.sendall(request_)
        except ConnectionError:
            return
        assert closed_within(connection, LIMITS.header_seconds + 3)


async def _code(port: int, *messages: bytes | str, seconds: float = 15) -> int | None:
    """Send messages; return the code with which the connection was closed, or None if it was not."""
    connection = await page(port)
    try:
        async with asyncio.timeout(seconds):
            for message in messages:
                await connection.send(message)
            while True:
                await connection.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006
    except TimeoutError:
        return None
    finally:
        connection.transport.abort()


def many_widgets(count: int) -> bytes:
    message = rerun()
    message.rerun_script.widget_states.widgets.extend(
        WidgetState(id=f"$$ID-{number}-x", int_value=number) for number in range(count)
    )
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ((b"x" * (LIMITS.most_frame + 1),), 1009),
        ((many_widgets(LIMITS.most_widgets + 1),), 1009),
        ((many_widgets(LIMITS.most_widgets), many_widgets(2 * LIMITS.most_widgets)), 1009),
        ((b"\xff" * 50,), 1002),
        (("a text",), 1003),
        ((b"",) * 200, 1008),
        ((BackMsg(app_heartbeat=True).SerializeToString(),) * 200, 1008),
        ((rerun("x=" + "y" * 3_000_000).SerializeToString(),) * 10, 1008),
    ],
    ids=["huge", "widgets", "more widgets", "garbage", "text", "empty", "heartbeats", "addresses"],
)
def test_messages_that_are_too_large_too_many_or_none_end_the_visit(
    server: Server, messages: tuple, code: int
):
    assert asyncio.run(_code(server.port, *messages)) == code


def test_an_enormous_address_is_only_not_used(server: Server):
    query = "page=model&" + "&".join(f"k{number}={number}" for number in range(20_000))
    assert asyncio.run(_code(server.port, rerun(query).SerializeToString(), seconds=5)) is None


def test_pings_and_pieces_are_counted_too(server: Server):
    async def ended(send: Callable[[ClientConnection], Awaitable[None]]) -> bool:
        connection = await page(server.port)
        try:
            await send(connection)
            await asyncio.wait_for(connection.wait_closed(), 10)
        except ConnectionClosed:
            return True
        except TimeoutError:
            return False
        finally:
            connection.transport.abort()
        return True

    async def pings(connection: ClientConnection) -> None:
        for _ in range(2000):
            await connection.ping()

    async def pieces(connection: ClientConnection) -> None:
        await connection.send([b"x"] * 5000)

    assert asyncio.run(ended(pings)) and asyncio.run(ended(pieces))


async def _slow_heads(port: int) -> bool:
    """Begin forty requests and never end them; return whether all were closed."""
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
    for number, (_, writer) in enumerate(pairs):
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " if number % 2 else b"")
    for _ in range(4):
        await asyncio.sleep(1)
        for _, writer in pairs[1::2]:
            writer.write(b"x")
    try:
        async with asyncio.timeout(LIMITS.header_seconds + 5):
            await asyncio.gather(*(reader.read() for reader, _ in pairs), return_exceptions=True)
    except TimeoutError:
        return False
    finally:
        for _, writer in pairs:
            writer.transport.abort()
    return True


async def _deaf(server: Server) -> tuple[int, float]:
    """Ask and never read; return how many of four were closed, and by how many MiB the server grew."""
    first = await page(server.port)
    await session_of(first, "page=criteria&model=digits-mlp")  # what everybody needs is loaded by now
    await first.close()
    before, gone, connections = server.resident, set[int](), []
    for _ in range(4):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", server.port))
        connections.append(await page(server.port, sock=plain))
        connections[-1].transport.pause_reading()
    end = time.monotonic() + LIMITS.stuck_seconds + 10
    while time.monotonic() < end and len(gone) < len(connections):
        for number, connection in enumerate(connections):
            wanted = (
                f"page=criteria&model=digits-mlp&concepts={number}&strength={time.monotonic() % 1 + 0.2:.2f}"
            )
            try:
                await asyncio.wait_for(connection.send(rerun(wanted).SerializeToString()), 1)
            except (ConnectionClosed, TimeoutError):
                gone.add(number)
        await asyncio.sleep(1)
    grown = server.resident - before
    for connection in connections:
        connection.transport.abort()
    return len(gone), grown


async def _silent(port: int) -> tuple[int | None, float]:
    began = time.monotonic()
    return await _code(port, seconds=LIMITS.silent_seconds + 20), time.monotonic() - began


def test_who_sends_half_a_head_never_reads_or_asks_for_nothing_is_not_kept(server: Server):
    async def all_at_once() -> tuple[bool, tuple[int, float], tuple[int | None, float]]:
        return await asyncio.gather(_slow_heads(server.port), _deaf(server), _silent(server.port))

    heads, (gone, grown), (code, after) = asyncio.run(all_at_once())
    assert heads
    # That they are closed depends on how much a busy server had for them: see tests/app/gate/test_gate.py.
    assert grown < 200, (gone, grown)
    assert code == 1008 and after > LIMITS.silent_seconds - 5


def test_sessions_of_others_cannot_be_guessed(server: Server):
    async def tried() -> tuple[str, list[str]]:
        connection = await page(server.port)
        own = await session_of(connection)
        given = []
        for name in (str(uuid.uuid4()), "x" * 3000, own.upper()):
            other = await page(server.port, subprotocols=["streamlit", "none", name])
            given.append(await session_of(other))
            await other.close()
        await connection.send(rerun().SerializeToString())
        await connection.close()
        return own, given

    own, given = asyncio.run(tried())
    assert len({own, *given}) == 4 and uuid.UUID(own).version == 4


def test_coming_and_going_is_limited_and_leaves_nothing(tmp_path):  # noqa: ANN001
    most = int(LIMITS.arrivals[0])

    async def come_and_go(port: int) -> bool:
        try:
            connection = await page(port)
        except InvalidStatus:
            return False
        await connection.send(rerun().SerializeToString())
        connection.transport.abort()
        return True

    async def many(port: int) -> list[bool]:
        come: list[bool] = []
        for _ in range(9):
            come += await asyncio.gather(*(come_and_go(port) for _ in range(20)))
        return come

    with running(tmp_path / "log", demo=True) as server:
        began = time.monotonic()
        come = asyncio.run(many(server.port))
        assert come.count(True) <= most + LIMITS.arrivals[1] * (time.monotonic() - began) + 1
        end = time.monotonic() + LIMITS.grace_seconds + 40
        while _files(server) > 60 and time.monotonic() < end:
            time.sleep(0.5)
        assert _files(server) <= 60
        assert "Traceback" not in (tmp_path / "log").read_text()


def _files(server: Server) -> int:
    assert server.process is not None
    return psutil.Process(server.process.pid).num_fds()


def test_a_public_screen_has_so_many_visits_from_one_address(screen: Server):
    most = Limits.of(demo=True).visits[1]

    async def come() -> int:
        held = []
        try:
            for _ in range(most + 15):
                try:
                    held.append(await page(screen.port))
                except InvalidStatus:
                    continue
            return len(held)
        finally:
            for connection in held:
                connection.transport.abort()

    assert asyncio.run(come()) == most
    assert ask(screen.port, "/_stcore/health").status == 200


def test_the_log_holds_no_traceback(log):  # noqa: ANN001
    assert "Traceback" not in log.read_text()
