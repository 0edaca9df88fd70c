"""A coarser journey, where no kernel tells anything: from captures at the ends, and on nodes.

The flow is sent once, by a program in the source pod that also captures it; meanwhile the pods
behind its destination are watched, and with an image for debugging the nodes too (`watching`).
A SYN is known again by its sequence number and a datagram by what it carries, whatever addresses
were rewritten on the way. What lies between two places that were watched nobody saw: which rule,
which route, which switch. The journey says so in its note, and of a loss between which places it
was.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.embedded.network.capture import parse
from k8slab.errors import ProbeError
from k8slab.probes.outcome import Outcome
from k8slab.probes.steps import Frame, Journey, Place, Step, end_text, packet_text
from k8slab.probes.targets import run_in_pod
from k8slab.probes.watching import Behind, Post, Watcher, behind, node_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from k8slab.embedded.network.capture import Packet
    from k8slab.policy import Flow, Party
    from k8slab.probes.targets import Target
    from k8slab.probes.watching import Found

MOST = 8
"""Pods behind a Service that are watched at most."""
THERE, BACK = "there", "back"


@dataclass(frozen=True, slots=True)
class Sight:
    """One packet of the flow at one interface of a place."""

    frame: Frame
    packet: Packet


@dataclass
class Seen:
    """What one place saw of the packet, and of its first answer."""

    place: Place
    there: list[Sight] = field(default_factory=list)
    back: list[Sight] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)


def captured(
    cluster: Any,
    flow: Flow,
    target: Target,
    from_port: int = 0,
    size: int = 0,
    *,
    deadline: float,
    image: str = "",
) -> Journey:
    """Send the flow once from its source pod and tell what was captured.

    The source port `from_port` and the `size` of a datagram are any where they are 0.

    Raises `ProbeError` when not even the source can be watched; its message says why.
    """
    if flow.source.kind != "pod" or flow.protocol not in ("TCP", "UDP"):
        raise ProbeError(f"captures begin in a pod, with TCP or UDP: not with {flow}")
    address = _resolved(cluster, flow.source, target.host)
    found = behind(cluster, address)
    watched = [pod for pod in found.pods if pod != flow.source][:MOST]
    post = Post(cluster, sorted({target.port, *found.ports}), image)
    nodes = dict.fromkeys(node_of(cluster, pod) for pod in (flow.source, *watched))
    mark = f"k8slab {secrets.token_hex(4)}"
    words = ["send", deadline, address, target.port, target.protocol, mark, from_port, size]
    with post.places([flow.source, *watched], [node for node in nodes if node]) as places:
        source = next((one for one in places if one.pod == flow.source), None)
        if source is None or source.kind != "pod":
            raise ProbeError(f"{flow.source}: {post.unseen[f'pod {flow.source}']}")
        others = [one for one in places if one is not source]
        sent, rest = post.watch(others, lambda: post.run(source, words, deadline=30 + 2 * deadline))
    return _Telling(flow, found, sent, mark, post.unseen).journey(source, rest, list(nodes))


def _resolved(cluster: Any, source: Party, host: str) -> str:
    """Return the address of a name, as the source's resolver gives it; an address as it is."""
    code = "import socket,sys;print(socket.getaddrinfo(sys.argv[1],None)[0][4][0])"
    if host.replace(".", "").isdecimal() or ":" in host:
        return host
    done = run_in_pod(cluster, source, ["python3", "-c", code, host])
    return done.stdout.strip() if done.code == 0 else host


