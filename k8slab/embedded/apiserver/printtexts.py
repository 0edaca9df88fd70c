"""How ages, maps and selectors are worded in tables.

Source: apimachinery ``util/duration`` (HumanDuration) and ``metav1.FormatLabelSelector``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.objects import selectortext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.objects.meta import Object

NONE = "<none>"
UNKNOWN = "<unknown>"
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 31_536_000


def human_duration(seconds: float) -> str:
    """Return a duration in at most two units, as kubectl shows ages."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 2 * MINUTE:
        return f"{whole}s"
    if whole < 10 * MINUTE:
        return _two(whole, MINUTE, "m", 1, "s")
    if whole < 3 * HOUR:
        return f"{whole // MINUTE}m"
    if whole < 8 * HOUR:
        return _two(whole, HOUR, "h", MINUTE, "m")
    if whole < 2 * DAY:
        return f"{whole // HOUR}h"
    if whole < 8 * DAY:
        return _two(whole, DAY, "d", HOUR, "h")
    if whole < 2 * YEAR:
        return f"{whole // DAY}d"
    if whole < 8 * YEAR:
        return _two(whole, YEAR, "y", DAY, "d")
    return f"{whole // YEAR}y"


def _two(whole: int, large: int, large_unit: str, small: int, small_unit: str) -> str:
    rest = whole % large // small
    return f"{whole // large}{large_unit}" + (f"{rest}{small_unit}" if rest else "")


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()


def since(stamp: str | None) -> str:
    """Return how long ago a time is."""
    if not stamp:
        return UNKNOWN
    return human_duration(clock.now() - _seconds(stamp))


def span(begin: str | None, end: str | None) -> str:
    """Return how long something took, or has taken so far; empty when it has not begun."""
    if not begin:
        return ""
    return human_duration((_seconds(end) if end else clock.now()) - _seconds(begin))


def age(obj: Object) -> str:
    """Return the age of an object."""
    return since(obj["metadata"].get("creationTimestamp"))


def map_text(pairs: Mapping[str, str] | None) -> str:
    """Return ``key=value`` pairs, sorted."""
    return ",".join(f"{key}={value}" for key, value in sorted((pairs or {}).items())) or NONE


def selector_text(selector: Object | None) -> str:
    """Return a label selector in the form that ``kubectl -l`` takes."""
    return selectortext.written(selector or {}) or NONE
