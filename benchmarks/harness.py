"""Measure, and show the result beside its limits.

A benchmark is a generator function with the decorator `bench`. It yields one number for each
round, in the unit of its limits. The table gives median and p99, the limit that must be
reached, the one that we aim at, and how far the result is from the first: below 1 is good.
"""

import os
import platform
import sys
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Measured:
    """A benchmark and the numbers of its rounds, in the unit of its limits."""

    bench: Bench
    values: tuple[float, ...]

    @property
    def median(self):
        return percentile(self.values, 0.5)

    @property
    def p99(self):
        return percentile(self.values, 0.99)

    @property
    def of_reach(self):
        """The result as a part of the limit that must be reached: at most 1 is good."""
        limits = self.bench.limits
        ratios = [self.median / limits.reach]
        if limits.reach_p99 is not None:
            ratios.append(self.p99 / limits.reach_p99)
        return max(ratios)

    def row(self):
        """Return the line of the table for people."""
        limits = self.bench.limits
        return [
            self.bench.what,
            str(len(self.values)),
            f"{number(self.median)} {limits.unit}",
            f"{number(self.p99)} {limits.unit}",
            pair(limits.reach, limits.reach_p99),
            pair(limits.aim, limits.aim_p99),
            f"{self.of_reach:.2f}",
        ]

    def to_dict(self):
        """Return the same as plain JSON values."""
        return {
            "name": self.bench.name,
            "what": self.bench.what,
            **asdict(self.bench.limits),
            "values": self.values,
            "median": self.median,
            "p99": self.p99,
            "of_reach": self.of_reach,
        }


def number(value):
    return "" if value is None else f"{value:.3g}"


def pair(first, second):
    return number(first) if second is None else f"{number(first)} / {number(second)}"


HEADS = ["what", "rounds", "median", "p99", "reach", "aim", "of reach"]


def measure(names):
    """Run the named benchmarks, or all, and return a `Measured` for each."""
    found = []
    for name in names or BENCHES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found.append(Measured(BENCHES[name], tuple(BENCHES[name].function())))
    return found


def table(heads, rows):
    """Return a table for people, which Markdown can read too."""
    lines = [heads, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    lines.insert(1, ["-" * width for width in widths])
    cells = ([cell.ljust(w) for cell, w in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
