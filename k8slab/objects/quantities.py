"""Amounts of resources: what a quantity such as ``500m`` or ``1.5Gi`` means, and its one spelling.

An amount can be written in many ways; the API answers with one of them: the largest suffix of the
same family (1000, 1024 or powers of ten) with which the number has no fraction. A number that has
one and a suffix of 1024, such as ``1.1Gi``, is written with the suffixes of 1000. Source:
apimachinery ``api/resource/quantity.go`` (ParseQuantity, CanonicalizeBytes).
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal
from functools import lru_cache

_DECIMAL = dict(
    zip(range(-9, 19, 3), ("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), strict=True)
)
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_FACTORS = {
    **{suffix: Decimal(10) ** power for power, suffix in _DECIMAL.items()},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(_BINARY)},
}
_PARTS = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)\Z", re.ASCII
)
_FARTHEST = 60
"""Powers of ten beyond this change nothing: see `SMALLEST` and `LARGEST`."""

SMALLEST = Decimal("1e-9")
"""What is less is rounded up to it."""
LARGEST = Decimal(2**63 - 1)
"""What is more is taken for it."""


@lru_cache(1024)
def number(text: str | float) -> Decimal:
    """Return the number that a quantity means; `ValueError` for what is none."""
    parts = _PARTS.match(str(text))
    if not parts:
        raise ValueError(f"{text!r} is no quantity")
    digits, exponent, suffix = parts.groups()
    if exponent:
        sign = -1 if exponent.startswith("-") else 1
        power = exponent.lstrip("+-0")[:3] or "0"
        return Decimal(digits).scaleb(sign * min(int(power), _FARTHEST))
    return Decimal(digits) * _FACTORS[suffix or ""]


@lru_cache(1024)
def written(text: str) -> str:
    """Return the spelling of a quantity with which the API answers."""
    value = max(min(number(text), LARGEST), -LARGEST).quantize(SMALLEST, ROUND_UP)
    if not value:
        return "0"
    if text.endswith("i") and abs(value) >= 1024 and value == int(value):
        return _binary(int(value))
    power = max(power for power in _DECIMAL if value % Decimal(10) ** power == 0)
    whole = int(value / Decimal(10) ** power)
    if text[-1].isdigit() and "e" in text.lower():
        return f"{whole}e{power}" if power else str(whole)
    return f"{whole}{_DECIMAL[power]}"


def _binary(whole: int) -> str:
    power = 0
    while whole % 1024 == 0 and power < len(_BINARY) - 1:
        whole //= 1024
        power += 1
    return f"{whole}{_BINARY[power]}"