@dataclass
class _Telling:
    """Makes the journey of what was found."""

    flow: Flow
    behind: Behind
    sent: Found
    mark: str
    unseen: dict[str, str]

    def journey(self, source: Watcher, rest: dict[Watcher, Found], nodes: Sequence[str]) -> Journey:
        """Put the places in the order of the way, and tell what happened at each."""
        order = {node: number for number, node in enumerate(nodes)}
        found = [self._seen(source, self.sent)]
        first = found[0].there[0].packet if found[0].there else None
        on_nodes = sorted(
            (one for one in rest if one.kind == "node"), key=lambda one: order[one.name]
        )
        in_pods = [one for one in rest if one.kind == "pod"]
        found += [self._seen(one, rest[one], first) for one in (*on_nodes, *in_pods)]
        met = [one for one in found if one.there]
        outcome = Outcome(self.sent["outcome"])
        ending = self._ending(outcome, found, met)
        steps = [*self._there(met), *self._back(met)]
        if ending:
            at = max((n for n, s in enumerate(steps) if s.leg == ending.leg), default=-1)
            steps.insert(at + 1, ending)
        return Journey(
            self.flow,
            outcome,
            self.sent["detail"],
            self.sent["seconds"],
            tuple(steps),
            ending if ending and ending.kind == "lost" else None,
            tuple(sorted((f for one in found for f in one.frames), key=lambda f: f.nanoseconds)),
            self._note(found),
            first.source if first else "",
            self.sent["address"],
        )

    def _seen(self, watcher: Watcher, found: Found, first: Packet | None = None) -> Seen:
        seen = Seen(Place(watcher.kind, watcher.name))
        ends: set[Any] = set()
        for time, interface, leaving, text in sorted(found["frames"]):
            data = bytes.fromhex(text)
            packet = parse(data[14:])
            if packet is None:
                continue
            first = first or self._begins(packet)
            if first is None:
                continue
            frame = Frame(time, seen.place, interface, leaving, data)
            goes = packet.ends not in {_turned(end) for end in ends} and self._goes(packet, first)
            comes = not goes and self._comes(packet, first, ends)
            if goes:
                ends.add(packet.ends)
                seen.there.append(Sight(frame, packet))
            elif comes and _same_answer(seen.back, packet):
                seen.back.append(Sight(frame, packet))
            about = packet.quoted or packet
            if goes or comes or about.ends in ends or _turned(about.ends) in ends:
                seen.frames.append(frame)
        return seen

    def _begins(self, packet: Packet) -> Packet | None:
        """Return the packet if it is the one that was sent, as the source knows it."""
        mine = packet.source_port == self.sent["own"] and packet.protocol == self.flow.protocol
        return packet if mine and packet.flags in ("", "SYN") else None

    def _goes(self, packet: Packet, first: Packet) -> bool:
        if packet.protocol != first.protocol:
            return False
        if packet.protocol == "UDP":
            return packet.data.startswith(self.mark.encode())
        return packet.flags == "SYN" and packet.sequence == first.sequence

    def _comes(self, packet: Packet, first: Packet, ends: set[Any]) -> bool:
        if packet.quoted:
            return packet.quoted.ends in ends
        if packet.protocol == "UDP":
            return _turned(packet.ends) in ends
        answer = packet.flags in ("SYN,ACK", "RST,ACK", "RST")
        return answer and packet.acknowledged == (first.sequence + 1) % (1 << 32)

    def _there(self, met: Sequence[Seen]) -> Iterator[Step]:
        now: Packet | None = None
        for number, one in enumerate(met):
            for sight in _changes(one.there):
                if now is not None:
                    yield from _rewritten(THERE, one.place, now, sight.packet)
                yield _step(THERE, one.place, sight, sent=number == 0)
                now = sight.packet
            if number == 0 and self.behind.service:
                count = len(self.behind.pods)
                text = f"Service {self.behind.service}: by its objects, {count} ready pods"
                yield Step(THERE, one.place, "service", text if count != 1 else text[:-1])

    def _back(self, met: Sequence[Seen]) -> Iterator[Step]:
        now: Packet | None = None
        for one in reversed(met):
            for sight in _changes(one.back):
                if now is not None:
                    yield from _rewritten(BACK, one.place, now, sight.packet)
                yield _step(BACK, one.place, sight, sent=now is None)
                now = sight.packet

    def _ending(self, outcome: Outcome, found: Sequence[Seen], met: Sequence[Seen]) -> Step | None:
        """Return where it was lost, or refused; ``None`` where it was neither, or never sent."""
        if outcome not in (Outcome.SILENT, Outcome.REFUSED) or not met:
            return None
        last = met[-1]
        if last.place.kind == "pod" and len(met) > 1:
            return _ended_in_pod(outcome, last)
        place, left = last.place, [one for one in last.there if one.frame.leaving]
        sight = left[0] if left else last.there[0]
        if not left:
            text = f"it came in by {sight.frame.interface} and went no further"
            return Step(THERE, place, "lost", text, _text(sight.packet))
        missing = ", ".join(str(one.place) for one in found if not one.there)
        where = f"none of the places watched ({missing})" if missing else "no other place watched"
        how = f"it left by {sight.frame.interface}"
        if back := found[0].back:
            answer = back[0].packet
            how = f"{answer.source} sent it back with {answer.protocol} {answer.flags}"
        text = f"{how}; it came to {where}"
        return Step(THERE, place, "lost", text, _text(sight.packet), facts={"after": True})

    def _note(self, found: Sequence[Seen]) -> str:
        seen = ", ".join(str(one.place) for one in found)
        told = [
            f"no kernel could be asked (capability trace): this is what captures saw, in {seen}",
            "rules, routes and everything between these places were not seen",
        ]
        if len(self.behind.pods) > MOST:
            told.append(f"only {MOST} of {len(self.behind.pods)} pods were watched")
        if not self.behind.pods:
            told.append(
                f"no pod has the address {self.sent['address']}: the far end was not watched"
            )
        for why in dict.fromkeys(self.unseen.values()):
            places = ", ".join(place for place, given in self.unseen.items() if given == why)
            told.append(f"not watched: {places} ({why})")
        return "; ".join(told)


