"""Start a module of ours in a fresh interpreter, the way this one was started.

A fresh one, since the caller may be a notebook with threads and a large memory, and
without site, since its search path is known already.
"""

from __future__ import annotations

import sys
from pathlib import Path


def python(module: str, argument: str, *, detached: bool = False) -> list[str]:
    """Return the command that calls ``main(argument)`` of `module`.

    With `detached` it forks at once, so that it is nobody's child and leaves no zombie.
    """
    lines = (
        "import os, sys",
        "os.fork() and os._exit(0)" if detached else "",
        f"sys.path[:] = {search_path()!r}",
        f"from {module} import main",
        "sys.exit(main(sys.argv[1]))",
    )
    return [sys.executable, "-S", "-E", "-P", "-c", "\n".join(lines), argument]


def search_path() -> list[str]:
    """Return where this process finds modules, this package's own place first."""
    package = str(Path(__file__).resolve().parents[3])
    return [package, *(entry for entry in sys.path if entry and entry != package)]
