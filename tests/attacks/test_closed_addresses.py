"""Tried: everything that Streamlit serves beside the pages.

Must be: on a public screen no file can be uploaded and no figures about the server are read; agents' and
login addresses are closed everywhere; messages that are for developers (clear everybody's cache, run git,
write files) reach nothing.
"""

from __future__ import annotations

import asyncio

import pytest
from raw import ask, page, put_file, rerun, session_of
from servers import Server
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

UPLOAD = "/_stcore/upload_file/{}/x"
ALWAYS = (
    "/_stcore/agent/interact", "/_stcore/agent/openapi.json", "/_stcore/agent/mcp",
    "/_stcore/script-health-check", "/auth/login",
    "/auth/logout", "/oauth2callback", "/app/static/main.py", "/_stcore/anything", "/_stcore",
)  # fmt: skip


@pytest.mark.parametrize("path", ALWAYS)
def test_what_no_page_needs_is_closed_everywhere(server: Server, screen: Server, path: str):
    for port in (server.port, screen.port):
        for method in ("GET", "POST"):
            told = ask(port, path, method=method, body=b"{}" if method == "POST" else None)
            assert told.status in (404, 405) and "<html" not in told.body, (path, method)


def test_a_public_screen_says_nothing_about_itself(server: Server, screen: Server):
    assert ask(screen.port, "/_stcore/metrics").status == 404
    assert ask(screen.port, "/_stcore/metrics/").status == 404
    assert ask(server.port, "/_stcore/metrics").status == 200


def test_a_public_screen_takes_no_file(server: Server, screen: Server):
    async def tried(port: int) -> tuple[int, int]:
        connection = await page(port)
        try:
            session = await session_of(connection)
            return await asyncio.to_thread(put_file, port, session, b"a,b\n"), await asyncio.to_thread(
                lambda: ask(port, UPLOAD.format(session), method="DELETE").status
            )
        finally:
            await connection.close()

    assert asyncio.run(tried(screen.port)) == (404, 404)
    # The same is taken where uploads are open; a removal without the page's token is not.
    assert asyncio.run(tried(server.port)) == (204, 403)


def test_messages_for_developers_reach_nothing(server: Server, log):  # noqa: ANN001
    async def tried() -> list[ForwardMsg]:
        connection = await page(server.port)
        await session_of(connection)
        orders = [
            BackMsg(clear_cache=True),
            BackMsg(load_git_info=True),
            BackMsg(set_run_on_save=True),
            BackMsg(),
        ]
        orders += [BackMsg(debug_shutdown_runtime=True), BackMsg(debug_disconnect_websocket=True)]
        operation = BackMsg()
        operation.backend_operation_request.install_skills.SetInParent()
        for order in (*orders, operation):
            await connection.send(order.SerializeToString())
        said: list[ForwardMsg] = []
        async with asyncio.timeout(60):
            while not any(told.WhichOneof("type") == "heartbeat_ack" for told in said):
                # Asked again: the beginning of a run clears what has not been sent yet.
                await connection.send(BackMsg(app_heartbeat=True).SerializeToString())
                try:
                    while True:
                        data = await asyncio.wait_for(connection.recv(), 1)
                        assert isinstance(data, bytes)
                        said.append(ForwardMsg.FromString(data))
                except TimeoutError:
                    continue
        await connection.send(rerun().SerializeToString())
        await connection.close()
        return said

    for told in asyncio.run(tried()):
        assert told.WhichOneof("type") not in ("git_info_changed", "backend_operation_response")
        assert not told.session_status_changed.run_on_save
    assert "No handler" not in log.read_text() and "Traceback" not in log.read_text()
