"""The names of the world outside, from the one table in `config`: who answers what.

The internet's resolver (203.0.113.53, and 172.18.0.1, which the nodes use) knows the
internet's names and says NXDOMAIN to all others. The corporate server knows ``corp.test``
alone and refuses the rest: to reach both, a cluster forwards one zone to each.

Below ``ip`` in each zone a name spells its own address, as some public services do:
``192-0-2-7.ip.example.net`` is 192.0.2.7. So there are names that nobody has written down.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

from k8slab.embedded.config import WORLD_HOSTS
from k8slab.embedded.wire import (
    AA,
    AAAA,
    MX,
    NOERROR,
    NOTIMP,
    NS,
    NXDOMAIN,
    PTR,
    RA,
    REFUSED,
    SOA,
    TXT,
    A,
    Message,
    Record,
    WireError,
    canonical,
    read,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.embedded.config import WorldHost

TTL = 60
"""Seconds: short enough to watch a cached answer run out in a lab."""


class NameServer:
    """Answers for the zones of one of the world's networks."""

    def __init__(self, network: str, hosts: Iterable[WorldHost] = WORLD_HOSTS) -> None:
        here = [host for host in hosts if host.network == network]
        self._recursive = network == "internet"
        self._server = canonical(next(host.names[0] for host in here if host.role == "dns"))
        self._records: dict[tuple[str, int], list[Record]] = {}
        self._zones: set[str] = set()
        for host in here:
            self._add_host(host)
        for zone in sorted(self._zones):
            self._add_zone(zone)
        self._names = {name for name, _ in self._records}

    def _add_host(self, host: WorldHost) -> None:
        address = ipaddress.ip_address(host.address)
        kind = A if address.version == 4 else AAAA
        for name in map(canonical, host.names):
            self._add(name, kind, host.address)
            self._zones.add(_zone(name))
        self._add(address.reverse_pointer + ".", PTR, canonical(host.names[0]))

    def _add_zone(self, zone: str) -> None:
        self._add(zone, NS, self._server)
        self._records[zone, SOA] = [self._soa(zone)]
        self._add(zone, MX, (10, zone))
        self._add(zone, TXT, (f"{zone} in the world of k8slab".encode(),))

    def _add(self, name: str, kind: int, data: object) -> None:
        self._records.setdefault((name, kind), []).append(Record(name, kind, TTL, data))

    def _soa(self, zone: str) -> Record:
        mailbox = "hostmaster." + zone.lstrip(".")
        return Record(zone, SOA, TTL, (self._server, mailbox, 1, 3600, 900, 86400, TTL))

    def answer(self, query: Message) -> Message:
        """Return the response to a query."""
        if query.flags & 0x7800:
            return query.reply(rcode=NOTIMP)
        flags = query.reply().flags | (RA if self._recursive else 0)
        zone, spelled = _zone(query.name), self._spelled(query.name)
        exists = spelled is not None or self._exists(query.name)
        rcode = NOERROR if exists else NXDOMAIN
        if zone not in self._zones and (zone == "." or not exists):
            if not self._recursive:
                return query.reply(rcode=REFUSED)
            # What is nobody's zone here is known from the root, whose word a resolver passes on.
            return replace(query.reply(rcode=rcode, flags=flags), authority=(self._soa("."),))
        records = tuple(self._records.get((query.name, query.type), ()))
        if spelled and query.type == A:
            records = (spelled,)
        reply = query.reply(flags=flags | AA, rcode=rcode)
        if records:
            return replace(reply, answers=records)
        return replace(reply, authority=(self._soa(zone),))

    def _exists(self, name: str) -> bool:
        """Say whether a name has records or names below it: neither is NXDOMAIN (RFC 8020)."""
        if name in self._names or name.removeprefix("ip.") in self._zones:
            return True
        return name == "." or any(known.endswith("." + name) for known in self._names)

    def _spelled(self, name: str) -> Record | None:
        """Return the address that a name spells; ``None`` where it spells none."""
        first, _, rest = name.partition(".")
        if not rest.startswith("ip.") or rest.removeprefix("ip.") not in self._zones:
            return None
        try:
            address = ipaddress.IPv4Address(first.replace("-", "."))
        except ValueError:
            return None
        return Record(name, A, TTL, str(address))

    def answer_bytes(self, data: bytes, *, udp: bool) -> bytes | None:
        """Answer a message as bytes; ``None`` for what is no query."""
        try:
            query = read(data)
        except WireError:
            return None
        if query.flags & 0x8000:
            return None
        limit = max(512, query.edns.size if query.edns else 512) if udp else 65535
        return write(self.answer(query), limit)


def _zone(name: str) -> str:
    """Return the registered domain, the last two labels; the root for what has no two."""
    labels = name.rstrip(".").split(".")
    return ".".join(labels[-2:]) + "." if len(labels) > 1 else "."
