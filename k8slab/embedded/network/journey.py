"""One packet's journey, told in order: made of what was seen on its way and back.

A *visit* is one stay of the packet at a place: it comes in by an interface, meets rules, is
rewritten, routed, and leaves by an interface. The packet is known again by what no rewriting
changes (the sequence number of a SYN, the first bytes of a datagram); an answer by its ends,
which are those of the packet, turned around, as they were at some step of the way.

Where the journey ends without an answer, the last visit says why: a rule that dropped it, a
route that leads nowhere, a link by which it left and never arrived, or a program that does not
answer.
"""

from __future__ import annotations

import errno
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from k8slab.embedded.network import conntrack
from k8slab.embedded.network.calico import INTERFACE_PREFIX
from k8slab.embedded.network.capture import parse
from k8slab.embedded.network.meanings import Meaning, meaning
from k8slab.embedded.network.netlink import Netlink
from k8slab.embedded.network.switch import BRIDGE
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from k8slab.embedded.network.capture import Ends, Packet, Seen
    from k8slab.embedded.network.following import Pass, Record, Sight
    from k8slab.embedded.network.sending import Place
    from k8slab.embedded.network.tracing import Met

    Texts = Callable[[Place, set[tuple[str, str, str]]], Mapping["RuleKey", str]]

RuleKey = tuple[str, str, str, int]
"""Family, table, chain and handle of a rule."""

