"""Numbers and durations in a Corefile, in Go's notation (``5s``, ``1m30s``, ``250ms``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8slab.embedded.dns.corefile import Directive, Line

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")


def seconds(directive: Directive, text: str, line: Line | None = None) -> float:
    """Return a duration in seconds; raises `CorefileError` as Go's ParseDuration words it."""
    if text == "0" or re.fullmatch(f"(?:{_PART.pattern})+", text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if re.fullmatch(r"\d+(\.\d+)?", text):
        raise directive.error(f'time: missing unit in duration "{text}"', line)
    raise directive.error(f'time: invalid duration "{text}"', line)


def whole_seconds(directive: Directive, line: Line, low: int, high: int) -> int:
    """Return the one number of a property such as ``ttl 30``, within its bounds."""
    name, *rest = line.words
    if len(rest) != 1 or not rest[0].isdecimal() or not low <= int(rest[0]) <= high:
        raise directive.error(f"{name} must be in range [{low}, {high}]: {' '.join(rest)}", line)
    return int(rest[0])


def written(value: float) -> str:
    """Write seconds as the `log` plugin does: ``0.000123456s``."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"
