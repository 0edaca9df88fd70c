"""Cron schedules: which minute comes next, and what is refused."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from k8slab.errors import UsageError
from k8slab.objects.schedules import parse

FRIDAY = datetime(2026, 11, 20, 13, 37, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", "2026-11-20 13:38"),
        ("37 13 * * *", "2026-11-21 13:37"),  # this minute has begun
        ("*/15 * * * *", "2026-11-20 13:45"),
        ("5/20 * * * *", "2026-11-20 13:45"),
        ("0 0 1 * *", "2026-12-01 00:00"),
        ("0 9-17/4 * * mon-fri", "2026-11-20 17:00"),
        ("30 8 * * sun", "2026-11-22 08:30"),
        ("0 12 13 * 5", "2026-11-27 12:00"),  # the 13th or a Friday, whichever comes first
        ("0 12 */7 * 5", "2027-01-01 12:00"),  # a star leaves both to hold
        ("0 0 29 feb *", "2028-02-29 00:00"),
        ("@hourly", "2026-11-20 14:00"),
        ("@weekly", "2026-11-22 00:00"),
        ("@yearly", "2027-01-01 00:00"),
        ("1,2 0 * * ?", "2026-11-21 00:01"),
    ],
)
def test_the_next_time_is_the_first_that_all_fields_match(text, expected):
    assert parse(text).after(FRIDAY).strftime("%Y-%m-%d %H:%M") == expected


def test_a_period_counts_from_the_last_time():
    assert parse("@every 1m30s").after(FRIDAY) == FRIDAY.replace(minute=38, second=50)


def test_a_schedule_is_read_in_the_time_zone_of_the_moment():
    berlin = FRIDAY.astimezone(ZoneInfo("Europe/Berlin"))
    assert parse("0 15 * * *").after(berlin).astimezone(UTC).hour == 14


@pytest.mark.parametrize(
    ("text", "since", "expected"),
    [
        ("* * * * *", "2025-01-01", "2026-11-20 13:37"),
        ("0 9 * * mon-fri", "2025-01-01", "2026-11-20 09:00"),
        ("0 9 * * mon", "2026-01-01", "2026-11-16 09:00"),
        ("0 0 29 feb *", "2023-01-01", "2024-02-29 00:00"),
        ("@hourly", "2026-11-20", "2026-11-20 13:00"),
        ("@every 1h", "2026-11-20", "2026-11-20 13:00"),
        ("@every 1h", "2016-11-20", "2026-11-20 13:00"),
    ],
)
def test_the_last_time_is_found_however_many_were_missed(text, since, expected):
    begun = datetime.fromisoformat(since).replace(tzinfo=UTC)
    assert parse(text).last(begun, FRIDAY).strftime("%Y-%m-%d %H:%M") == expected


def test_there_is_no_last_time_before_the_first():
    assert parse("@daily").last(FRIDAY.replace(hour=1), FRIDAY) is None
    assert parse("0 0 31 feb *").last(FRIDAY.replace(year=2000), FRIDAY) is None


def test_a_day_that_never_comes_gives_none():
    assert parse("0 0 31 feb *").after(FRIDAY) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("* * * *", "expected exactly 5 fields, found 4"),
        ("61 * * * *", r"end of range \(61\) above maximum \(59\)"),
        ("* * 0 * *", r"beginning of range \(0\) below minimum \(1\)"),
        ("5-2 * * * *", "beyond end of range"),
        ("*/0 * * * *", "should be a positive number"),
        ("x * * * *", "failed to parse int from x"),
        ("@noon", "unrecognized descriptor: @noon"),
        ("@every soon", "failed to parse duration"),
    ],
)
def test_a_wrong_schedule_is_refused_with_the_words_of_a_real_server(text, why):
    with pytest.raises(UsageError, match=why):
        parse(text)
