"""The plugins that know answers themselves: `kubernetes` and `hosts`."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded.dns.corefile import Directive, Line, zones_of
from k8slab.embedded.dns.durations import whole_seconds
from k8slab.embedded.dns.zone import Answer, Options, Zone, in_zone
from k8slab.embedded.wire import (
    AA,
    AAAA,
    NOERROR,
    NXDOMAIN,
    PTR,
    A,
    Message,
    Record,
    canonical,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k8slab.embedded.dns.chain import Handler, Plan, Query, Result, Site, Wrap

MAX_ALIASES = 8
"""How many CNAMEs are followed one after the other; CoreDNS allows 10."""


def kubernetes(directive: Directive, site: Site, plan: Plan) -> Wrap:
    """Answer the cluster's names; see `zone`."""
    options, fallthrough = _kubernetes_options(directive, site)
    plan.needs |= {"services", "endpointslices", "namespaces"}
    if options.pods == "verified":
        plan.needs.add("pods")
    zone = Zone(plan.catalogue, options)

    def wrap(following: Handler) -> Handler:
        def handle(query: Query) -> Result:
            message = query.message
            if not zone.match(message.name):
                return following(query)
            if not plan.synced():
                return query.fail("kubernetes", "plugin/kubernetes: not synced with the API yet")
            answer = zone.lookup(message.name, message.type)
            if answer is None or (
                answer.rcode == NXDOMAIN and _falls_through(message.name, fallthrough)
            ):
                return following(query)
            reply = _reply(query, answer)
            return _follow(query, reply, answer.follow, plan) if answer.follow else reply

        return handle

    return wrap


def _reply(query: Query, answer: Answer) -> Message:
    reply = query.reply("kubernetes", rcode=answer.rcode)
    return replace(
        reply,
        flags=reply.flags | AA,
        answers=answer.answers,
        authority=answer.authority,
        additional=answer.additional,
    )


def _follow(query: Query, reply: Message, target: str, plan: Plan) -> Result:
    """Look the target of a CNAME up through the whole server, and add what it finds."""
    if query.depth >= MAX_ALIASES:
        return reply
    message = replace(query.message, name=target, question=b"")
    result = plan.dispatch(replace(query, message=message, depth=query.depth + 1))
    if isinstance(result, Message):
        return replace(reply, answers=reply.answers + result.answers)
    return _follow_later(reply, result)


async def _follow_later(reply: Message, result: Awaitable[Message]) -> Message:
    return replace(reply, answers=reply.answers + (await result).answers)


def _kubernetes_options(directive: Directive, site: Site) -> tuple[Options, list[str] | None]:
    zones = [zone for word in directive.arguments for zone in zones_of(word)]
    found: dict[str, object] = {"zones": tuple(zones) or site.block.zones}
    fallthrough: list[str] | None = None
    for line in directive.properties:
        name, *rest = line.words
        if name == "pods" and rest in (["disabled"], ["insecure"], ["verified"]):
            found["pods"] = rest[0]
        elif name == "pods":
            raise directive.error(f"wrong value for pods: {' '.join(rest)}", line)
        elif name == "ttl":
            found["ttl"] = whole_seconds(directive, line, 0, 3600)
        elif name == "namespaces" and rest:
            found["namespaces"] = frozenset(rest)
        elif name == "endpoint_pod_names" and not rest:
            found["endpoint_pod_names"] = True
        elif name == "noendpoints" and not rest:
            found["no_endpoints"] = True
        elif name == "ignore" and rest == ["empty_service"]:
            found["ignore_empty_service"] = True
        elif name == "fallthrough":
            fallthrough = [canonical(word) for word in rest] or ["."]
        else:
            raise directive.error(f"unknown property '{name}'", line)
    return Options(**found), fallthrough  # type: ignore[arg-type]


def _falls_through(name: str, zones: list[str] | None) -> bool:
    return zones is not None and any(in_zone(name, zone) for zone in zones)


def hosts(directive: Directive, site: Site, plan: Plan) -> Wrap:
    """Answer from lines as in /etc/hosts, written in the Corefile or in a file."""
    table = _Hosts(directive, site)
    if table.file is not None:
        table.add_file(plan)

    def wrap(following: Handler) -> Handler:
        def handle(query: Query) -> Result:
            message = query.message
            if not any(in_zone(message.name, zone) for zone in table.zones):
                return following(query)
            records = table.records(message.name, message.type)
            if records or message.name in table.addresses:
                flags = query.reply("hosts").flags | AA
                reply = query.reply("hosts", rcode=NOERROR, flags=flags)
                return replace(reply, answers=tuple(records))
            if _falls_through(message.name, table.fallthrough):
                return following(query)
            # There is no zone here to say NXDOMAIN for: CoreDNS answers SERVFAIL.
            return query.fail("hosts", "no such host and no fallthrough")

        return handle

    return wrap


class _Hosts:
    """Names and addresses of one `hosts` plugin."""

    def __init__(self, directive: Directive, site: Site) -> None:
        words = list(directive.arguments)
        self.file = Path(words.pop(0)) if words else None
        self.zones = [zone for word in words for zone in zones_of(word)] or list(site.block.zones)
        self.fallthrough: list[str] | None = None
        self.ttl = 3600
        self.reverse = True
        self.addresses: dict[str, list[str]] = {}
        self.names: dict[str, list[str]] = {}
        for line in directive.properties:
            self._property(directive, line)

    def _property(self, directive: Directive, line: Line) -> None:
        name, *rest = line.words
        if name == "fallthrough":
            self.fallthrough = [canonical(word) for word in rest] or ["."]
        elif name == "ttl":
            self.ttl = whole_seconds(directive, line, 1, 65535)
        elif name == "no_reverse" and not rest:
            self.reverse = False
        elif name == "reload":
            return
        elif not self._add(name, rest):
            raise directive.error(f"unknown property '{name}'", line)

    def _add(self, address: str, names: list[str]) -> bool:
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            return False
        for name in map(canonical, names):
            self.addresses.setdefault(name, []).append(address)
            self.names.setdefault(address, []).append(name)
        return True

    def add_file(self, plan: Plan) -> None:
        """Add the lines of the file, which is read once for each (re)load of the Corefile."""
        assert self.file is not None
        try:
            text = self.file.read_text()
        except OSError as error:
            plan.say(f"[WARNING] plugin/hosts: {self.file}: {error.strerror}")
            return
        for line in text.splitlines():
            if words := line.partition("#")[0].split():
                self._add(words[0], words[1:])

    def records(self, name: str, kind: int) -> list[Record]:
        """Return the records of this type."""
        if kind == PTR and self.reverse:
            return [
                Record(name, PTR, self.ttl, each)
                for address, names in self.names.items()
                if ipaddress.ip_address(address).reverse_pointer + "." == name
                for each in names
            ]
        if kind not in (A, AAAA):
            return []
        return [
            Record(name, kind, self.ttl, address)
            for address in self.addresses.get(name, ())
            if (":" in address) == (kind == AAAA)
        ]
