"""Let signals end a command as Ctrl-C does, so that it cleans up."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_LATER = 0.01
"""Seconds, in which whatever was being finalized is."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at SIGTERM, and at SIGHUP, which is a closed terminal's.

    A signal that is ignored stays so: it is what nohup(1) is for.
    """

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _ENDING}
    heeded = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in heeded:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, old in heeded.items():
            signal.signal(number, old)


@contextmanager
def no_interrupt_lost() -> Iterator[None]:
    """Let an interrupt count that comes while an object is finalized: Python only prints it.

    It is sent again a moment later, by another thread, since what the hook raises is lost, too.
    Where all is done by then it came too late, as any that comes after the end.
    """
    coming: list[threading.Timer] = []

    def send_again(lost: sys.UnraisableHookArgs) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            before(lost)
            return
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        number = signal.SIGTERM if ignored else signal.SIGINT
        timer = threading.Timer(_LATER, signal.pthread_kill, (threading.get_ident(), number))
        coming.append(timer)
        timer.start()

    before, sys.unraisablehook = sys.unraisablehook, send_again
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in coming:
            timer.cancel()
