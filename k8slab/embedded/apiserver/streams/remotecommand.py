"""exec and attach: one command's streams, whatever carries them.

A `Peer` is the learner's end: it gives input, terminal sizes and the end of input, and
takes output, errors and, last of all, a Status. There are two: numbered channels in
WebSocket messages, and named SPDY streams. `converse` joins a peer with a process and
is the same for both. Every pipe holds a bounded number of bytes, so that a slow client
slows the command down; a client that vanishes ends the command.
"""

from __future__ import annotations

import asyncio
import enum
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import orjson

from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from k8slab.embedded.apiserver.backends import Process
    from k8slab.embedded.apiserver.streams.session import SpdySession, SpdyStream
    from k8slab.embedded.apiserver.streams.websocket import WebSocket
    from k8slab.objects.meta import Object

_CHUNK = 1 << 15

FIRST_SIZES = 0.25
"""Seconds for which a command with a terminal is not heard, and does not end, before sizes came.

kubectl tells them when it has opened its streams. What comes before that it throws away ("Unknown
stream id 1": client-go begins to read first), and it complains on its terminal when the connection
is closed by then. It sends one for exec; for attach two, the first one character too large, so
that the screen is drawn again (kubectl ``attach.go``)."""

FIRST_PONG = 1.0
"""Seconds that a client of v5 has to show that it reads, before it is told anything.

What client-go reads before it has opened its streams it discards, and where that is all of a quick
command, kubectl says "closed all streams". Before 1.34 it opens them beside the reading
(kubernetes/kubernetes#131203): an answered ping means that it had time for both, as it has with a
real cluster, which is slower. Who speaks v5 is client-go or like it; others answer at once."""


class Channel(enum.IntEnum):
    """The channels of ``channel.k8s.io`` (apimachinery ``remotecommand`` constants)."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    CLOSE = 255
    """v5 only: the next byte names the channel that the client half-closes."""


@dataclass(frozen=True, slots=True)
class Streams:
    """Which streams a client asked for (``PodExecOptions`` in core/v1)."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes for the command's stdin; none at all means the end of it."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """The size of the learner's terminal, in characters."""

    columns: int
    rows: int


class Peer(Protocol):
    """The learner's end of a command."""

    async def receive(self) -> Input | Resize | None:
        """Return what comes next; ``None`` when the client has gone."""

    async def send(self, channel: Channel, data: bytes) -> None:
        """Send output; wait while the client is slower; `ConnectionError` when it has gone."""

    async def finish(self, status: Object) -> None:
        """Send the Status, then close."""


def _resize(data: bytes) -> Resize | None:
    """Read ``{"Width": columns, "Height": rows}`` (client-go ``TerminalSize``)."""
    try:
        size = orjson.loads(data)
        return Resize(int(size["Width"]), int(size["Height"]))
    except (ValueError, KeyError, TypeError):
        return None


class WebSocketPeer:
    """Each message begins with the number of its channel; v5 can half-close stdin."""

    PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")

    def __init__(self, socket: WebSocket, protocol: str) -> None:
        self._socket = socket
        self._protocol = protocol

    async def start(self, streams: Streams) -> None:
        """Tell the client that the command's streams are there, as the kubelet does."""
        if self._protocol == self.PROTOCOLS[0]:
            await self._socket.wait_for_reader(FIRST_PONG)
        await self._socket.send(bytes([Channel.STDOUT if streams.stdout else Channel.STDERR]))

    async def receive(self) -> Input | Resize | None:
        """Return what comes next; ``None`` when the client has gone."""
        while message := await self._next():
            channel, data = message[0], message[1:]
            if channel == Channel.STDIN and data:
                return Input(data)
            if channel == Channel.CLOSE and data[:1] == bytes([Channel.STDIN]):
                return Input(b"")
            if channel == Channel.RESIZE and (size := _resize(data)):
                return size
        return None

    async def _next(self) -> bytes | None:
        while (message := await self._socket.receive()) is not None:
            if message:
                return message
        return None

    async def send(self, channel: Channel, data: bytes) -> None:
        """Send output."""
        await self._socket.send(bytes([channel]), data)

    async def finish(self, status: Object) -> None:
        """Send the Status on the error channel, then close."""
        with suppress(ConnectionError):
            await self.send(Channel.ERROR, orjson.dumps(status))
        await self._socket.close()


