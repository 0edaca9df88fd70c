"""The app that is PID 1 of a pod whose containers share their processes.

It reaps what they leave behind and ends at SIGTERM, as the pause image does.
"""

from __future__ import annotations

import os
import signal

NAME = f"{__name__}:main"


def main(argv: list[str], environment: dict[str, str]) -> int:
    """Reap until SIGTERM or SIGINT."""
    del argv, environment
    awaited = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    while signal.sigwait(awaited) == signal.SIGCHLD:
        _reap()
    return 0


def _reap() -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
