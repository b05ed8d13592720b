"""Connections that ask for runs of a page as fast as they can; a process of its own, to slow nothing else.

python tests/attacks/flooding.py PORT CONNECTIONS RATE SECONDS [again]
"""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

ADDRESSES = (
    {"page": "live", "model": "digits-mlp", "class": "7", "concepts": "7"},
    {"page": "criteria", "model": "digits-mlp", "concepts": "3"},
    {"page": "layers", "model": "no-such-model"},
)


def rerun(number: int) -> bytes:
    """Return a request for a run, each with another address than the one before."""
    message = BackMsg()
    address = ADDRESSES[number % len(ADDRESSES)] | {"strength": f"{0.1 + number % 19 / 10:g}"}
    message.rerun_script.query_string = urlencode(address)
    message.rerun_script.is_history_navigation = True
    return message.SerializeToString()


async def opened(port: int) -> ClientConnection:
    """Return a connection as a browser's page makes it."""
    return await connect(
        f"ws://127.0.0.1:{port}/_stcore/stream",
        subprotocols=["streamlit"],  # type: ignore[list-item]
        origin=f"http://127.0.0.1:{port}",  # type: ignore[arg-type]
        max_size=None,
        open_timeout=20,
        ping_timeout=None,
    )


async def read(socket: ClientConnection) -> None:
    """Take whatever comes, and do nothing with it."""
    try:
        async for _ in socket:
            pass
    except ConnectionClosed:
        return


async def flood(port: int, seed: int, rate: float, until: float, *, again: bool) -> tuple[int, int]:
    """Ask at a rate; return how often was asked, and how many connections it took."""
    sent = connections = 0
    while time.monotonic() < until:
        try:
            socket = await opened(port)
        except (InvalidHandshake, OSError, TimeoutError, ConnectionClosed):
            await asyncio.sleep(0.2)
            continue
        connections += 1
        reader = asyncio.create_task(read(socket))
        try:
            while time.monotonic() < until:
                await socket.send(rerun(seed + sent))
                sent += 1
                await asyncio.sleep(1 / rate)
        except ConnectionClosed:
            if not again:
                break
        finally:
            reader.cancel()
            socket.transport.abort()
    return sent, connections


async def main() -> None:
    """Flood, and print what was done."""
    port, count, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    until = time.monotonic() + seconds
    done = await asyncio.gather(
        *(flood(port, 1000 * seed, rate, until, again="again" in sys.argv) for seed in range(count))
    )
    print(sum(sent for sent, _ in done), sum(connections for _, connections in done))


if __name__ == "__main__":
    asyncio.run(main())
