"""What the command line says, and where: messages on stderr, results on stdout.

A step that takes over a second shows how long it has taken, so that nobody wonders whether
it hangs: on a terminal in place, elsewhere as a line after a second and one when it ends.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.errors import EnvironmentLacksError, K8slabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))

UNDECIDED = 4
"""The exit code of a command that could not find out its answer, where 1 is an answer."""

QUIET = 1.0
"""Seconds before a step shows its time."""

_USUAL_WIDTH = 80


def open_closed_streams() -> None:
    """Lead standard streams that were closed nowhere (``k8slab up 2>&-``).

    The next file that is opened would get their number otherwise, the lowest that is free
    (open(2)): what a program started by us says would be written into that file. Python gives no
    object for such a stream, and prints what was meant for stderr to stdout.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            errors = "backslashreplace" if name == "stderr" else "strict"  # as Python opens them
            setattr(sys, name, os.fdopen(number, mode, closefd=False, errors=errors))


def tell(text: str) -> None:
    """Write a message."""
    _say(f"{text}\n")


def _say(text: str) -> None:
    """Write to stderr; where that cannot be, what is told of goes on, and says nothing more.

    The reader of the messages may have gone (`k8slab up 2>&1 | head -1`), its terminal be closed,
    its disk be full: a cluster is started all the same. Results are another matter (`main`).
    """
    try:
        print(text, end="", file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


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


@contextmanager
def undecided() -> Iterator[None]:
    """Let an error end the command otherwise than the answer no, whose exit code most share."""
    try:
        yield
    except K8slabError as error:
        if error.exit_code == K8slabError.exit_code:
            error.exit_code = UNDECIDED
        raise


_NO_SUCH_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""What is wrong with a path that somebody gave, and not with the machine."""


def bad_path(error: OSError, path: str) -> UsageError:
    """Return what to raise for a path that cannot be opened; raises errors of the machine again."""
    if error.errno not in _NO_SUCH_PLACE:
        raise error
    return UsageError(f"{path}: {error.strerror}", hint="look at the path")


def write_file(path: str | Path, content: bytes) -> None:
    """Write a result to a file, whole; raises `UsageError` for a path that cannot be."""
    from k8slab.clusters import places  # noqa: PLC0415

    with writing(path):
        places.write(Path(path), content)


def save(path: str | Path, content: bytes) -> bool:
    """Write a result to a file, or tell why not: there is more to be written and shown then."""
    try:
        with writing(path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
    except K8slabError as error:
        tell(f"error: {error}")
        return False
    return True


@contextmanager
def writing(place: str | Path) -> Iterator[None]:
    """Raise what cannot be written there as an error that names it: write(2) itself does not."""
    try:
        yield
    except OSError as error:
        path = str(error.filename or place)
        if error.errno in _NO_SUCH_PLACE:
            raise bad_path(error, path) from error
        raise EnvironmentLacksError(
            f"{path} cannot be written: {error.strerror}", hint="name another place"
        ) from error


def require_place(path: str | Path) -> None:
    """Raise `UsageError` where no file can be written; for what is written after much work."""
    if str(path) == "-":
        raise UsageError(
            "- is no file; messages and results go to standard output or standard error already",
            hint="/dev/stdout is a file, and ./- is one that is called so",
        )
    file = Path(path)
    with writing(path):  # whose name may be too long
        if file.is_dir():
            raise UsageError(f"{path}: Is a directory", hint="name a file in it")
        if not file.parent.is_dir():
            raise UsageError(f"{path}: there is no directory {file.parent}", hint="make it before")
        _require_writable(path, file if file.exists() else file.parent)


def require_directory(path: Path) -> None:
    """Raise `UsageError` where there is no directory and none can be made; make none."""
    with writing(path):
        there = next(place for place in (path.absolute(), *path.absolute().parents) if _is(place))
        if not there.is_dir():
            raise UsageError(f"{path}: Not a directory", hint="look at the path")
        _require_writable(path, there)


def _is(place: Path) -> bool:
    return place.exists() or place.is_symlink()


def _require_writable(path: str | Path, place: Path) -> None:
    if not os.access(place, os.W_OK):
        raise UsageError(f"{path}: you may not write there", hint="name another place")


@contextmanager
def steps() -> Iterator[Steps]:
    """Give what is called with the step that now begins, and shows the time of long ones."""
    shown = Steps()
    try:
        yield shown
    finally:
        shown.end()


class Steps:
    """The step that runs now, and a thread that wakes once a second to show its time."""

    def __init__(self) -> None:
        self._text = ""
        self._since = 0.0
        self._told = False
        self._terminal = sys.stderr.isatty()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __call__(self, text: str) -> None:
        """Begin a step: it replaces the one before, and is not seen when it is over at once."""
        with self._changed:
            self._finish()
            self._text, self._since, self._told = text, time.monotonic(), False
            if not self._thread:
                thread = threading.Thread(target=self._tick, daemon=True)
                thread.start()
                self._thread = thread  # after a Ctrl-C in between there is nothing to join

    def say(self, text: str) -> None:
        """Write a message that stays; the step goes on below it."""
        with self._changed:
            self._write(text, last=True)

    def end(self) -> None:
        """End the last step."""
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
                    self._write(_fitting(self._text, f" ... {took:.0f} s"), last=False)
                elif not self._told:
                    self._told = True
                    self._write(f"{self._text} ...", last=False)
            self._thread = None

    def _write(self, text: str, *, last: bool) -> None:
        start, end = ("\r\x1b[K", "\n" if last else "") if self._terminal else ("", "\n")
        _say(f"{start}{text}{end}")


def _fitting(text: str, ending: str) -> str:
    """Return a line that is not wrapped: of one that is, only the last part is written over."""
    room = _columns() - 1 - len(ending)
    return (text if len(text) <= room else f"{text[: max(room - 1, 0)]}…") + ending


def _columns() -> int:
    """Return how wide the terminal of the messages is: that of the results may be another."""
    try:
        found = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return _USUAL_WIDTH  # it has been closed
    return found or _USUAL_WIDTH  # a serial line says 0
