"""Leave at SIGTERM and SIGINT: PID 1 has to ask for it (pid_namespaces(7))."""

from __future__ import annotations

# The module `signal` wraps these in enums; using those in each pod would make 0.14 MB of
# the zygote's shared memory that pod's own.
from _signal import SIGINT, SIGTERM, signal  # type: ignore[import-not-found]
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _at_once() -> None:
    raise SystemExit(0)


def leave_when_told(how: Callable[[], None] = _at_once) -> None:
    """From now on SIGTERM and SIGINT call `how`, which may raise ``SystemExit(0)``."""

    def told(_number: int, _frame: object) -> None:
        how()

    signal(SIGTERM, told)
    signal(SIGINT, told)
