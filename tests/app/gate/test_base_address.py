"""Streamlit's page is told where its server is, and nothing else is touched."""

from __future__ import annotations

import asyncio

from app.choice.pages import PAGES
from app.gate.base_address import BaseAddress, uncompressed


def sent(*messages: dict) -> list[dict]:
    out: list[dict] = []

    async def send(message) -> None:  # noqa: ANN001
        out.append(message)

    async def run() -> None:
        answer = BaseAddress(send)
        for message in messages:
            await answer(message)

    asyncio.run(run())
    return out


def start(kind: bytes, status: int = 200, *more: tuple[bytes, bytes]) -> dict:
    headers = [(b"Content-Type", kind), (b"content-length", b"12"), *more]
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes, more: bool = False) -> dict:
    return {"type": "http.response.body", "body": data, "more_body": more}


def test_the_script_stands_before_any_other_and_the_length_is_right():
    begin, whole = sent(
        start(b"text/html; charset=utf-8"), body(b"<html><he", True), body(b"ad><script>1</script>")
    )
    assert whole["body"].startswith(b"<html><head><script>window.__streamlit = { BACKEND_BASE_URL:")
    assert whole["body"].endswith(b"</script><script>1</script>")
    lengths = [value for name, value in begin["headers"] if name.lower() == b"content-length"]
    assert lengths == [str(len(whole["body"])).encode()]
    assert all(page.encode() in whole["body"] for page in PAGES)


def test_what_is_no_page_goes_on_as_it_is():
    packed = start(b"text/html", 200, (b"content-encoding", b"gzip"))
    for first in (start(b"application/json"), start(b"text/html", 304), packed):
        messages = [first, body(b"<head>", True), body(b"")]
        assert sent(*messages) == messages


def test_a_page_is_asked_for_without_compression():
    scope = {"type": "http", "headers": [(b"Accept-Encoding", b"gzip"), (b"host", b"h")]}
    assert uncompressed(scope)["headers"] == [(b"host", b"h")] and len(scope["headers"]) == 2
