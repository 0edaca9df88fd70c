"""The plugins that ask other servers: `forward`, and `loop`, which finds rings of them."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded.dns.corefile import Directive, Line, zones_of
from k8slab.embedded.dns.upstream import Upstream, UpstreamError
from k8slab.embedded.dns.zone import in_zone
from k8slab.embedded.wire import QR, RCODES, RD, REFUSED, Message, canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.embedded.apps.sockets import Address
    from k8slab.embedded.dns.chain import Handler, Plan, Query, Result, Site, Wrap

TOTAL_SECONDS = 5.0
"""How long one query may take in all; CoreDNS' defaultTimeout."""
TRY_SECONDS = 2.0
"""How long one upstream has; CoreDNS' read timeout."""
MAX_UPSTREAMS = 15

_HINFO = 13
_POLICIES = ("random", "round_robin", "sequential")
_IGNORED = (
    "expire",
    "health_check",
    "max_fails",
    "max_idle_conns",
    "failfast_all_unhealthy_upstreams",
)
"""Properties about connections that this server does not keep."""


@dataclass(slots=True)
class _Settings:
    zone: str
    upstreams: list[Upstream]
    excepts: list[str] = field(default_factory=list)
    policy: str = "random"
    max_concurrent: int = 0
    force_tcp: bool = False
    prefer_udp: bool = False
    turn: Iterator[int] = field(default_factory=count)

    def order(self) -> list[Upstream]:
        """Return the upstreams in the order to try them."""
        found = list(self.upstreams)
        if self.policy == "random":
            random.shuffle(found)
        elif self.policy == "round_robin":
            first = next(self.turn) % len(found)
            found = found[first:] + found[:first]
        return found


def forward(directive: Directive, _site: Site, plan: Plan) -> Wrap:
    """Ask upstream resolvers; the last plugin of most chains."""
    settings = _settings(directive)
    plan.closers += [upstream.close for upstream in settings.upstreams]
    running = [0]

    def wrap(following: Handler) -> Handler:
        def handle(query: Query) -> Result:
            name = query.message.name
            if not in_zone(name, settings.zone) or any(in_zone(name, z) for z in settings.excepts):
                return following(query)
            if settings.max_concurrent and running[0] >= settings.max_concurrent:
                plan.metrics.count("coredns_forward_max_concurrent_rejects_total")
                query.notes.error = "concurrent queries exceeded maximum"
                return query.reply("forward", rcode=REFUSED)
            return _counted(query, settings, plan, running)

        return handle

    return wrap


async def _counted(query: Query, settings: _Settings, plan: Plan, running: list[int]) -> Message:
    running[0] += 1
    try:
        return await _forward(query, settings, plan)
    finally:
        running[0] -= 1


async def _forward(query: Query, settings: _Settings, plan: Plan) -> Message:
    tcp = settings.force_tcp or (query.protocol == "tcp" and not settings.prefer_udp)
    began = time.monotonic()
    error = "no upstream"
    while True:
        for upstream in settings.order():
            left = TOTAL_SECONDS - (time.monotonic() - began)
            if left <= 0:
                return query.fail("forward", error)
            start = time.monotonic()
            try:
                answer = await upstream.ask(query.message, min(left, TRY_SECONDS), tcp=tcp)
            except UpstreamError as failure:
                error = str(failure)
                continue
            _measure(plan, upstream.address, answer, time.monotonic() - start)
            return _relay(query, answer)
        if "i/o timeout" not in error:
            # Every upstream refused at once: asking again at once would only repeat it.
            return query.fail("forward", error)


def _relay(query: Query, answer: Message) -> Message:
    reply = query.reply("forward", rcode=answer.rcode, flags=answer.flags | QR)
    return replace(
        reply,
        answers=answer.answers,
        authority=answer.authority,
        additional=answer.additional,
    )


def _measure(plan: Plan, address: Address, answer: Message, took: float) -> None:
    labels = (
        ("proxy_name", "forward"),
        ("rcode", RCODES[answer.rcode] if answer.rcode < len(RCODES) else str(answer.rcode)),
        ("to", f"{address[0]}:{address[1]}"),
    )
    plan.metrics.observe("coredns_proxy_request_duration_seconds", labels, took)


