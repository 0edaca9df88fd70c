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
    """Let an interrupt count that comes while an object is finalized: Python only prints it."""
    before, sys.unraisablehook = sys.unraisablehook, _sent_again
    try:
        yield
    finally:
        sys.unraisablehook = before


def _sent_again(lost: sys.UnraisableHookArgs) -> None:
    """Send an interrupt again, by another thread: what this function raises is lost, too."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    number = signal.SIGTERM if ignored else signal.SIGINT
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(_LATER, signal.pthread_kill, (main, number)).start()
