"""Cron schedules: five fields of numbers, and the next minute that all of them match.

``minute hour day-of-month month day-of-week``, each a list of ``*``, numbers, names (``mon``,
``jan``), ranges and steps; or ``@hourly`` and its like, or ``@every 90s``. When both days are
restricted, either may match. Source: crontab(5), as the CronJob controller reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 6, {name: number for number, name in enumerate(_DAYS)}),
)

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(?:\d+[smh])+\Z")

YEARS = 5
"""How far ahead a moment is looked for: February 29 comes within eight years, mostly four."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule: the numbers of each field, or a period in seconds."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    either_day: bool = False
    """Both days are restricted, so that one of them is enough."""
    every: int = 0

    def after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`, in its time zone; ``None`` if none is near."""
        if self.every:
            return moment.replace(microsecond=0) + timedelta(seconds=self.every)
        start = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for day in _dates(start.date()):
            if not self._on(day):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    found = datetime.combine(day, time(hour, minute), moment.tzinfo)
                    if found >= start:
                        return found
        return None

    def last(self, since: datetime, now: datetime) -> datetime | None:
        """Return the last time after `since` that is not after `now`, however many there were."""
        found = self.after(since)
        if found is None or found > now:
            return None
        if self.every:
            return found + (now - found) // timedelta(seconds=self.every) * timedelta(
                seconds=self.every
            )
        # From now back in growing steps, so that a year of minutes is not gone through.
        back = timedelta(minutes=1)
        while (found := self.after(max(since, now - back))) is None or found > now:
            back *= 2
        while (following := self.after(found)) and following <= now:
            found = following
        return found

    def _on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        month, week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return month or week if self.either_day else month and week


def _dates(first: date) -> Iterator[date]:
    for offset in range(366 * YEARS):
        yield first + timedelta(days=offset)


def parse(text: str) -> Schedule:
    """Read a schedule; `UsageError` says what is wrong with it."""
    words = text.strip()
    if words.startswith("@every "):
        return Schedule(every=_duration(words.removeprefix("@every ").strip()))
    if words.startswith("@") and words not in _WORDS:
        raise UsageError(f"unrecognized descriptor: {words}")
    parts = _WORDS.get(words, words).split()
    if len(parts) != len(_FIELDS):
        raise UsageError(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    sets = [_field(part.lower(), *field) for part, field in zip(parts, _FIELDS, strict=True)]
    free = [part.startswith(("*", "?")) for part in parts]
    minutes, hours, days, months, weekdays = sets
    either = not free[2] and not free[4]
    return Schedule(minutes, hours, days, months, weekdays, either_day=either)


def _duration(text: str) -> int:
    if not _DURATION.match(text):
        raise UsageError(f"failed to parse duration @every {text}")
    found = re.findall(r"(\d+)([smh])", text)
    return max(1, sum(int(number) * _SECONDS[unit] for number, unit in found))


def _field(text: str, word: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, {}, word) if slash else 1
        if span in ("*", "?"):
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = _number(start, names, word)
            last = _number(end, names, word) if dash else high if slash else first
        if first < low:
            raise UsageError(f"beginning of range ({first}) below minimum ({low}): {part}")
        if last > high:
            raise UsageError(f"end of range ({last}) above maximum ({high}): {part}")
        if first > last:
            raise UsageError(f"beginning of range ({first}) beyond end of range ({last}): {part}")
        if step < 1:
            raise UsageError(f"step of range should be a positive number: {part}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, names: dict[str, int], word: str) -> int:
    if text in names:
        return names[text]
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"failed to parse int from {text} ({word})")
    return int(text)
