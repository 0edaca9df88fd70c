"""Run the benchmarks: ``make bench``, or ``make bench ARGS="up pod"`` for some."""

import argparse
import json
import sys

import api  # noqa: F401  registers its benchmarks
import challenge  # noqa: F401
import cluster  # noqa: F401
import coredns  # noqa: F401
import grading  # noqa: F401
import journey  # noqa: F401
import notebooks  # noqa: F401
import pods  # noqa: F401
import policy  # noqa: F401
import reading  # noqa: F401
import rules  # noqa: F401
import website  # noqa: F401
from harness import BENCHES, HEADS, machine, measure, pair, table

from k8slab.cli.signals import ended_by_signals

INTERRUPTED = 130


def main(argv=None):
    """Run what the words say; returns 1 when a limit was missed and ``--check`` asks.

    SIGTERM ends it as Ctrl-C does: clusters that it started go with it.
    """
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; without any, all of them")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and run none")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 when one misses what must be reached"
    )
    options = parser.parse_args(argv)
    if unknown := [name for name in options.names if name not in BENCHES]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHES)}")
    if options.list:
        listed(as_json=options.json)
        return 0
    try:
        with ended_by_signals():
            found = measure(options.names)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    if options.json:
        results = [one.to_dict() for one in found]
        print(json.dumps({"machine": machine(), "results": results}, indent=2))
    else:
        print(machine(), table(HEADS, [one.row() for one in found]), sep="\n\n")
    missed = any(one.of_reach > 1 for one in found)
    return 1 if options.check and missed else 0


def listed(*, as_json):
    """Print name, meaning and limits of each benchmark."""
    if as_json:
        values = {one.name: {"what": one.what, **vars(one.limits)} for one in BENCHES.values()}
        print(json.dumps(values, indent=2))
        return
    rows = [
        [one.name, one.what, f"{pair(one.limits.reach, one.limits.reach_p99)} {one.limits.unit}"]
        for one in BENCHES.values()
    ]
    print(table(["name", "what", "reach"], rows))


if __name__ == "__main__":
    sys.exit(main())
