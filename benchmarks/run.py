"""Run the benchmarks: ``make bench``, or ``make bench ARGS="up pod"`` for some.

With ``--check`` the exit code is 1 when a limit that must be reached was missed.
"""

import sys

import api  # noqa: F401  registers its benchmarks
import cluster  # noqa: F401
import coredns  # noqa: F401
import grading  # noqa: F401
import journey  # noqa: F401
import pods  # noqa: F401
import policy  # noqa: F401
import reading  # noqa: F401
import rules  # noqa: F401
from harness import run

if __name__ == "__main__":
    names = [word for word in sys.argv[1:] if not word.startswith("--")]
    reached = run(names)
    sys.exit(0 if reached or "--check" not in sys.argv else 1)
