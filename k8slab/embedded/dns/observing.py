"""The plugins that watch: `errors`, `log`, `prometheus`; and `loadbalance`, which shuffles."""

from __future__ import annotations

import random
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from k8slab.embedded import wire
from k8slab.embedded.dns import durations
from k8slab.embedded.dns.chain import then
from k8slab.embedded.dns.corefile import Directive, zones_of
from k8slab.embedded.dns.zone import in_zone
from k8slab.embedded.wire import MX, A, Message, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.dns.chain import Handler, Plan, Query, Result, Site, Wrap

COMMON = (
    '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" '
    "{rcode} {>rflags} {rsize} {duration}"
)
"""The log plugin's default format; documented at coredns.io/plugins/log."""
CLASSES = ("success", "denial", "error", "all")

_FLAGS = (
    (wire.QR, "qr"),
    (wire.AA, "aa"),
    (wire.TC, "tc"),
    (wire.RD, "rd"),
    (wire.RA, "ra"),
    (wire.AD, "ad"),
    (wire.CD, "cd"),
)
_KEY = re.compile(r"\{[^}]*\}")


def errors(directive: Directive, _site: Site, plan: Plan) -> Wrap:
    """Write why a query failed."""
    for line in directive.properties:
        if line.words[0] not in ("consolidate", "stacktrace", "show_first"):
            raise directive.error(f"unknown property '{line.words[0]}'", line)

    def wrap(following: Handler) -> Handler:
        def handle(query: Query) -> Result:
            def told(reply: Message) -> Message:
                if query.notes.error:
                    what = f"{query.message.name} {type_name(query.message.type)}"
                    plan.say(f"[ERROR] plugin/errors: {reply.rcode} {what}: {query.notes.error}")
                return reply

            return then(following(query), told)

        return handle

    return wrap


def log(directive: Directive, site: Site, plan: Plan) -> Wrap:
    """Write one line for each query."""
    site.storable = False
    zones, layout = _log_arguments(directive, site)
    classes: set[str] = set()
    for line in directive.properties:
        if line.words[0] != "class" or not set(line.words[1:]) <= set(CLASSES):
            raise directive.error(f"unknown property '{' '.join(line.words)}'", line)
        classes.update(line.words[1:])
    classes = classes or {"all"}

    def wrap(following: Handler) -> Handler:
        def handle(query: Query) -> Result:
            if not any(in_zone(query.message.name, zone) for zone in zones):
                return following(query)
            began = time.perf_counter()

            def told(reply: Message) -> Message:
                if classes & {"all", _class(reply)}:
                    took = time.perf_counter() - began
                    plan.say("[INFO] " + _line(layout, query, reply, took))
                return reply

            return then(following(query), told)

        return handle

    return wrap


def _log_arguments(directive: Directive, site: Site) -> tuple[list[str], str]:
    words = list(directive.arguments)
    layout = COMMON
    if words and "{" in words[-1]:
        layout = (
            words.pop()
            .replace("{common}", COMMON)
            .replace("{combined}", COMMON + " {/forward/upstream}")
        )
    zones = [zone for word in words for zone in zones_of(word)]
    return zones or list(site.block.zones), layout


def _class(reply: Message) -> str:
    """Return the response's class: a denial is a negative answer, not a failure."""
    if reply.rcode == wire.NXDOMAIN or (reply.rcode == wire.NOERROR and not reply.answers):
        return "denial"
    return "success" if reply.rcode == wire.NOERROR else "error"


