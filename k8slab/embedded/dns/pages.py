"""The small HTTP pages of the process: /health, /ready, /metrics."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from k8slab.embedded.apps.sockets import listen

Page = Callable[[], Awaitable[tuple[int, str]]]
"""Returns a status code and the body."""

_REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}
_SECONDS = 5.0


async def serve_pages(address: str, pages: dict[str, Page]) -> asyncio.Server:
    """Serve these paths on ``[HOST]:PORT`` (``:8181`` is every address of both families)."""
    host, _, port = address.rpartition(":")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _response(head, pages))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # whoever asked has gone, or sent no request
        finally:
            writer.close()

    # Own sockets: with a name asyncio would start a thread to resolve it.
    literal = "127.0.0.1" if host == "localhost" else host.strip("[]")
    return await asyncio.start_server(
        answer, sock=listen(int(port), kind=socket.SOCK_STREAM, host=literal)
    )


async def _response(head: bytes, pages: dict[str, Page]) -> bytes:
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    path = words[1].partition("?")[0] if len(words) > 1 else ""
    page = pages.get(path)
    status, body = await page() if page else (404, "404 page not found\n")
    data = body.encode()
    head_text = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; version=0.0.4\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    return head_text.encode() + (b"" if words[0] == "HEAD" else data)
