"""Container logs: files in the CRI format, bounded in size and speed, followed live.

Each line is ``<RFC 3339 time> <stdout|stderr> <F|P> <text>``; P marks a piece of a line
that goes on (KEP-CRI logging, ``logging.md`` of the kubelet). A file that reached
`LIMIT` becomes ``<name>.1``, and the one before that is dropped.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

LIMIT = 10 * 1024 * 1024
"""Bytes of a log before it is rotated (kubelet ``containerLogMaxSize``)."""
LONGEST_LINE = 16 * 1024
"""Longer lines are written in pieces (containerd ``max_container_log_line_size``)."""
SPEED = 8 * 1024 * 1024
"""Bytes a second that one container may log before its writes have to wait."""


_FULL = {errno.ENOSPC, errno.EDQUOT}


class LogFile:
    """One container's log: written by the daemon alone, followed by any number of readers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.makedirs(path.parent, exist_ok=True)
        self._file = self._open()
        self._size = os.fstat(self._file).st_size
        self._lost = 0
        self._rest: dict[str, bytes] = {}
        self.change = asyncio.Event()
        """Set by the next write, or when the log is closed; then another takes its place."""
        self.closed = False
        self.rotations = 0

    @property
    def size(self) -> int:
        """Return the bytes in the file."""
        return self._size

    def unfinished(self) -> list[tuple[str, bytes]]:
        """Return what was written by stream and is no line yet, so that no reader sees it."""
        return list(self._rest.items())

    def write(self, stream: str, data: bytes) -> None:
        """Append what a container wrote to `stream`; an unfinished line waits for its end."""
        lines = (self._rest.pop(stream, b"") + data).split(b"\n")
        rest = lines.pop()
        head = f"{_now()} {stream} ".encode()
        records = [record for line in lines for record in _records(head, line)]
        while len(rest) >= LONGEST_LINE:
            records.append(head + b"P " + rest[:LONGEST_LINE] + b"\n")
            rest = rest[LONGEST_LINE:]
        if rest:
            self._rest[stream] = rest
        self._append(b"".join(records))

    def close(self) -> None:
        """Write the unfinished lines and end all followers."""
        if not self.closed:
            for stream, rest in self._rest.items():
                self._append(f"{_now()} {stream} P ".encode() + rest + b"\n")
            self._rest.clear()
            self.closed = True
            os.close(self._file)
            self._wake()

    async def changed(self) -> None:
        """Wait until more is written or the log is closed."""
        await self.change.wait()

    def _append(self, data: bytes) -> None:
        if not data:
            return
        length = len(data)
        if self._lost:
            told = f"k8slab: the disk was full: {self._lost} bytes of this log are lost"
            data = f"{_now()} stderr F {told}\n".encode() + data
        try:
            if self._size + len(data) > LIMIT:
                self._rotate()
            written = os.write(self._file, data)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            written = 0
        if written < len(data):
            os.ftruncate(self._file, self._size)  # no half record
            self._lost += length
            return
        self._lost = 0
        self._size += len(data)
        self._wake()

    def _wake(self) -> None:
        self.change.set()
        self.change = asyncio.Event()

    def _rotate(self) -> None:
        with suppress(FileNotFoundError):  # moved by an attempt for which the disk was too full
            self.path.replace(_previous(self.path))
        old, self._file = self._file, self._open()
        os.close(old)
        self._size = 0
        self.rotations += 1

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self.path, flags, 0o640)


