"""Leave at once at SIGTERM and SIGINT: PID 1 has to ask for it (pid_namespaces(7))."""

from __future__ import annotations

# The module `signal` wraps these in enums; using those in each pod would make 0.14 MB of
# the zygote's shared memory that pod's own.
from _signal import SIGINT, SIGTERM, signal  # type: ignore[import-not-found]


def leave_when_told() -> None:
    """From now on SIGTERM and SIGINT raise ``SystemExit(0)``."""
    signal(SIGTERM, _leave)
    signal(SIGINT, _leave)


def _leave(_number: int, _frame: object) -> None:
    raise SystemExit(0)