class SpdyPeer:
    """One SPDY stream for each channel, named by the header ``streamtype``."""

    PROTOCOLS = ("v4.channel.k8s.io",)

    def __init__(self, session: SpdySession, streams: dict[str, SpdyStream]) -> None:
        self._session = session
        self._streams = streams
        self._events: asyncio.Queue[Input | Resize | None] = asyncio.Queue(1)
        self._tasks = [asyncio.create_task(self._read_input())]
        if "resize" in streams:
            self._tasks.append(asyncio.create_task(self._read_sizes(streams["resize"])))

    @classmethod
    async def accept(cls, session: SpdySession, wanted: Streams) -> SpdyPeer | None:
        """Wait until the client has opened all its streams; ``None`` when it leaves before."""
        names = {"error"}
        names |= {"stdin"} if wanted.stdin else set()
        names |= {"stdout"} if wanted.stdout else set()
        names |= {"stderr"} if wanted.stderr and not wanted.tty else set()
        names |= {"resize"} if wanted.tty else set()
        streams: dict[str, SpdyStream] = {}
        while len(streams) < len(names):
            if (stream := await session.accept()) is None:
                return None
            name = stream.headers.get("streamtype", "")
            if name in names and name not in streams:
                streams[name] = stream
            else:
                await stream.reset()
        return cls(session, streams)

    async def _read_input(self) -> None:
        if stdin := self._streams.get("stdin"):
            while data := await stdin.receive():
                await self._events.put(Input(data))
            await self._events.put(Input(b""))
        while stream := await self._session.accept():  # all that may come now is the end
            await stream.reset()
        await self._events.put(None)

    async def _read_sizes(self, stream: SpdyStream) -> None:
        while data := await stream.receive():
            for line in data.splitlines():
                if size := _resize(line):
                    await self._events.put(size)

    async def receive(self) -> Input | Resize | None:
        """Return what comes next; ``None`` when the client has gone."""
        return await self._events.get()

    async def send(self, channel: Channel, data: bytes) -> None:
        """Send output."""
        if stream := self._streams.get(channel.name.lower()):
            await stream.send(data)

    async def finish(self, status: Object) -> None:
        """Send the Status on the error stream, half-close all streams, then close."""
        with suppress(ConnectionError):
            await self._streams["error"].send(orjson.dumps(status), fin=True)
            for name in ("stdout", "stderr"):
                if stream := self._streams.get(name):
                    await stream.send(b"", fin=True)
        for task in self._tasks:
            task.cancel()
        await self._session.close()


SUCCESS: Object = {"metadata": {}, "status": "Success"}


def exit_status(code: int) -> Object:
    """Return the Status for an exit code, as kubectl reads it (``NonZeroExitCode``)."""
    if code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failure_status(error: ApiStatusError) -> Object:
    return {
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "code": error.code,
    }


async def converse(
    peer: Peer,
    start: Callable[[], Awaitable[Process]],
    gone: Callable[[], Coroutine[None, None, None]],
    *,
    streams: Streams,
    report_exit: bool,
) -> None:
    """Start a command and join it with the learner's end until one of them is over.

    `gone()` ends when the client's connection does. With `report_exit` the Status carries
    the exit code (exec); an attach ends well however the container ended.
    """
    try:
        process = await start()
    except ApiStatusError as error:
        await peer.finish(_failure_status(error))
        return
    sizes = asyncio.Semaphore(0)
    output = asyncio.ensure_future(_output(peer, process, streams, sizes))
    typing = asyncio.ensure_future(_input(peer, process, streams, sizes))
    leaving = [typing, asyncio.ensure_future(gone())]
    limit = asyncio.get_running_loop().time() + FIRST_SIZES
    try:
        await asyncio.wait({output, *leaving}, return_when=asyncio.FIRST_COMPLETED)
        if streams.tty and output.done():
            with suppress(TimeoutError):
                async with asyncio.timeout_at(limit):
                    for _ in range(1 if report_exit else 2):
                        await sizes.acquire()
    finally:
        process.kill()
        ended = output.done()
        for task in (output, *leaving):
            task.cancel()
        await asyncio.gather(output, *leaving, return_exceptions=True)
    if ended and not output.exception():
        await peer.finish(exit_status(output.result()) if report_exit else SUCCESS)


async def _output(peer: Peer, process: Process, streams: Streams, sizes: asyncio.Semaphore) -> int:
    """Pass on all output; return the exit code when both outputs and the command ended.

    To a terminal nothing is told before its first size came, or `FIRST_SIZES` passed.
    """
    if streams.tty:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SIZES):
                await sizes.acquire()
                sizes.release()
    async with asyncio.TaskGroup() as group:
        if process.stdout is not None:
            target = peer if streams.stdout else None
            group.create_task(_pump(process.stdout, target, Channel.STDOUT))
        if process.stderr is not None:
            target = peer if streams.stderr else None
            group.create_task(_pump(process.stderr, target, Channel.STDERR))
    return await process.wait()


async def _pump(source: asyncio.StreamReader, peer: Peer | None, channel: Channel) -> None:
    while data := await source.read(_CHUNK):
        if peer is not None:
            await peer.send(channel, data)


async def _input(peer: Peer, process: Process, streams: Streams, sizes: asyncio.Semaphore) -> None:
    """Pass on input and sizes until the client goes; input that nobody reads is dropped.

    Releases `sizes` for each size.
    """
    stdin = process.stdin if streams.stdin else None
    while (event := await peer.receive()) is not None:
        if isinstance(event, Resize):
            process.resize(event.columns, event.rows)
            sizes.release()
        elif stdin is not None:
            try:
                if event.data:
                    stdin.write(event.data)
                    await stdin.drain()
                elif not streams.tty:  # a terminal has no end of input of its own
                    stdin.close()
            except (ConnectionError, BrokenPipeError):
                stdin = None
