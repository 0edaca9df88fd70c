"""``python -m k8slab.course [--check]``: build the labs from their sources, or compare them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from k8slab.course.release import build, left, stale, told
from k8slab.errors import K8slabError


def main(argv: list[str] | None = None) -> int:
    """Build (or with ``--check`` compare) and say on stderr what changed."""
    parser = argparse.ArgumentParser(prog="python -m k8slab.course", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; 1 when not current")
    parser.add_argument("--withdraw", action="store_true", help="remove labs without a source")
    parser.add_argument("--solutions", type=Path, default=Path("solutions"))
    parser.add_argument("--labs", type=Path, default=Path("labs"))
    options = parser.parse_args(argv)
    try:
        if options.check:
            lines = stale(options.solutions, options.labs)
            code = 1 if lines else 0
        else:
            changed = build(options.solutions, options.labs, withdraw=options.withdraw)
            lines = [*map(told, changed), *left(options.solutions, options.labs)]
            code = 0
    except K8slabError as error:
        lines, code = [f"error: {error}"], error.exit_code
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
