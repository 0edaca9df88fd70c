"""port-forward: TCP connections into a pod's network namespace.

Over SPDY a client opens, for each TCP connection, a stream pair with the same
``requestid``: ``error`` and ``data``, both with the ``port``. Data flows on the one; on
the other we say why it did not, as text. Over ``v4.channel.k8s.io`` (the Python client)
the ports stand in the query, and the n-th has the channels 2n for data and 2n + 1 for
the error; both begin with a message that holds the port, little-endian.
Source: kubelet ``pkg/kubelet/cri/streaming/portforward`` (its protocol, not its code).
"""

from __future__ import annotations

import asyncio
import os
import re
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from k8slab.errors import ApiStatusError
from k8slab.objects.meta import name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from k8slab.embedded.apiserver.backends import PodBackend
    from k8slab.embedded.apiserver.streams.session import SpdySession, SpdyStream
    from k8slab.embedded.apiserver.streams.websocket import WebSocket
    from k8slab.objects.meta import Object

PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
CHANNEL_PROTOCOL = "v4.channel.k8s.io"
LAST_PORT = 65535
_PORT = re.compile(r"[0-9]{1,5}\Z")
_CHUNK = 1 << 16


class Forwarder:
    """Connect to the ports of one pod."""

    def __init__(self, pods: PodBackend, pod: Object) -> None:
        self._pods = pods
        self._pod = pod

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | str:
        """Return a connection to localhost in the pod, or why there is none."""
        try:
            return await self._pods.connect(self._pod, port)
        except OSError as error:
            reason = f"connect: {os.strerror(error.errno or 0).lower()}"
        except ApiStatusError as error:
            reason = error.message
        where = f"{name_of(self._pod)}_{namespace_of(self._pod)}, uid {uid_of(self._pod)}"
        return (
            f"error forwarding port {port} to pod {where}: failed to connect to "
            f"localhost:{port} inside the pod's network namespace: {reason}"
        )


async def serve_spdy(session: SpdySession, forwarder: Forwarder) -> None:
    """Serve stream pairs until the client leaves."""
    halves: dict[str, dict[str, SpdyStream]] = {}
    async with asyncio.TaskGroup() as group:
        group.create_task(session.serve())
        while stream := await session.accept():
            kind = stream.headers.get("streamtype")
            port = stream.headers.get("port", "")
            if kind not in ("error", "data") or not _PORT.match(port) or int(port) > LAST_PORT:
                await stream.reset()
                continue
            request = stream.headers.get("requestid", port)
            pair = halves.setdefault(request, {})
            pair[kind] = stream
            if len(pair) == 2:
                del halves[request]
                group.create_task(_pair(session, forwarder, int(port), pair))


async def _pair(
    session: SpdySession, forwarder: Forwarder, port: int, pair: dict[str, SpdyStream]
) -> None:
    """Join one stream pair with one TCP connection."""
    data, error = pair["data"], pair["error"]
    try:
        connection = await forwarder.connect(port)
        if isinstance(connection, str):
            await error.send(connection.encode(), fin=True)
            await data.send(b"", fin=True)
        else:
            await _join(*connection, receive=data.receive, send=data.send)
            await data.send(b"", fin=True)
            await error.send(b"", fin=True)
    except ConnectionError:
        pass  # the client has gone, and with it all its streams
    finally:
        session.forget(data)
        session.forget(error)


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    receive: Callable[[], Awaitable[bytes]],
    send: Callable[[bytes], Awaitable[None]],
) -> None:
    """Copy both ways until the pod's side has said all it had to say."""

    async def upstream() -> None:
        with suppress(ConnectionError):
            while data := await receive():
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                with suppress(OSError):  # ENOTCONN: the pod has reset the connection
                    writer.write_eof()

    copying = asyncio.create_task(upstream())
    try:
        while data := await _read(reader):
            await send(data)
    finally:
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Read some bytes; a reset connection ends like a closed one."""
    try:
        return await reader.read(_CHUNK)
    except ConnectionError:
        return b""


async def serve_channels(socket: WebSocket, forwarder: Forwarder, ports: list[int]) -> None:
    """Serve one TCP connection for each port of the query, until the client leaves."""
    inputs: list[asyncio.Queue[bytes]] = [asyncio.Queue(16) for _ in ports]
    for number, port in enumerate(ports):
        for channel in (2 * number, 2 * number + 1):
            await socket.send(bytes([channel]), struct.pack("<H", port))
    receiving = asyncio.create_task(_distribute(socket, inputs))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_channel(socket, forwarder, port, inputs[port[0]]))
                for port in enumerate(ports)
            ]
            receiving.add_done_callback(lambda _: [task.cancel() for task in tasks])
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await socket.close()


async def _distribute(socket: WebSocket, inputs: list[asyncio.Queue[bytes]]) -> None:
    """Hand each data channel its messages until the client leaves."""
    while (message := await socket.receive()) is not None:
        if len(message) > 1 and message[0] % 2 == 0 and message[0] // 2 < len(inputs):
            await inputs[message[0] // 2].put(message[1:])


async def _channel(
    socket: WebSocket, forwarder: Forwarder, port: tuple[int, int], source: asyncio.Queue[bytes]
) -> None:
    """Join the channels of one port, given with its place in the query, with the pod."""
    number = port[0]
    connection = await forwarder.connect(port[1])
    with suppress(ConnectionError):
        if isinstance(connection, str):
            await socket.send(bytes([2 * number + 1]), connection.encode())
            return

        async def send(data: bytes) -> None:
            await socket.send(bytes([2 * number]), data)

        await _join(*connection, receive=source.get, send=send)
