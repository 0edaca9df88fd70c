"""Sets of IP addresses of both families, on one line of numbers.

IPv4 addresses are their numbers, IPv6 addresses theirs above 2**128: the families cannot
meet, and one algebra serves both. `point` reads an address, `network` a range as the API
writes it.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError
from k8slab.policy.intervals import IntervalSet

if TYPE_CHECKING:
    from collections.abc import Iterator

_V6 = 1 << 128
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_V4_TEXT = re.compile(rf"{_BYTE}\.{_BYTE}\.{_BYTE}\.{_BYTE}", re.ASCII)


def point(text: Any) -> int:
    """Return the number of an address; raises `UsageError`."""
    if not isinstance(text, str):
        raise UsageError(f"{text!r} is not an IP address")
    if plain := _V4_TEXT.fullmatch(text):  # five times as fast as ipaddress, for the many
        a, b, c, d = map(int, plain.groups())
        return a << 24 | b << 16 | c << 8 | d
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not an IP address") from error
    return int(address) if address.version == 4 else int(address) + _V6


def family(number: int) -> int:
    """Return 4 or 6 for the number of an address."""
    return 4 if number < _V6 else 6


def text_of(number: int) -> str:
    """Return an address as text."""
    if number < _V6:
        return str(ipaddress.IPv4Address(number))
    return str(ipaddress.IPv6Address(number - _V6))


class AddressSet(IntervalSet):
    """A set of addresses; its text is the fewest CIDRs, or ``all but`` them."""

    __slots__ = ()

    def ranges(self) -> Iterator[tuple[str, str]]:
        """Yield first and last address of each range, IPv4 before IPv6."""
        for first, last in self._by_family():
            yield text_of(first), text_of(last)

    def networks(self) -> Iterator[str]:
        """Yield the fewest CIDRs that make up the set."""
        for first, last in self._by_family():
            low, high = _address(first), _address(last)
            yield from map(str, ipaddress.summarize_address_range(low, high))

    def of_family(self, version: int) -> AddressSet:
        """Return the addresses of one family."""
        return self & EVERYWHERE[version]

    def __str__(self) -> str:
        parts = []
        for whole in EVERYWHERE.values():
            here = self & whole
            if not here:
                continue
            there, missing = list(here.networks()), list((whole - here).networks())
            if missing and len(missing) < len(there):
                parts.append(f"{next(whole.networks())} but {', '.join(missing)}")
            else:
                parts.append(", ".join(there))
        return ", ".join(parts) or "none"

    __repr__ = __str__

    def _by_family(self) -> Iterator[tuple[int, int]]:
        for version in EVERYWHERE.values():
            yield from (self & version).spans()


def _address(number: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if number < _V6:
        return ipaddress.IPv4Address(number)
    return ipaddress.IPv6Address(number - _V6)


def network(text: Any) -> AddressSet:
    """Return the addresses of a CIDR; host bits are ignored, as by the API. Raises `UsageError`."""
    if not isinstance(text, str):
        raise UsageError(f"{text!r} is not an address range such as 10.0.0.0/8")
    return _network(text)


@lru_cache(1 << 14)
def _network(text: str) -> AddressSet:
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"{text!r} is not an address range such as 10.0.0.0/8") from error
    base = 0 if found.version == 4 else _V6
    return AddressSet.span(int(found.network_address) + base, int(found.broadcast_address) + base)


EVERYWHERE = {4: AddressSet.span(0, (1 << 32) - 1), 6: AddressSet.span(_V6, 2 * _V6 - 1)}
"""All addresses, by family."""

PRIVATE = AddressSet.union(
    network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
"""Where a pod whose address is not known yet will get one (RFC 1918, RFC 6598)."""
