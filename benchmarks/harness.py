"""Measure, and show the result beside its limits.

A benchmark is a generator function with the decorator `bench`. It yields one number for each
round, in the unit of its limits. The table gives median and p99, the limit that must be
reached, the one that we aim at, and how far the result is from the first: below 1 is good.
"""

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

BENCHES = {}


@dataclass(frozen=True)
class Limits:
    """What must be reached, and what is aimed at, for the median and the 99th percentile.

    ``None`` means that there is no limit.
    """

    unit: str
    reach: float
    aim: float
    reach_p99: float | None = None
    aim_p99: float | None = None


@dataclass(frozen=True)
class Bench:
    name: str
    what: str
    limits: Limits
    function: object


def bench(name, what, limits):
    """Register a benchmark under the name by which `make bench ARGS=name` runs it."""

    def register(function):
        BENCHES[name] = Bench(name, what, limits, function)
        return function

    return register


def percentile(values, share):
    """Return the value below which `share` of all lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def machine():
    """Name this machine: processor, cores, kernel, Python."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    user = "root" if os.geteuid() == 0 else "an ordinary user"
    return (
        f"{platform.node()}: {model}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, as {user}, load {os.getloadavg()[0]:.1f}"
    )


def number(value):
    return "" if value is None else f"{value:.3g}"


def pair(first, second):
    return number(first) if second is None else f"{number(first)} / {number(second)}"


def row(one, values):
    limits = one.limits
    median, p99 = percentile(values, 0.5), percentile(values, 0.99)
    ratios = [median / limits.reach]
    if limits.reach_p99 is not None:
        ratios.append(p99 / limits.reach_p99)
    return (
        [
            one.what,
            str(len(values)),
            f"{number(median)} {limits.unit}",
            f"{number(p99)} {limits.unit}",
            pair(limits.reach, limits.reach_p99),
            pair(limits.aim, limits.aim_p99),
            f"{max(ratios):.2f}",
        ],
        max(ratios) <= 1,
    )


HEADS = ["what", "rounds", "median", "p99", "reach", "aim", "of reach"]


def run(names):
    """Run the named benchmarks (all without names); return whether each reached its limit."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHES)}")
    print(machine(), end="\n\n")
    rows, reached = [HEADS], True
    for name in names or BENCHES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        cells, fine = row(BENCHES[name], list(BENCHES[name].function()))
        rows.append(cells)
        reached = reached and fine
    widths = [max(len(line[i]) for line in rows) for i in range(len(HEADS))]
    rows.insert(1, ["-" * width for width in widths])
    for line in rows:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print(f"| {' | '.join(cells)} |")
    return reached
