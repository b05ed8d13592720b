"""What a browser would never send: requests written by hand, and sockets that do half of what they should."""

from __future__ import annotations

import asyncio
import http.client
import socket
from dataclasses import dataclass

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: str
    headers: dict[str, str]


def ask(
    port: int,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    timeout: float = 20,
    **headers: str,
) -> Answer:
    """Send one request, with these headers and no others but a Host."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        given = {"Host": f"127.0.0.1:{port}"} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        if body is not None and "Transfer-Encoding" not in given:
            given.setdefault("Content-Length", str(len(body)))
        for name, text in given.items():
            if text:
                connection.putheader(name, text)
        try:
            connection.endheaders(body)
        except ConnectionError:
            pass  # what is refused need not be sent to its end
        response = connection.getresponse()
        return Answer(response.status, response.read().decode("utf-8", "replace"), dict(response.headers))
    finally:
        connection.close()


async def page(port: int, *, name: str = "", **options: object) -> ClientConnection:
    """Open the socket of a page.

    Args:
        port: port of the server, which is on this machine.
        name: the host that is asked for.
        options: those of `connect`.
    """
    given: dict[str, object] = {
        "subprotocols": ["streamlit"],
        "origin": f"http://127.0.0.1:{port}",
        "max_size": None,
        "open_timeout": 20,
        "ping_timeout": None,
        "compression": None,
    }
    if name:
        given |= {"host": "127.0.0.1", "port": port}
    url = f"ws://{name or f'127.0.0.1:{port}'}/_stcore/stream"
    return await connect(url, **(given | options))  # type: ignore[arg-type]


def rerun(query: str = "page=model") -> BackMsg:
    """Return a request for a run."""
    message = BackMsg()
    message.rerun_script.query_string = query
    return message


async def session_of(connection: ClientConnection, query: str = "page=model", *, seconds: float = 60) -> str:
    """Ask for a run, wait for its end, and return Streamlit's name of the session."""
    await connection.send(rerun(query).SerializeToString())
    name = ""
    async with asyncio.timeout(seconds):
        while True:
            data = await connection.recv()
            assert isinstance(data, bytes)
            said = ForwardMsg.FromString(data)
            if said.WhichOneof("type") == "new_session":
                name = said.new_session.initialize.session_id
            if said.WhichOneof("type") == "script_finished":
                return name


def closed_within(connection: socket.socket, seconds: float) -> bool:
    """Say whether the other side closes a connection in time, whatever it sends before."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def put_file(port: int, session: str, data: bytes, *, name: str = "x") -> int:
    """Send a file as a page does, and return the status of the answer."""
    token = ask(port, "/_stcore/health").headers["set-cookie"].split(";")[0].split("=", 1)[1]
    edge = b"--edge\r\n"
    head = b'Content-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n'
    body = edge + head + data + b"\r\n--edge--\r\n"
    try:
        return ask(
            port, f"/_stcore/upload_file/{session}/{name}", method="PUT", body=body,
            Cookie=f"_streamlit_xsrf={token}", X_Xsrftoken=token,
            Content_Type="multipart/form-data; boundary=edge",
        ).status  # fmt: skip
    except (ConnectionError, http.client.HTTPException):
        return 413  # closed in the middle, before the answer could be read
