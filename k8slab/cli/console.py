"""What the command line says, and where: messages on stderr, results on stdout.

A step that takes over a second shows how long it has taken, so that nobody wonders whether
it hangs: on a terminal in place, elsewhere as a line after a second and one when it ends.
"""

from __future__ import annotations

import errno
import json
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

QUIET = 1.0
"""Seconds before a step shows its time."""


def tell(text: str) -> None:
    """Write a message."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def show(text: str) -> None:
    """Write a result."""
    print(text, flush=True)  # noqa: T201


def show_json(value: Any) -> None:
    """Write a result for programs: one JSON value, indented."""
    show(json.dumps(value, indent=2, default=str))


def show_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows in columns as wide as needed, heads in capitals, as kubectl does."""
    cells = [[head.upper() for head in heads], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        show("   ".join(padded).rstrip())


_NO_SUCH_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""What is wrong with a path that somebody gave, and not with the machine."""


def bad_path(error: OSError, path: str) -> UsageError:
    """Return what to raise for a path that cannot be opened; raises errors of the machine again."""
    if error.errno not in _NO_SUCH_PLACE:
        raise error
    return UsageError(f"{path}: {error.strerror}", hint="look at the path")


def write_file(path: str, content: bytes) -> None:
    """Write a result to a file; raises `UsageError` for a path that cannot be."""
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise bad_path(error, path) from error


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Give a function that names the step which now begins; shows the time of long ones."""
    shown = _Steps()
    try:
        yield shown.begin
    finally:
        shown.end()


class _Steps:
    """The step that runs now, and a thread that wakes once a second to show its time."""

    def __init__(self) -> None:
        self._text = ""
        self._since = 0.0
        self._told = False
        self._terminal = sys.stderr.isatty()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def begin(self, text: str) -> None:
        with self._changed:
            self._finish()
            self._text, self._since, self._told = text, time.monotonic(), False
            if not self._thread:
                thread = threading.Thread(target=self._tick, daemon=True)
                thread.start()
                self._thread = thread  # after a Ctrl-C in between there is nothing to join

    def end(self) -> None:
        with self._changed:
            self._finish()
            self._changed.notify()
        if self._thread:
            self._thread.join()

    def _finish(self) -> None:
        took = time.monotonic() - self._since
        if self._text and took >= QUIET:
            self._write(f"{self._text}: {took:.0f} s", last=True)
        self._text = ""

    def _tick(self) -> None:
        with self._changed:
            while self._text:
                self._changed.wait(QUIET)
                took = time.monotonic() - self._since
                if not self._text or took < QUIET:
                    continue
                if self._terminal:
                    self._write(f"{self._text} ... {took:.0f} s", last=False)
                elif not self._told:
                    self._told = True
                    self._write(f"{self._text} ...", last=False)
            self._thread = None

    def _write(self, text: str, *, last: bool) -> None:
        start, end = ("\r\x1b[K", "\n" if last else "") if self._terminal else ("", "\n")
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)  # noqa: T201
