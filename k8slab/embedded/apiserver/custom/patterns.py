"""Match regular expressions that strangers wrote, for a bounded time.

A real server's engine (RE2) takes a time that grows with the text alone; Python's tries again and
again, and ``^(a+)+$`` can keep it busy for years. It looks for signals while it works, so a timer
ends a search that takes too long. Only the main thread, on which the daemon runs, gets signals.
"""

from __future__ import annotations

import re
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SECONDS = 0.25
HARMLESS = 16
"""Characters with which no pattern takes long: most texts need no timer."""


class PatternTimeError(ValueError):
    """A search took too long."""


def problem(pattern: str) -> str:
    """Return why this is no regular expression, or an empty text."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    return ""


def search(pattern: str, text: str) -> re.Match | None:
    """Return the first match; `PatternTimeError` when it is not found in time."""
    if len(text) <= HARMLESS or threading.current_thread() is not threading.main_thread():
        return re.search(pattern, text)
    with _limited():
        return re.search(pattern, text)


@contextmanager
def _limited() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise PatternTimeError(f"the pattern needs more than {SECONDS} s for this text")