class Throttle:
    """Make a writer wait when it is faster than `SPEED` (a token bucket of one second)."""

    def __init__(self) -> None:
        self._tokens = float(SPEED)
        self._at = time.monotonic()

    def take(self, count: int) -> float:
        """Return how many seconds to wait before the next read."""
        now = time.monotonic()
        self._tokens = min(float(SPEED), self._tokens + (now - self._at) * SPEED) - count
        self._at = now
        return max(0.0, -self._tokens / SPEED)


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def _records(head: bytes, line: bytes) -> Iterator[bytes]:
    while len(line) > LONGEST_LINE:
        yield head + b"P " + line[:LONGEST_LINE] + b"\n"
        line = line[LONGEST_LINE:]
    yield head + b"F " + line + b"\n"


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What ``kubectl logs`` asks for (``PodLogOptions``)."""

    follow: bool = False
    since: float = 0.0
    """Unix time of the oldest line wanted; 0 for all."""
    tail: int | None = None
    limit: int | None = None
    """Bytes in all."""
    timestamps: bool = False


async def read_log(
    path: Path,
    options: LogOptions,
    live: Callable[[], LogFile | None],
    *,
    seen: Callable[[], None] | None = None,
) -> AsyncIterator[bytes]:
    """Yield the text of the log at `path` in pieces, and what comes later when following.

    `live` returns the open log, or ``None`` when nothing writes it any more. `seen` is called if
    all that is in the log at that very moment has been read.
    """
    left = options.limit
    async for text in _texts(path, options, live, seen):
        piece = text if left is None else text[:left]
        if piece:
            yield piece
        if left is not None:
            left -= len(piece)
            if left <= 0:
                return


async def _texts(
    path: Path,
    options: LogOptions,
    live: Callable[[], LogFile | None],
    seen: Callable[[], None] | None,
) -> AsyncIterator[bytes]:
    log = live()
    rotations = log.rotations if log else 0
    records, position = await asyncio.to_thread(_beginning, path, options)
    if seen and (log is None or (log.rotations == rotations and log.size == position)):
        seen()
    if records:
        yield b"".join(_text(record, timestamps=options.timestamps) for record in records)
    while options.follow and log is not None:
        # Both are asked before the read, while which more may be written and the log be closed.
        closed, change = log.closed, log.change
        rotated = log.rotations - rotations
        file = path if not rotated else _previous(path)
        data = await asyncio.to_thread(_read_from, file, position)
        if log.rotations - rotations != rotated:
            continue  # rotated meanwhile: that may have been another file
        lines = _lines(data)
        if lines:
            yield b"".join(_text(line, timestamps=options.timestamps) for line in lines)
        position += len(data)
        if rotated:
            rotations, position = log.rotations, 0
        elif not lines and closed:
            return
        elif not lines:
            await change.wait()


def _beginning(path: Path, options: LogOptions) -> tuple[list[bytes], int]:
    """Return the wanted records that are there, and where in the file they end."""
    since = _time_text(options.since)
    existing = _existing(path)
    position = sum(len(record) for record in existing[1])
    records = [record for file in existing for record in file if record[: len(since)] >= since]
    return records if options.tail is None else _last_lines(records, options.tail), position


def _existing(path: Path) -> tuple[list[bytes], list[bytes]]:
    """Return the complete records of the previous file and of the present one."""
    previous = _previous(path)
    before, now = (_read_from(file, 0) if file.exists() else b"" for file in (previous, path))
    return _lines(before), _lines(now)


def _lines(data: bytes) -> list[bytes]:
    """Split at line feeds only: a carriage return is part of what was logged."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def _read_from(path: Path, position: int) -> bytes:
    with path.open("rb") as file:
        file.seek(position)
        data = file.read(LIMIT)
    return data[: data.rfind(b"\n") + 1]


def _last_lines(records: list[bytes], count: int) -> list[bytes]:
    """Return the records of the last `count` lines; pieces of one line count once."""
    kept: list[bytes] = []
    for record in reversed(records):
        if b" F " in record[30:50] or not kept:
            count -= 1
        if count < 0:
            break
        kept.append(record)
    return kept[::-1]


def _text(record: bytes, *, timestamps: bool) -> bytes:
    when, _, tag, text = record.split(b" ", 3)
    if tag == b"P":
        text = text[:-1]
    return when + b" " + text if timestamps else text


def _time_text(since: float) -> bytes:
    if not since:
        return b""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))
    return f"{whole}.{int(since % 1 * 1e9):09d}Z".encode()