def _settings(directive: Directive) -> _Settings:
    words = directive.arguments
    if len(words) < 2:
        raise directive.error("Wrong argument count or unexpected line ending after 'forward'")
    addresses = [address for word in words[1:] for address in _addresses(directive, word)]
    if not addresses:
        raise directive.error(f"no nameservers found in {' '.join(words[1:])}")
    if len(addresses) > MAX_UPSTREAMS:
        raise directive.error(f"more than {MAX_UPSTREAMS} TOs configured: {len(addresses)}")
    settings = _Settings(zones_of(words[0])[0], [Upstream(address) for address in addresses])
    for line in directive.properties:
        _property(directive, line, settings)
    return settings


def _property(directive: Directive, line: Line, settings: _Settings) -> None:
    name, *rest = line.words
    if name == "except" and rest:
        settings.excepts += [zone for word in rest for zone in zones_of(word)]
    elif name == "policy" and len(rest) == 1:
        if rest[0] not in _POLICIES:
            raise directive.error(f"unknown policy '{rest[0]}'", line)
        settings.policy = rest[0]
    elif name == "max_concurrent" and len(rest) == 1 and rest[0].isdecimal():
        settings.max_concurrent = int(rest[0])
    elif name == "force_tcp" and not rest:
        settings.force_tcp = True
    elif name == "prefer_udp" and not rest:
        settings.prefer_udp = True
    elif name not in _IGNORED:
        raise directive.error(f"unknown property '{name}'", line)


def _addresses(directive: Directive, word: str) -> list[Address]:
    """Return the addresses that a TO stands for: an address with or without port, or a file."""
    if word.startswith("/"):
        try:
            return nameservers(Path(word).read_text())
        except OSError as error:
            raise directive.error(f"open {word}: {str(error.strerror).lower()}") from error
    if word.startswith("tls://"):
        raise directive.error(f"{word}: DNS over TLS is not part of this server")
    plain = word.removeprefix("dns://")
    host, port = plain, "53"
    if plain.startswith("["):
        host, _, port = plain[1:].partition("]:")
    elif plain.count(":") == 1:
        host, _, port = plain.partition(":")
    if not _is_address(host) or not (port or "53").isdecimal():
        raise directive.error(f'not an IP address or file: "{word}"')
    return [(host.rstrip("]"), int(port or "53"))]


def _is_address(host: str) -> bool:
    return bool(host) and (":" in host or all(p.isdecimal() for p in host.split(".")))


def nameservers(text: str) -> list[Address]:
    """Return the ``nameserver`` lines of a resolv.conf(5)."""
    lines = (line.split() for line in text.splitlines())
    return [(words[1], 53) for words in lines if len(words) > 1 and words[0] == "nameserver"]


def loop(directive: Directive, site: Site, plan: Plan) -> Wrap:
    """Ask oneself a random question; when it comes back, the servers forward in a ring."""
    if directive.arguments:
        raise directive.error("Wrong argument count or unexpected line ending after 'loop'")
    zone = site.block.zones[0]
    name = canonical(f"{random.getrandbits(62)}.{random.getrandbits(62)}.{zone}".rstrip(".") + ".")
    seen = [0]

    async def start() -> None:
        probe = Upstream(("127.0.0.1", site.block.port))
        plan.closers.append(probe.close)
        try:
            await probe.ask(_read_query(name), TRY_SECONDS)
        except UpstreamError:  # no answer is no loop: only the question coming back counts
            probe.close()

    plan.starters.append(start)

    def wrap(following: Handler) -> Handler:
        def handle(query: Query) -> Result:
            if query.message.name != name or query.message.type != _HINFO:
                return following(query)
            seen[0] += 1
            if seen[0] > 2:
                _found(query, site, plan, name)
            return following(query)

        return handle

    return wrap


def _read_query(name: str) -> Message:
    return Message(name=name, type=_HINFO, flags=RD)


def _found(query: Query, site: Site, plan: Plan, name: str) -> None:
    client = f"{query.client[0]}:{query.client[1]}"
    plan.say(
        f"[FATAL] plugin/loop: Loop ({client} -> :{site.block.port}) detected for zone "
        f'"{site.block.zones[0]}", see https://coredns.io/plugins/loop#troubleshooting. '
        f'Query: "HINFO {name}"'
    )
    raise SystemExit(1)
