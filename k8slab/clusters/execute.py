"""Run a command in a container through the API, by WebSocket.

The channel protocol of ``v4.channel.k8s.io`` and ``v5.channel.k8s.io`` (KEP-4006): the first
byte of every message names the stream; channel 3 ends the session with a Status that carries
the exit code; in v5 channel 255 closes one stream, which is how a command sees the end of its
standard input.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import urlencode

from k8slab.errors import ApiStatusError, ClusterNotReadyError, ProbeError
from k8slab.programs import Completed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from websockets.asyncio.client import ClientConnection

    from k8slab.clusters.rest import Rest

T = TypeVar("T")

Input: TypeAlias = "bytes | Callable[[], bytes]"
"""What a command reads. A function is called (in a thread) when the command has said something
first, and what it returns is sent: so one may wait for a command that is ready, and end it."""

STDIN, STDOUT, STDERR, ERROR, CLOSE = 0, 1, 2, 3, 255
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
CHUNK = 32 * 1024
"""Bytes of standard input in one message; servers limit a message to 32 MiB, some to less."""


def execute(
    rest: Rest, path: str, argv: Sequence[str], *, container: str, stdin: Input, deadline: float
) -> Completed:
    """Run `argv` in the pod behind `path` and return its output and exit code.

    Raises `ApiStatusError` when the API refuses, `ProbeError` when the deadline (seconds)
    passes or the connection breaks before the exit code came.
    """
    # Imported here: nearly nothing needs a WebSocket, and it costs as much as the rest together.
    from websockets.exceptions import InvalidStatus, WebSocketException  # noqa: PLC0415

    query = [("command", word) for word in argv]
    query += [("stdout", "true"), ("stderr", "true")]
    query += [("container", container)] if container else []
    query += [("stdin", "true")] if stdin else []
    command = f"exec of {argv[0]!r} by {path.rpartition('/exec')[0]}"
    try:
        streams = run_apart(_session(rest, f"{path}?{urlencode(query)}", stdin, deadline))
    except InvalidStatus as error:
        raise _refused(error.response.status_code, bytes(error.response.body or b"")) from error
    except TimeoutError as error:
        raise ProbeError(f"{command} did not end within {deadline:g} s") from error
    except WebSocketException as error:
        raise ProbeError(f"{command} broke off: {error}") from error
    except OSError as error:
        raise ClusterNotReadyError(f"the API does not answer: {error}") from error
    return Completed(
        tuple(argv),
        exit_code(json.loads(streams[ERROR])),
        streams[STDOUT].decode(errors="replace"),
        streams[STDERR].decode(errors="replace"),
    )


async def _session(rest: Rest, path: str, stdin: Input, deadline: float) -> Mapping[int, bytearray]:
    import asyncio  # noqa: PLC0415

    # The library's blocking client is not used: it reads and writes one TLS connection from
    # two threads and selects on the socket without asking whether TLS holds data already, so a
    # session ticket that comes at the wrong moment leaves it waiting for ever.
    from websockets.asyncio.client import connect  # noqa: PLC0415

    async with (
        asyncio.timeout(deadline),
        connect(
            rest.url(path, "wss" if rest.tls else "ws"),
            ssl=rest.ssl_context if rest.tls else None,
            subprotocols=[V5, V4],  # type: ignore[list-item]  # plain text is what goes on the wire
            additional_headers=rest.headers(),
            open_timeout=None,
            close_timeout=1,
            max_size=None,
            compression=None,
            proxy=None,
        ) as socket,
    ):
        spoken = asyncio.Event()
        sending = asyncio.create_task(_send(socket, stdin, spoken))
        try:
            return await _collect(socket, spoken)
        finally:  # a command may end before it has read all that it was sent
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(socket: ClientConnection, stdin: Input, spoken: asyncio.Event) -> None:
    if callable(stdin):
        import asyncio  # noqa: PLC0415

        await spoken.wait()
        stdin = await asyncio.to_thread(stdin)
    for start in range(0, len(stdin), CHUNK):
        await socket.send(bytes([STDIN]) + stdin[start : start + CHUNK])
    if stdin and socket.subprotocol == V5:
        await socket.send(bytes([CLOSE, STDIN]))


async def _collect(socket: ClientConnection, spoken: asyncio.Event) -> Mapping[int, bytearray]:
    streams = {STDOUT: bytearray(), STDERR: bytearray(), ERROR: bytearray()}
    while not streams[ERROR]:
        message = await socket.recv()
        data = message.encode() if isinstance(message, str) else message
        if data and data[0] in streams:
            streams[data[0]] += data[1:]
        if streams[STDOUT]:
            spoken.set()
    return streams


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` in a loop and thread of its own and return its result.

    A notebook's main thread runs a loop already, and none can be entered twice. Ctrl-C in the
    caller cancels the coroutine and waits until it has closed what it opened.
    """
    import asyncio  # noqa: PLC0415
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    try:
        with ThreadPoolExecutor(1, "k8slab-exec") as thread:
            running = thread.submit(loop.run_until_complete, task)
            try:
                return running.result()
            finally:
                loop.call_soon_threadsafe(task.cancel)
    finally:
        loop.close()


def exit_code(status: dict) -> int:
    """Return the exit code in a Status of channel 3; another failure raises `ApiStatusError`."""
    if status.get("status") == "Success":
        return 0
    details = status.get("details") or {}
    for cause in details.get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ApiStatusError(
        status.get("message", "the command could not be run"),
        code=status.get("code", 500),
        reason=status.get("reason", "InternalError"),
        details=details,
    )


def _refused(code: int, body: bytes) -> ApiStatusError:
    try:
        status = json.loads(body)
    except ValueError:
        status = {"message": body.decode(errors="replace").strip()}
    return ApiStatusError(
        status.get("message") or f"the API refused with {code}",
        code=code,
        reason=status.get("reason", ""),
        details=status.get("details"),
    )
