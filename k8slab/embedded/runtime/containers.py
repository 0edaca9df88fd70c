"""A running container in the daemon: its descriptors, its output, who is attached."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.runtime import streams
from k8slab.embedded.runtime.logs import LogFile, Throttle
from k8slab.embedded.runtime.streams import Pump

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.runtime.processes import Launched
    from k8slab.embedded.runtime.spec import ContainerSpec

SETTLE = 0.5
"""Seconds in which pipes must reach their end once a container's first process has ended.

Longer only when another process of the pod holds them (a shared PID namespace)."""


KEPT = 64 * 1024
"""Bytes that an interactive container's output is kept for whoever attaches first."""


class Output:
    """Everything that a container writes: to its log, and to whoever is attached.

    What an interactive container writes before anybody is attached is kept for the first
    who is: ``kubectl run -it`` attaches when it sees the pod run, and a container here is
    quicker than that. Lines that somebody reads in the log meanwhile are not told again: a
    recent kubectl shows the log and then attaches.
    """

    def __init__(self, log: LogFile | None, *, keep: bool = False) -> None:
        self.log = log
        self._kept: list[tuple[str, bytes]] | None = [] if keep else None
        self._kept_bytes = 0
        self._complete = False
        self._pumps: list[Pump] = []
        self._listeners: list[Callable[[str, bytes], None]] = []
        self._throttle = Throttle()
        self._holds = 0

    def forget_lines(self) -> None:
        """Keep of what was written so far only what no reader of the log can see."""
        if self._kept is not None and self.log:
            self._kept = self.log.unfinished()
            self._kept_bytes = sum(len(data) for _, data in self._kept)

    def add(self, stream: str, descriptor: int) -> None:
        """Read `descriptor`, which this owns, as `stream` (``stdout`` or ``stderr``)."""
        self._pumps.append(Pump(descriptor, partial(self._take, stream)))

    def listen(self, listener: Callable[[str, bytes], None]) -> Callable[[], None]:
        """Call `listener` with each piece, ``b""`` at the end; returns what stops it."""
        kept, self._kept = self._kept, None
        for stream, data in kept or ():
            listener(stream, data)
        if self._complete:
            listener("stdout", b"")
            listener("stderr", b"")
        self._listeners.append(listener)

        def stop() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return stop

    async def finish(self) -> None:
        """Read what is left, then close the log and tell the listeners."""
        waiting = [pump.ended for pump in self._pumps if not pump.ended.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=SETTLE)
        for pump in self._pumps:
            pump.drain()
        if self.log:
            self.log.close()
        self._complete = True
        for listener in list(self._listeners):
            listener("stdout", b"")
            listener("stderr", b"")

    def _take(self, stream: str, data: bytes) -> None:
        if not data:
            return
        if self.log:
            self.log.write(stream, data)
        if self._kept is not None and self._kept_bytes < KEPT:
            self._kept.append((stream, data))
            self._kept_bytes += len(data)
        for listener in list(self._listeners):
            listener(stream, data)
        if pause := self._throttle.take(len(data)):
            self.hold()
            asyncio.get_running_loop().call_later(pause, self.release)

    def hold(self) -> None:
        """Read no further, so that the container must wait; undone by as many `release`."""
        self._holds += 1
        if self._holds == 1:
            for pump in self._pumps:
                pump.pause_reading()

    def release(self) -> None:
        """Take one hold back."""
        self._holds -= 1
        if self._holds == 0:
            for pump in self._pumps:
                pump.resume_reading()


class _Valve(asyncio.ReadTransport):
    """Stands under the stream of somebody attached: a full stream holds the output back."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self._holding = False

    def pause_reading(self) -> None:
        """Hold the output (called by the stream when its buffer is full)."""
        if not self._holding:
            self._holding = True
            self._output.hold()

    def resume_reading(self) -> None:
        """Let the output go on."""
        if self._holding:
            self._holding = False
            self._output.release()

    def is_closing(self) -> bool:
        """Tell that there is nothing of its own to close."""
        return False


@dataclass(slots=True, eq=False)
class Container:
    """A container that was started; `ended` has its exit code once it is over."""

    id: str
    sandbox_uid: str
    spec: ContainerSpec
    launched: Launched
    ended: asyncio.Future[int]
    output: Output
    environment: dict[str, str]
    capabilities: int
    stdin: int = -1
    """The descriptor that writes to its standard input until somebody attached takes it."""
    started_at: float = field(default_factory=clock.now)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the exit was reported and the output is complete."""
    stopping: bool = False

    @property
    def interactive(self) -> bool:
        """Tell whether somebody is expected to attach."""
        return self.spec.stdin or self.spec.tty

    @property
    def pid(self) -> int:
        """Its first process, as the daemon's PID namespace numbers it."""
        return self.launched.pid

    def close(self) -> None:
        """Close what the daemon holds of it."""
        self.launched.close()
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1


class Attachment:
    """Somebody attached to a container: a `Process` whose end does not end the container."""

    def __init__(self, container: Container, stdin: asyncio.StreamWriter | None) -> None:
        self._container = container
        self.stdin = stdin
        self.stdout: asyncio.StreamReader = asyncio.StreamReader()
        self.stderr = None if container.spec.tty else asyncio.StreamReader()
        self._valves = [_Valve(container.output) for _ in range(2)]
        for valve, stream in zip(self._valves, (self.stdout, self.stderr), strict=True):
            if stream is not None:
                stream.set_transport(valve)
        self._stop = container.output.listen(self._feed)

    def resize(self, columns: int, rows: int) -> None:
        """Tell the container's terminal its new size."""
        terminal = self._container.launched.terminal
        if terminal >= 0 and not self._container.ended.done():
            streams.resize_terminal(terminal, columns, rows)

    def kill(self) -> None:
        """Detach; the container goes on."""
        self._stop()
        for valve in self._valves:
            valve.resume_reading()

    async def wait(self) -> int:
        """Return the container's exit code once it ended and all its output was handed over."""
        await self._container.finished.wait()
        return self._container.ended.result()

    def _feed(self, stream: str, data: bytes) -> None:
        reader = self.stderr if stream == "stderr" else self.stdout
        if reader is None:
            return
        if data:
            reader.feed_data(data)
        else:
            reader.feed_eof()


async def attach(container: Container) -> Attachment:
    """Attach to a container; the first to attach gets its standard input."""
    stdin = None
    if container.finished.is_set():
        return Attachment(container, stdin)
    if container.launched.terminal >= 0:
        stdin = await streams.open_writer(os.dup(container.launched.terminal))
    elif container.stdin >= 0:
        descriptor, container.stdin = container.stdin, -1
        stdin = await streams.open_writer(descriptor)
    return Attachment(container, stdin)