def _line(layout: str, query: Query, reply: Message, took: float) -> str:
    message = query.message
    remote = query.client[0]
    edns = message.edns
    values: dict[str, Callable[[], object]] = {
        "{remote}": lambda: f"[{remote}]" if ":" in remote else remote,
        "{port}": lambda: query.client[1],
        "{>id}": lambda: message.id,
        "{type}": lambda: type_name(message.type),
        "{class}": lambda: "IN" if message.klass == wire.IN else message.klass,
        "{name}": lambda: message.name,
        "{proto}": lambda: query.protocol,
        "{size}": lambda: query.size,
        "{>do}": lambda: str(bool(edns and edns.flags & wire.DNSSEC_OK)).lower(),
        "{>bufsize}": lambda: edns.size if edns else wire.PLAIN_UDP,
        "{rcode}": lambda: rcode_name(reply.rcode),
        "{>rflags}": lambda: flags_written(reply.flags),
        "{rsize}": lambda: len(wire.write(reply)),
        "{duration}": lambda: durations.written(took),
        "{>opcode}": lambda: message.flags >> 11 & 0xF,
    }
    return _KEY.sub(lambda key: str(values.get(key[0], lambda: "-")()), layout)


def rcode_name(rcode: int) -> str:
    """Return ``NOERROR``, ``NXDOMAIN``, ... or the number."""
    return wire.RCODES[rcode] if rcode < len(wire.RCODES) else str(rcode)


def flags_written(flags: int) -> str:
    """Return a response's flags as the log writes them: ``qr,aa,rd``."""
    return ",".join(name for bit, name in _FLAGS if flags & bit)


def prometheus(directive: Directive, site: Site, plan: Plan) -> Wrap:
    """Count queries, answers and the time between them; the page is served by the process."""
    if len(directive.arguments) > 1:
        raise directive.error("Wrong argument count or unexpected line ending after 'prometheus'")
    plan.prometheus.append(directive.arguments[0] if directive.arguments else "localhost:9153")
    server = ("server", site.label)

    def wrap(following: Handler) -> Handler:
        def handle(query: Query) -> Result:
            began = time.perf_counter()
            zone = _best_zone(site, query.message.name)

            def counted(reply: Message) -> Message:
                labels = (server, ("view", ""), ("zone", zone))
                count_query(plan, labels, query, reply)
                plan.metrics.observe(
                    "coredns_dns_request_duration_seconds", labels, time.perf_counter() - began
                )
                return reply

            return then(following(query), counted)

        return handle

    return wrap


def _best_zone(site: Site, name: str) -> str:
    return max((zone for zone in site.block.zones if in_zone(name, zone)), key=len, default=".")


def count_query(
    plan: Plan, labels: tuple[tuple[str, str], ...], query: Query, reply: Message, times: int = 1
) -> None:
    """Count one question and its answer, or `times` equal ones."""
    family = "2" if ":" in query.client[0] else "1"
    kind = type_name(query.message.type) if query.message.type in wire.TYPE_NAMES else "other"
    asked = (*labels, ("family", family), ("proto", query.protocol), ("type", kind))
    plan.metrics.count("coredns_dns_requests_total", asked, times)
    told = (*labels, ("plugin", query.notes.plugin), ("rcode", rcode_name(reply.rcode)))
    plan.metrics.count("coredns_dns_responses_total", told, times)


def loadbalance(directive: Directive, site: Site, _plan: Plan) -> Wrap:
    """Shuffle addresses and mail servers, so that clients which take the first spread out."""
    if directive.arguments not in ((), ("round_robin",)):
        raise directive.error(f"unknown policy: {' '.join(directive.arguments)}")
    site.balanced = True

    def wrap(following: Handler) -> Handler:
        return lambda query: then(following(query), _shuffled)

    return wrap


def shuffles(message: Message) -> bool:
    """Tell whether the order of the answers is left to chance."""
    return sum(record.type in (A, wire.AAAA, MX) for record in message.answers) > 1


def _shuffled(message: Message) -> Message:
    if not shuffles(message):
        return message
    moving = [record for record in message.answers if record.type in (A, wire.AAAA, MX)]
    fixed = [record for record in message.answers if record.type not in (A, wire.AAAA, MX)]
    random.shuffle(moving)
    return replace(message, answers=(*fixed, *moving))
