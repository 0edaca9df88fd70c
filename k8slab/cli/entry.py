"""The door of the command ``k8slab``: Ctrl-C shows no traceback while the rest is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit."""
    try:
        from k8slab.cli.main import main as run  # noqa: PLC0415 - what may be interrupted

        run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("interrupted\n")
        sys.exit(130)