THERE, BACK = "there", "back"
SWITCH = "switch"
_ROUTED_FIRST = ("forward", "filter-forward", "input", "filter-input")
"""Beginnings of the names of chains that a packet meets when its route is known."""
_DRAWING = ("service", "endpoint", "rule")
"""Kinds of the steps of rules that give a packet another destination."""
_REMEMBERED = ", as the connection table has it: an older packet with these ends was sent there"
_NO_WAY = {
    errno.ENETUNREACH: "there is no route",
    errno.EHOSTUNREACH: "the route says unreachable",
    errno.EINVAL: "the route is a blackhole",
    errno.EACCES: "the route prohibits it",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to the packet or to its answer."""

    leg: str
    """``there`` or ``back``."""
    place: Place
    kind: str
    """``enters``, ``leaves``, ``rewritten``, ``route``, ``lost``, or what a rule meant."""
    text: str
    packet: Packet | None = None
    interface: str = ""
    met: Met | None = None
    rule: str = ""
    facts: Mapping[str, str | int] = field(default_factory=dict)
    time: int = 0
    """Nanoseconds since it was sent; 0 where nobody knows (rules have no clock)."""

    @property
    def where(self) -> tuple[str, Place]:
        """Return leg and place."""
        return self.leg, self.place


@dataclass(frozen=True, slots=True)
class Journey:
    """All steps, and where the packet was lost, if it was."""

    record: Record
    steps: tuple[Step, ...]
    lost: Step | None = None
    frames: tuple[Sight, ...] = ()
    """What was captured of the flow, with all its packets."""


@dataclass(slots=True)
class _Visit:
    leg: str
    place: Place
    sights: list[Sight]
    met: list[Met] = field(default_factory=list)

    @property
    def first(self) -> Packet:
        return self.sights[0].seen.packet

    @property
    def last(self) -> Packet:
        return self.sights[-1].seen.packet

    @property
    def left(self) -> bool:
        return self.sights[-1].seen.leaving

    @property
    def dropped(self) -> Met | None:
        return next((met for met in self.met if met.verdict == "drop"), None)


class _Flow:
    """Tells the packets of one journey from all that were captured."""

    def __init__(self, record: Record) -> None:
        self._sent = record.sent
        self.there: list[Sight] = []
        self.back: list[Sight] = []
        self.frames: list[Sight] = []
        self._ends: set[Ends] = set()
        self._answers: set[Ends] = set()
        self._sequence = _first_sequence(record)
        self._answer: Packet | None = None
        for sight in record.sights:
            self._sort(sight, record.question.source)

    def _sort(self, sight: Sight, source: Place) -> None:
        packet = sight.seen.packet
        if not self.there and not (sight.place == source and sight.seen.leaving):
            return
        if sight.seen.for_others and sight.place.kind != SWITCH:
            return  # a copy: the switch did not know yet which port is the right one
        if self.goes(packet):
            self.there.append(sight)
            self._ends.add(packet.ends)
            self._answers.add(packet.answer)
        elif self.comes(packet):
            self.back.append(sight)
        if self._belongs(packet):
            self.frames.append(sight)

    def goes(self, packet: Packet) -> bool:
        """Say whether this is the packet itself, on its way."""
        if packet.quoted or packet.ends in self._answers:
            return False
        if packet.protocol == "TCP":
            return packet.flags == "SYN" and packet.sequence == self._sequence
        return packet.protocol == "UDP" and packet.data.startswith(self._sent) and bool(self._sent)

    def comes(self, packet: Packet) -> bool:
        """Say whether this is the first answer: a SYN-ACK, RST, datagram or ICMP error."""
        if packet.quoted:
            return packet.quoted.ends in self._ends
        if packet.ends not in self._answers and not self._rewritten(packet):
            return False
        if packet.protocol == "TCP" and packet.flags not in ("SYN,ACK", "RST,ACK", "RST"):
            return False
        if self._answer is None:
            self._answer = packet
        return (packet.flags, packet.sequence) == (self._answer.flags, self._answer.sequence)

    def _rewritten(self, packet: Packet) -> bool:
        """Say whether this is the known answer with other ends, as rewriting makes it."""
        known = self._answer
        return (
            known is not None
            and packet.protocol == known.protocol == "TCP"
            and (packet.sequence, packet.acknowledged) == (known.sequence, known.acknowledged)
        )

    def _belongs(self, packet: Packet) -> bool:
        about = packet.quoted or packet
        return about.ends in self._ends or about.ends in self._answers


def _first_sequence(record: Record) -> int | None:
    """Return the sequence number of the SYN that was sent from our port; ``None`` for UDP.

    What a node sends may leave it with another port already: then its rules saw the first one.
    """
    source = record.question.source
    seen = [s.seen.packet for s in record.sights if s.place == source and s.seen.leaving]
    met = [each.packet for each in record.passes if each.place == source]
    sent = (p for p in (*seen, *met) if p and p.flags == "SYN" and p.source_port == record.port)
    return next((packet.sequence for packet in sent), None)


def tell(record: Record, texts: Texts) -> Journey:
    """Make the journey of a record; `texts` gives the text of all rules of some chains of a node.

    Routes are asked for now, so a journey is told at once.
    """
    flow = _Flow(record)
    visits = [*_visits(flow.there, THERE), *_visits(flow.back, BACK)]
    _give_passes(visits, flow, record.passes)
    rules: dict[Place, Mapping[RuleKey, str]] = {}
    for place in dict.fromkeys(visit.place for visit in visits if visit.met):
        here = [met for visit in visits if visit.place == place for met in visit.met]
        chains = {(met.family, met.table, met.chain) for met in here if met.handle}
        rules[place] = texts(place, chains)
    began = flow.there[0].seen.time if flow.there else 0
    steps = [
        step
        for visit in visits
        for step in _Telling(visit, rules.get(visit.place, {}), began).steps()
    ]
    lost = _lost(record, visits, rules) if visits else _never_left(record, texts)
    if ending := lost or _refused(record, visits):
        steps = _with_ending(steps, ending)
    return Journey(record, tuple(steps), lost, tuple(flow.frames))


def _visits(sights: Sequence[Sight], leg: str) -> list[_Visit]:
    """Group sights of one place; what comes in again is another visit (a pod that asks itself).

    A switch that does not know the right port sends to all: one copy may have arrived before
    the last one leaves.
    """
    found: list[_Visit] = []
    for sight in sights:
        last = found[-1] if found else None
        if sight.place.kind == SWITCH and sight.seen.leaving:
            last = next((v for v in reversed(found) if v.place == sight.place), last)
        again = last and last.left and not sight.seen.leaving
        if last and last.place == sight.place and not again:
            last.sights.append(sight)
        else:
            found.append(_Visit(leg, sight.place, [sight]))
    return found


def _give_passes(visits: Sequence[_Visit], flow: _Flow, passes: Iterable[Pass]) -> None:
    """Give each visit of a node the rules that were met then: both are in order."""
    waiting = {
        (leg, place): [v for v in visits if v.leg == leg and v.place == place]
        for leg, place in {(visit.leg, visit.place) for visit in visits}
    }
    for each in passes:
        packet = each.packet
        if packet is None:
            continue
        leg = THERE if flow.goes(packet) else BACK if flow.comes(packet) else ""
        queue = waiting.get((leg, each.place))
        if queue and _is_of(packet, queue[0]):
            queue.pop(0).met = each.met


def _is_of(packet: Packet, visit: _Visit) -> bool:
    seen = visit.first
    return packet.ends == seen.ends or packet.sequence == seen.sequence


class _Telling:
    """Tells the steps of one visit."""

    def __init__(self, visit: _Visit, rules: Mapping[RuleKey, str], began: int) -> None:
        self.visit = visit
        self.rules = rules
        self.began = began
        # A node's own packet is rewritten before any interface sees it.
        headers = visit.met[0].headers if visit.met and visit.sights[0].seen.leaving else None
        self.now = (parse(b"".join(headers)) if headers else None) or visit.first
        self.found: list[Step] = []
        self._routed = False

    def steps(self) -> list[Step]:
        visit = self.visit
        arrival, *_ = visit.sights
        if not arrival.seen.leaving:
            self._sight("enters", f"comes in by {arrival.seen.interface}", arrival)
        self._rules()
        departure = visit.sights[-1]
        if departure.seen.leaving:
            self._rewritten(departure.seen.packet)
            self._route()
            self._sight("leaves", self._leaving(), departure)
        elif not visit.dropped and visit.place.kind == "node":
            self._route()
        return self.found

    def _leaving(self) -> str:
        sights = self.visit.sights
        out = [s.seen.interface for s in sights if s.seen.leaving]
        names = list(dict.fromkeys(name for name in out if name != BRIDGE)) or out
        if len(names) > 1 and self.visit.place.kind == SWITCH:
            return f"leaves by every port, {', '.join(names)}: it has not learnt the right one"
        word = "sent" if len(sights) == 1 else "leaves"
        return f"{word} by {names[-1]}"

    def _rules(self) -> None:
        before: Met | None = None
        told: set[str] = set()
        for met in self.visit.met:
            if met.headers and before is not None:
                packet = parse(b"".join(met.headers))
                if packet:
                    self._rewritten(packet)
            if met.chain.startswith(_ROUTED_FIRST) and self.visit.place.kind == "node":
                self._route()
            text = self.rules.get((met.family, met.table, met.chain, met.handle), "")
            means = meaning(met, text, before)
            if means.text and means.text not in told:
                told.add(means.text)
                self._meant(means, met, text)
            before = met

    def _meant(self, means: Meaning, met: Met, text: str) -> None:
        step = self._step(means.kind, means.text)
        self.found.append(replace(step, met=met, rule=text, facts=means.facts))

    def _rewritten(self, packet: Packet) -> None:
        for word, old, new in (
            ("destination", _end(self.now.destination, self.now.destination_port),
             _end(packet.destination, packet.destination_port)),
            ("source", _end(self.now.source, self.now.source_port),
             _end(packet.source, packet.source_port)),
        ):  # fmt: skip
            if old != new and packet.protocol == self.now.protocol:
                facts = {"what": word, "from": old, "to": new}
                how = _REMEMBERED if word == "destination" and self._remembered() else ""
                step = self._step("rewritten", f"{word} {old} becomes {new}{how}")
                self.found.append(replace(step, packet=packet, facts=facts))
        if packet.protocol == self.now.protocol:
            self.now = packet

    def _remembered(self) -> bool:
        """Say whether no rule drew the destination: the connection is older than the packet."""
        drawn = any(step.kind in _DRAWING for step in self.found)
        return self.visit.leg == THERE and bool(self.visit.met) and not drawn

    def _route(self) -> None:
        kind = self.visit.place.kind
        if self._routed or not (kind == "node" or (kind == "pod" and self.visit.leg == THERE)):
            return
        self._routed = True
        came = None if self.visit.sights[0].seen.leaving else self.visit.sights[0].seen.interface
        text, facts = route_of(self.visit.place, self.now, came)
        self.found.append(replace(self._step("route", text), facts=facts))

    def _sight(self, kind: str, text: str, sight: Sight) -> None:
        step = self._step(kind, text)
        time = sight.seen.time - self.began
        self.found.append(
            replace(step, packet=sight.seen.packet, interface=sight.seen.interface, time=time)
        )

    def _step(self, kind: str, text: str) -> Step:
        return Step(self.visit.leg, self.visit.place, kind, text)


def route_of(place: Place, packet: Packet, came_by: str | None) -> tuple[str, dict[str, str | int]]:
    """Return in words, and as facts, which route a packet has at a place now."""
    with closing(Netlink(place.netns)) as kernel:
        link = kernel.find(came_by) if came_by else None
        if came_by and link is None:  # with its pod, since the packet was seen there
            why = f"the interface {came_by} has gone"
            return f"route to {packet.destination}: {why}", {"to": "", "why": why}
        try:
            found = kernel.find_route(packet.destination, packet.source, link)
        except KernelError as error:
            if error.errno not in _NO_WAY:
                raise
            why = _NO_WAY[error.errno]
            return f"route to {packet.destination}: {why}", {"to": "", "why": why}
        way = kernel.numbered(found.link) if found.link else None
    name = way.name if way else ""
    facts: dict[str, str | int] = {"to": found.to, "via": found.via, "interface": name}
    if way:
        facts["mtu"] = way.mtu
    if found.kind == "local":
        return f"route {found.to}: this is the place", facts
    if found.kind != "unicast":
        why = f"the route {found.to} is a {found.kind}"
        return f"route {found.to}: {found.kind}", facts | {"why": why}
    via = f" via {found.via}" if found.via else ""
    return f"route {found.to}{via} by {name}", facts


def _lost(
    record: Record, visits: Sequence[_Visit], rules: Mapping[Place, Mapping[RuleKey, str]]
) -> Step | None:
    """Return the step at which the packet, or its answer, was lost; ``None`` for neither."""
    for visit in visits:
        if met := visit.dropped:
            here = rules.get(visit.place, {})
            text = here.get((met.family, met.table, met.chain, met.handle), "")
            before = visit.met[visit.met.index(met) - 1]
            means = meaning(met, text, before)
            return Step(
                visit.leg, visit.place, "lost", means.text, visit.last, "", met, text, means.facts
            )
    if (turned := _turned_back(visits)) is not None:
        return turned
    if record.outcome != "silent":
        return None
    last = visits[-1]
    return Step(last.leg, last.place, "lost", *_vanished(last))


def _never_left(record: Record, texts: Texts) -> Step | None:
    """Return the rule of its own node that dropped a packet before it reached an interface."""
    for each in record.passes:
        dropped = next((met for met in each.met if met.verdict == "drop"), None)
        if dropped is None or each.place != record.question.source:
            continue
        chain = (dropped.family, dropped.table, dropped.chain)
        rule = texts(each.place, {chain}).get((*chain, dropped.handle), "")
        means = meaning(dropped, rule, each.met[each.met.index(dropped) - 1])
        step = Step(THERE, each.place, "lost", means.text, each.packet, met=dropped, rule=rule)
        return replace(step, facts=means.facts)
    return None


def _turned_back(visits: Sequence[_Visit]) -> Step | None:
    """Return where the packet was sent back by an ICMP error, as routers do; else ``None``."""
    answer = next((visit for visit in visits if visit.leg == BACK), None)
    there = [visit for visit in visits if visit.leg == THERE]
    if answer is None or answer.first.quoted is None or not there:
        return None
    last = there[-1]
    if last.place.kind == "pod":  # arrived: a port of UDP without a program
        return None
    where = last.sights[-1].seen
    text, facts = route_of(last.place, where.packet, where.interface)
    why = _too_large(where, facts) or facts.get("why", text)
    text = f"sent back with ICMP {answer.first.flags}: {why}"
    return Step(THERE, last.place, "lost", text, where.packet, where.interface)


def _vanished(visit: _Visit) -> tuple[str, Packet, str]:
    sight = visit.sights[-1]
    seen = sight.seen
    if seen.leaving:
        return f"it left by {seen.interface} and came in nowhere", seen.packet, seen.interface
    if not visit.met and _came_forged(visit.place, seen):
        text = f"no route leads back to its source by {seen.interface}: taken for forged"
        return text, seen.packet, seen.interface
    if visit.place.kind in ("node", SWITCH):
        text, facts = route_of(visit.place, seen.packet, seen.interface)
        if "why" in facts:
            return f"{facts['why']}", seen.packet, seen.interface
        if large := _too_large(seen, facts):
            text = f"{large}; the ICMP error that says so did not come back"
            return text, seen.packet, seen.interface
        if visit.place.kind == "node" and (table := conntrack.usage(visit.place.netns)).full:
            text = f"conntrack has no room for a new connection: {table.entries} of {table.limit}"
            return text, seen.packet, seen.interface
        return f"it came in and went no further ({text})", seen.packet, seen.interface
    if seen.packet.source == seen.packet.destination:  # a martian: RFC 1812, 5.3.7
        text = "it came back with its own address as the source: the kernel takes it for forged"
        return text, seen.packet, seen.interface
    if visit.leg == THERE and visit.place.kind in ("pod", "world"):
        return "it arrived, and no program answered", seen.packet, seen.interface
    return "it came in and went no further", seen.packet, seen.interface


def _too_large(seen: Seen, facts: Mapping[str, str | int]) -> str:
    """Say that a packet does not fit the link of its route, where that is so; else ''.

    A journey's large packet must not be cut (`sending`), so it goes no further there.
    """
    size, most = seen.packet.size, int(facts.get("mtu", 0))
    if size <= most or not most:
        return ""
    return f"it has {size} bytes, and {facts['interface']} takes {most} at most (its MTU)"


def _came_forged(place: Place, seen: Seen) -> bool:
    """Say whether a node drops what a pod sent, before any rule can be followed.

    It is the reverse path check of `ruleset_policy`: the source is not routed to that link.
    """
    if place.kind != "node" or not seen.interface.startswith(INTERFACE_PREFIX):
        return False
    anywhere = "::" if ":" in seen.packet.source else "0.0.0.0"
    with closing(Netlink(place.netns)) as kernel:
        try:
            back = kernel.find_route(seen.packet.source, anywhere)
        except KernelError as error:
            if error.errno not in _NO_WAY:
                raise
            return True
        link = kernel.find(seen.interface)
        return link is not None and back.link != link.index


def _refused(record: Record, visits: Sequence[_Visit]) -> Step | None:
    """Return where nobody listened: the packet arrived and was answered with a refusal."""
    there = [visit for visit in visits if visit.leg == THERE]
    answered = any(visit.leg == BACK for visit in visits)
    if record.outcome != "refused" or not there or not answered:
        return None
    last = there[-1]
    port = last.last.destination_port
    return Step(THERE, last.place, "refused", f"no program listens on port {port}", last.last)


def _with_ending(steps: list[Step], ending: Step) -> list[Step]:
    """Put it where it happened: it tells what the step of the dropping rule would tell."""
    kept = [step for step in steps if not (ending.met and step.met is ending.met)]
    here = [n for n, step in enumerate(kept) if step.where == ending.where]
    at = here[-1] + 1 if here else len(kept)
    return [*kept[:at], ending, *kept[at:]]


def _end(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
