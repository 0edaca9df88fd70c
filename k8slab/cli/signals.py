"""Let signals end a command as Ctrl-C does, so that it cleans up."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDING = (signal.SIGTERM, signal.SIGHUP)


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
