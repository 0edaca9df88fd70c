"""Sets of ports of all protocols, on one line of numbers.

Each IP protocol (IANA "Protocol Numbers") has 65,536 places: TCP, UDP and SCTP their ports
from 1 (port 0 is reserved, RFC 6335), ICMP its types and codes (type * 256 + code), and
any other protocol is one piece. So "all ports", "TCP 80 to 90" and "all but ICMP" are sets
of the same kind, and one algebra serves them all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from k8slab.errors import UsageError
from k8slab.policy.intervals import IntervalSet

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS = {"ICMP": 1, "TCP": 6, "UDP": 17, "ICMPv6": 58, "SCTP": 132, "UDPLite": 136}
NAMES = {number: name for name, number in NUMBERS.items()}
WITH_PORTS = ("TCP", "UDP", "SCTP")
"""The protocols of which NetworkPolicy, Service and Pod speak."""

_PLACES = 1 << 16
_LAST = _PLACES - 1


class PortRange(NamedTuple):
    """Ports of one protocol from `first` to `last`; 0 to 65535 where it has no ports."""

    protocol: str
    first: int
    last: int

    @property
    def whole(self) -> bool:
        """Say whether these are all ports of the protocol."""
        return self.first <= _first(self.protocol) and self.last == _LAST

    def __str__(self) -> str:
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return self.protocol if self.whole else f"{self.protocol} {ports}"


def number_of(protocol: str | int) -> int:
    """Return the number of a protocol given by name or number; raises `UsageError`."""
    found: Any = protocol
    if isinstance(protocol, str):
        found = int(protocol) if protocol.isdecimal() else NUMBERS.get(protocol)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 256:
        raise UsageError(f"protocol {protocol!r} is not one of {', '.join(NUMBERS)}")
    return found


class PortSet(IntervalSet):
    """A set of ports; its text is like ``TCP 80,443 UDP 53``, ``all`` or ``all but TCP 22``."""

    __slots__ = ()

    @classmethod
    def of(cls, protocol: str | int, first: int | None = None, last: int | None = None) -> PortSet:
        """Return one port, a range of ports (`last` included) or all of a protocol."""
        return _of(protocol, first, last)

    def has(self, protocol: str, port: int) -> bool:
        """Say whether a port is in the set."""
        return (NUMBERS[protocol] << 16 | port) in self

    def ranges(self) -> Iterator[PortRange]:
        """Yield the ranges, each within one protocol, in the order of protocol numbers."""
        for first, last in self.spans():
            for number in range(first >> 16, (last >> 16) + 1):
                low = max(first, number << 16) & _LAST
                high = min(last, number << 16 | _LAST) & _LAST
                yield PortRange(NAMES.get(number, str(number)), low, high)

    def __str__(self) -> str:
        if self == ALL:
            return "all"
        there = _text(self)
        if self.bounds and self.bounds[-1] == ALL.bounds[-1]:  # protocols without names are in it
            return f"all but {_text(ALL - self)}"
        return there or "none"

    __repr__ = __str__


def _text(ports: PortSet) -> str:
    by_protocol: dict[str, list[str]] = {}
    for each in ports.ranges():
        _, _, numbers = str(each).partition(" ")
        by_protocol.setdefault(each.protocol, []).append(numbers)
    order = {name: place for place, name in enumerate(WITH_PORTS)}
    names = sorted(by_protocol, key=lambda name: order.get(name, 9))
    return " ".join(f"{name} {','.join(by_protocol[name])}".strip() for name in names)


def _first(protocol: str) -> int:
    return 1 if protocol in WITH_PORTS else 0


@lru_cache(1 << 16)
def _of(protocol: str | int, first: int | None, last: int | None) -> PortSet:
    number = number_of(protocol)
    if first is None:
        first, last = _first(NAMES.get(number, "")), _LAST
    return PortSet.span(number << 16 | first, number << 16 | (first if last is None else last))


NONE = PortSet()
ALL = PortSet.span(0, 256 * _PLACES - 1) - PortSet.union(
    PortSet.span(NUMBERS[name] << 16, NUMBERS[name] << 16) for name in WITH_PORTS
)
