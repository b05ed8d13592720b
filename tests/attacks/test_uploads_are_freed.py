"""Tried: large files, many files, and pages that are closed while their files are here or on the way.

Before, each page could leave 49 MB behind as often as it liked, and they were still there 150 s after it was
closed. Must be: a page has at most so many files and bytes, a file that says no length is refused, and all is
freed a few seconds after the page was closed.
"""

from __future__ import annotations

import asyncio
import http.client
import time

from raw import ask, page, put_file, session_of
from servers import Server
from websockets.asyncio.client import ClientConnection

from app.gate.limits import Limits

MB = 1024 * 1024
LIMITS = Limits()


def _held(server: Server) -> int:
    """Return the bytes of all uploaded files that the server holds, as it says itself."""
    told = ask(server.port, "/_stcore/metrics?families=cache_memory_bytes").body
    return sum(int(line.split()[-1]) for line in told.splitlines() if '"UploadedFileManager"' in line)


def _freed(server: Server, *, seconds: float) -> bool:
    """Wait until nothing is held any more."""
    end = time.monotonic() + seconds
    while _held(server) and time.monotonic() < end:
        time.sleep(1)
    return not _held(server)


def test_files_are_bounded_and_freed(server: Server):
    async def fill() -> tuple[list[int], list[int], int]:
        connection = await page(server.port)
        session = await session_of(connection)
        large = [
            await asyncio.to_thread(put_file, server.port, session, b"x" * (49 * MB), name=f"large{i}")
            for i in range(4)
        ]
        small = [
            await asyncio.to_thread(put_file, server.port, session, b"x", name=f"s{i}") for i in range(10)
        ]
        held = await asyncio.to_thread(_held, server)
        await connection.close()
        return large, small, held

    large, small, held = asyncio.run(fill())
    assert large == [204, 204, 413, 413]
    assert small.count(204) == LIMITS.upload_files - 2 and small[-1] == 413
    assert held == 2 * 49 * MB + small.count(204)
    # What is said of it can be five seconds old.
    assert _freed(server, seconds=LIMITS.grace_seconds + 20)


def test_a_file_that_arrives_after_its_page_was_closed_is_freed_too(server: Server):
    async def opened() -> tuple[ClientConnection, str]:
        connection = await page(server.port)
        return connection, await session_of(connection)

    async def late() -> int:
        connection, session = await opened()
        token = ask(server.port, "/_stcore/health").headers["set-cookie"].split(";")[0].split("=", 1)[1]
        head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n'
        body = head + b"x" * (40 * MB) + b"\r\n--edge--\r\n"
        put = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        put.putrequest("PUT", f"/_stcore/upload_file/{session}/late")
        for name, text in (
            ("Cookie", f"_streamlit_xsrf={token}"), ("X-Xsrftoken", token),
            ("Content-Length", str(len(body))),
            ("Content-Type", "multipart/form-data; boundary=edge"),
        ):  # fmt: skip
            put.putheader(name, text)
        put.endheaders()
        await asyncio.to_thread(put.send, body[: 20 * MB])
        await connection.close()
        await asyncio.sleep(LIMITS.grace_seconds + 2)
        await asyncio.to_thread(put.send, body[20 * MB :])
        status = (await asyncio.to_thread(put.getresponse)).status
        put.close()
        return status

    status = asyncio.run(late())
    assert status in (204, 400)
    assert _freed(server, seconds=LIMITS.grace_seconds + 20)


def test_a_file_of_no_length_or_too_much_of_it_is_refused(server: Server):
    told = ask(
        server.port,
        "/_stcore/upload_file/no-session/x",
        method="PUT",
        body=b"0\r\n\r\n",
        Transfer_Encoding="chunked",
    )
    assert told.status == 411
    for length in ("-1", "1" * 30, "x", str(200 * MB)):
        told = ask(server.port, "/_stcore/upload_file/no-session/x", method="PUT", Content_Length=length)
        assert told.status in (400, 413)