def _turned(ends: Any) -> Any:
    protocol, source, source_port, destination, destination_port = ends
    return protocol, destination, destination_port, source, source_port


def _same_answer(before: Sequence[Sight], packet: Packet) -> bool:
    """Say whether it is the first answer, which may pass several interfaces; not a later one."""
    if not before:
        return True
    known = before[0].packet
    return (known.flags, known.sequence) == (packet.flags, packet.sequence)


def _changes(sights: Sequence[Sight]) -> Iterator[Sight]:
    """Yield the first sight at each interface: a SYN that is sent again passes there again."""
    met: set[tuple[str, bool]] = set()
    for sight in sights:
        key = (sight.frame.interface, sight.frame.leaving)
        if key not in met:
            met.add(key)
            yield sight


def _step(leg: str, place: Place, sight: Sight, *, sent: bool) -> Step:
    leaving, name = sight.frame.leaving, sight.frame.interface
    word = ("sent by" if sent else "leaves by") if leaving else "comes in by"
    kind = "leaves" if leaving else "enters"
    return Step(leg, place, kind, f"{word} {name}", _text(sight.packet))


def _rewritten(leg: str, place: Place, old: Packet, new: Packet) -> Iterator[Step]:
    for word, before, after in (
        ("destination", (old.destination, old.destination_port),
         (new.destination, new.destination_port)),
        ("source", (old.source, old.source_port), (new.source, new.source_port)),
    ):  # fmt: skip
        if before != after and old.protocol == new.protocol:
            text = f"on the way {word} {end_text(*before)} became {end_text(*after)}"
            yield Step(leg, place, "rewritten", text)


def _text(packet: Packet) -> str:
    ends = {"sourcePort": packet.source_port, "destinationPort": packet.destination_port}
    return packet_text({**packet._asdict(), **ends})


def _ended_in_pod(outcome: Outcome, last: Seen) -> Step:
    """Return what became of a packet that arrived, and was not answered with success."""
    packet, place = last.there[-1].packet, last.place
    if not last.back:
        return Step(THERE, place, "lost", "it arrived, and no program answered", _text(packet))
    if outcome is Outcome.REFUSED:
        text = f"no program listens on port {packet.destination_port}"
        return Step(THERE, place, "refused", text, _text(packet))
    answer = last.back[0]
    text = f"the answer left by {answer.frame.interface}, and did not come back to its source"
    return Step(BACK, place, "lost", text, _text(answer.packet), facts={"after": True})
