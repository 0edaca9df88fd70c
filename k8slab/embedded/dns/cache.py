"""The `cache` plugin: answers and denials kept until their TTL has run down."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from k8slab.embedded.dns.corefile import Directive, Line, zones_of
from k8slab.embedded.dns.durations import seconds
from k8slab.embedded.dns.zone import in_zone
from k8slab.embedded.wire import (
    DNSSEC_OK,
    IN,
    NOERROR,
    NXDOMAIN,
    OPCODE,
    QR,
    RD,
    SERVFAIL,
    SOA,
    TC,
    Message,
    Record,
)

if TYPE_CHECKING:
    from k8slab.embedded.dns.chain import Handler, Plan, Query, Result, Site, Wrap

CAPACITY = 9984
"""Entries of each kind; CoreDNS' default (256 shards of 39)."""
SUCCESS_TTL, DENIAL_TTL, MIN_TTL, SERVFAIL_TTL = 3600, 1800, 5, 5
"""CoreDNS' defaults: the longest and the shortest time that an answer is kept."""

Key = tuple[str, int, bool, bool]


class _Kept(NamedTuple):
    message: Message
    since: float
    until: float


@dataclass(slots=True)
class _Store:
    """One kind of answers: ``success`` or ``denial``."""

    longest: int
    shortest: int = MIN_TTL
    capacity: int = CAPACITY
    disabled: list[str] = field(default_factory=list)
    entries: OrderedDict[Key, _Kept] = field(default_factory=OrderedDict)

    def keep(self, key: Key, message: Message, now: float, ttl: float) -> None:
        if any(in_zone(message.name, zone) for zone in self.disabled):
            return
        self.entries[key] = _Kept(message, now, now + ttl)
        if len(self.entries) > self.capacity:
            self.entries.popitem(last=False)

    def get(self, key: Key, now: float) -> _Kept | None:
        kept = self.entries.get(key)
        if kept is not None and kept.until <= now:
            del self.entries[key]
            return None
        return kept


class _Cache:
    """All that one `cache` directive keeps."""

    def __init__(self, directive: Directive, site: Site) -> None:
        self.success = _Store(SUCCESS_TTL)
        self.denial = _Store(DENIAL_TTL)
        self.servfail = SERVFAIL_TTL
        self.keep_ttl = False
        words = list(directive.arguments)
        if words and words[0].isdecimal():
            self.success.longest = self.denial.longest = int(words.pop(0))
        self.zones = [zone for word in words for zone in zones_of(word)] or list(site.block.zones)
        for line in directive.properties:
            self._property(directive, line)

    def _property(self, directive: Directive, line: Line) -> None:
        name, *rest = line.words
        stores = {"success": self.success, "denial": self.denial}
        if name in stores and rest and all(word.isdecimal() for word in rest) and len(rest) <= 3:
            store, numbers = stores[name], [int(word) for word in rest]
            store.capacity = max(1, numbers[0])
            if len(numbers) > 1:
                store.longest = numbers[1]
            if len(numbers) > 2:
                store.shortest = numbers[2]
        elif name == "disable" and rest and rest[0] in stores:
            zones = [zone for word in rest[1:] for zone in zones_of(word)]
            stores[rest[0]].disabled = zones or ["."]
        elif name == "servfail" and len(rest) == 1:
            self.servfail = int(seconds(directive, rest[0], line))
        elif name == "keepttl" and not rest:
            self.keep_ttl = True
        elif name in ("prefetch", "serve_stale", "refresh"):
            raise directive.error(f"'{name}' is not part of this server", line)
        else:
            raise directive.error(f"unknown property '{name}'", line)

    def get(self, key: Key) -> Message | None:
        """Return a kept response with its TTLs counted down."""
        now = time.monotonic()
        kept = self.success.get(key, now) or self.denial.get(key, now)
        if kept is None:
            return None
        age = 0 if self.keep_ttl else int(now - kept.since)
        left = max(0, int(kept.until - now))
        return _aged(kept.message, age, left)

    def keep(self, key: Key, message: Message) -> None:
        """Keep a response for as long as its records allow."""
        if message.flags & (TC | OPCODE):
            return
        now = time.monotonic()
        if message.rcode == SERVFAIL:
            if self.servfail:
                self.denial.keep(key, message, now, self.servfail)
        elif message.rcode == NOERROR and message.answers:
            ttl = min(record.ttl for record in message.answers)
            self._keep_in(self.success, key, message, ttl, now)
        elif message.rcode in (NOERROR, NXDOMAIN):
            soa = [record for record in message.authority if record.type == SOA]
            # How long a denial holds: RFC 2308, 5.
            ttl = min((min(record.ttl, record.data[6]) for record in soa), default=MIN_TTL)
            self._keep_in(self.denial, key, message, ttl, now)

    def _keep_in(self, store: _Store, key: Key, message: Message, ttl: int, now: float) -> None:
        ttl = max(min(ttl, store.longest), min(store.shortest, store.longest))
        if ttl > 0:
            store.keep(key, message, now, ttl)


def _aged(message: Message, age: int, left: int) -> Message:
    def older(records: tuple[Record, ...]) -> tuple[Record, ...]:
        return tuple(record._replace(ttl=min(max(0, record.ttl - age), left)) for record in records)

    return replace(
        message,
        answers=older(message.answers),
        authority=older(message.authority),
        additional=older(message.additional),
    )


def cache(directive: Directive, site: Site, plan: Plan) -> Wrap:
    """Answer again what was answered before, for as long as it holds."""
    kept = _Cache(directive, site)
    labels = (("server", site.label), ("view", ""), ("zones", ".".join(kept.zones) or "."))

    def wrap(following: Handler) -> Handler:
        def handle(query: Query) -> Result:
            message = query.message
            known = any(in_zone(message.name, zone) for zone in kept.zones)
            if not known or message.klass != IN:  # of no use, and no answer to those of IN
                return following(query)
            key = _key(message)
            found = kept.get(key)
            plan.metrics.count("coredns_cache_requests_total", labels)
            if found is not None:
                denied = found.rcode != NOERROR or not found.answers
                kind = ("type", "denial" if denied else "success")
                plan.metrics.count("coredns_cache_hits_total", (*labels, kind))
                return _repeat(query, found)
            plan.metrics.count("coredns_cache_misses_total", labels)
            return _keep(kept, key, following(query))

        return handle

    return wrap


def _keep(kept: _Cache, key: Key, result: Result) -> Result:
    if isinstance(result, Message):
        kept.keep(key, result)
        return result

    async def later() -> Message:
        response = await result
        kept.keep(key, response)
        return response

    return later()


def _repeat(query: Query, found: Message) -> Message:
    reply = query.reply("cache", rcode=found.rcode)
    flags = QR | (reply.flags & (RD | OPCODE)) | (found.flags & ~RD)
    return replace(
        reply,
        flags=flags,
        answers=found.answers,
        authority=found.authority,
        additional=found.additional,
    )


def _key(message: Message) -> Key:
    wants_dnssec = message.edns is not None and bool(message.edns.flags & DNSSEC_OK)
    return (message.name, message.type, wants_dnssec, bool(message.flags & 0x10))
