"""Pipes and terminals of processes as asyncio streams.

asyncio's own pipe transports treat a terminal whose other side went (EIO) as a failure;
for us it is the end of file. So descriptors are read here with ``add_reader``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 65_536
"""Bytes read at once: a pipe's capacity (pipe(7))."""


class Pump(asyncio.ReadTransport):
    """Read a descriptor whenever it has data and hand each piece to `sink`.

    `sink` gets ``b""`` once, at the end of file. Owns the descriptor.
    """

    def __init__(self, descriptor: int, sink: Callable[[bytes], None]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def pause_reading(self) -> None:
        """Leave data in the pipe, so that its writer must wait."""
        if not self.ended.done():
            self._loop.remove_reader(self._descriptor)

    def resume_reading(self) -> None:
        """Read again."""
        if not self.ended.done():
            self._loop.add_reader(self._descriptor, self._read)

    def close(self) -> None:
        """Stop reading, as at the end of file."""
        if not self.ended.done():
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self.ended.set_result(None)
            self._sink(b"")

    def is_closing(self) -> bool:
        """Tell whether the end was reached."""
        return self.ended.done()

    def drain(self) -> None:
        """Hand over what is there now, then close: for a pipe whose writers may live on."""
        while not self.ended.done():
            try:
                data = os.read(self._descriptor, CHUNK)
            except OSError:  # nothing more now, or the terminal's other side went
                data = b""
            if not data:
                self.close()
                return
            self._sink(data)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last process with this terminal is gone (ioctl_tty(2))
            data = b""
        if data:
            self._sink(data)
        else:
            self.close()


class Reader(asyncio.StreamReader):
    """A stream that reads a descriptor, which it owns."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._pump = Pump(descriptor, self._take)
        self.set_transport(self._pump)

    def close(self) -> None:
        """Read no more: this is the end, whoever still has the other side."""
        self._pump.close()

    def _take(self, data: bytes) -> None:
        if data:
            self.feed_data(data)
        else:
            self.feed_eof()


async def open_writer(descriptor: int) -> asyncio.StreamWriter:
    """Return a stream that writes to `descriptor`, which it owns."""
    loop = asyncio.get_running_loop()
    file = os.fdopen(descriptor, "wb", buffering=0)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), file
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


def resize_terminal(master: int, columns: int, rows: int) -> None:
    """Set the window size; the kernel tells the foreground processes (SIGWINCH)."""
    with contextlib.suppress(OSError):  # the terminal's processes are gone: nobody to tell
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("=HHHH", rows, columns, 0, 0))
