"""Texts and numbers that the API's Go types read by rules of their own: times, quantities, bytes.

Each function takes a value of the right JSON type and returns it as a server stores it, or raises
`ScalarError` with the words of the Go library that a real server's decoder passes on.
Source: ``metav1.Time`` and ``MicroTime``, ``resource.ParseQuantity``, ``encoding/base64``.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime

from k8slab.objects import quantities

MICRO_FIELDS = frozenset({"acquireTime", "eventTime", "lastObservedTime", "renewTime"})
"""Fields of type ``MicroTime``: six digits of a second, where ``Time`` has none."""

QUANTITY = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?\Z", re.ASCII)
QUANTITY_MESSAGE = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
INT32, INT64 = 1 << 31, 1 << 63

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_LAYOUT = "2006-01-02T15:04:05Z07:00"
_PIECES = (
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", r"\d\d"),
    ("-", "-"),
    ("02", r"\d\d"),
    ("T", "T"),
    ("15", r"\d\d"),
    (":", ":"),
    ("04", r"\d\d"),
    (":", ":"),
    ("05", r"\d\d"),
    ("Z07:00", r"(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)"),
)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\r\n]")


class ScalarError(ValueError):
    """A text that is none of its kind; the message is Go's."""


def time(text: str, name: str) -> str | None:
    """Return a time in UTC as the field `name` writes it; ``None`` for Go's zero time."""
    match = _TIME.match(text)
    if not match:
        raise ScalarError(_unparsed(text))
    plain, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(plain + zone.replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ScalarError(f'parsing time "{text}": {_outside(plain)} out of range') from error
    shown = moment.replace(tzinfo=None).isoformat()
    if shown == "0001-01-01T00:00:00":
        return None
    return f"{shown}.{(fraction or '')[:6]:0<6}Z" if name in MICRO_FIELDS else f"{shown}Z"


def _unparsed(text: str) -> str:
    """Say where the text leaves the layout, as ``time.Parse`` does."""
    place = 0
    for element, pattern in _PIECES:
        match = re.compile(pattern, re.ASCII).match(text, place)
        if not match:
            why = f'cannot parse "{text[place:]}" as "{element}"'
            return f'parsing time "{text}" as "{_LAYOUT}": {why}'
        place = match.end()
    return f'parsing time "{text}": extra text: "{text[place:]}"'


def _outside(plain: str) -> str:
    numbers = [int(word) for word in re.findall(r"\d+", plain)]
    limits = (
        (1, 12, "month"),
        (2, 31, "day"),
        (3, 23, "hour"),
        (4, 59, "minute"),
        (5, 59, "second"),
    )
    return next((word for place, most, word in limits if numbers[place] > most), "day")


def quantity(text: str) -> str:
    """Return a quantity in the one spelling that the API answers with."""
    text = text.strip()
    if not QUANTITY.match(text):
        raise ScalarError(QUANTITY_MESSAGE)
    return quantities.written(text)


def check_bytes(text: str) -> None:
    """Refuse what is no base64 (RFC 4648, with line ends)."""
    data = text.encode()
    if found := _NOT_BASE64.search(data):
        raise ScalarError(f"illegal base64 data at input byte {found.start()}")
    plain = data.translate(None, b"\r\n")
    try:
        base64.b64decode(plain, validate=True)
    except binascii.Error as error:
        place = plain.find(b"=") if b"=" in plain else len(plain) // 4 * 4
        raise ScalarError(f"illegal base64 data at input byte {place}") from error


def fits(number: int, *, wide: bool) -> bool:
    """Say whether a whole number fits into 64 (`wide`) or 32 bits."""
    limit = INT64 if wide else INT32
    return -limit <= number < limit
