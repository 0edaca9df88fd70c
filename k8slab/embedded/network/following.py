"""Send one real packet and watch it: every interface that it passes, every rule that it meets.

The source sends it (`sending`). Meanwhile each place, that is each network namespace which may be
on the way, is listened to (`capture`), and on nodes the kernel tells of the rules (`tracing`). It
ends with the answer, or when the packet has not moved for a while, or at the deadline.

Everything here blocks and is for a thread of its own.
"""

from __future__ import annotations

import os
import select
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from k8slab.embedded.network.capture import Capture, parse, wait_for_clock
from k8slab.embedded.network.sending import TOKEN, Sender, refusal
from k8slab.embedded.network.tracing import TABLE, Mark, Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from k8slab.embedded.network.capture import Packet, Seen
    from k8slab.embedded.network.sending import Place, Question
    from k8slab.embedded.network.tracing import Met

STILL = 0.15
"""Seconds after which a packet that has not arrived anywhere is lost: the way takes some 0.1 ms."""
STILL_DROPPED = 0.02
"""The same after a rule dropped it: a refusal is sent by the same rule."""
_QUIET_MILLISECONDS = 2
_MOST_CROWDED = 4.0
_CLOSERS = 16


class Sight(NamedTuple):
    """A packet at an interface of a place."""

    place: Place
    seen: Seen


class Pass(NamedTuple):
    """One packet's way through the rules of one node."""

    place: Place
    met: list[Met]

    @property
    def packet(self) -> Packet | None:
        """Return the packet as it was when it came."""
        headers = self.met[0].headers
        return parse(b"".join(headers)) if headers else None


@dataclass(frozen=True, slots=True)
class Record:
    """What was seen, unsorted by meaning; `journey` reads it."""

    question: Question
    outcome: str
    """``open``, ``refused``, ``silent``, ``failed``."""
    detail: str
    seconds: float
    sights: tuple[Sight, ...]
    """In the order of the kernel's clock."""
    passes: tuple[Pass, ...]
    """Of one place in the order in which they happened."""
    port: int = 0
    """From which it was sent."""
    sent: bytes = b""
    """The first bytes of the datagram; empty for TCP."""
    lost: int = 0
    """Messages and packets for which there was no room."""


def follow(
    question: Question,
    places: Sequence[Place],
    next_port: Callable[[], int],
    *,
    deadline: float = 1.0,
) -> Record:
    """Send one packet and return what became of it; nothing is left behind.

    `next_port` gives source ports that were not used lately. Raises `KernelError` or `OSError`
    where the kernel does not let us watch.
    """
    with ExitStack() as held:
        sender = held.enter_context(closing(Sender(question, next_port)))
        watch = held.enter_context(_watching(question, places, sender.port))
        began = time.monotonic()
        outcome, detail = _send(sender, watch, began + deadline)
        seconds = time.monotonic() - began
        watch.until_quiet()
        watch.lost += sum(capture.lost() for capture in watch.captures.values())
    return Record(
        question,
        outcome,
        detail,
        seconds,
        tuple(sorted(watch.sights, key=lambda sight: sight.seen.time)),
        tuple(Pass(place, met) for place, met in watch.passes),
        sender.port,
        sender.payload[:TOKEN],
        watch.lost,
    )


class _Watch:
    """All that is listened to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.dropped = False
        """Whether a rule dropped the packet; its refusal, if any, is on its way then."""
        # On a crowded machine the kernel's own threads wait for a processor too.
        self._crowd = min(_MOST_CROWDED, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))
        self.captures: dict[Place, Capture] = {}
        self.tracers: dict[Place, Tracer] = {}
        self.sights: list[Sight] = []
        self.passes: list[tuple[Place, list[Met]]] = []
        self.lost = 0
        self.moved = time.monotonic()
        self._under_way: dict[tuple[Place, int], list[Met]] = {}
        self.poll = select.poll()

    @property
    def patience(self) -> float:
        """Return how long a packet may stay where it is before it is taken to be lost."""
        return self._crowd * (STILL_DROPPED if self.dropped else STILL)

    def listen(self) -> None:
        for capture in self.captures.values():
            self.poll.register(capture.fileno(), select.POLLIN)
        for tracer in self.tracers.values():
            self.poll.register(tracer.fileno(), select.POLLIN)

    def read(self) -> None:
        for place, capture in self.captures.items():
            for seen in capture.read():
                self.sights.append(Sight(place, seen))
                self.moved = time.monotonic()
        for place, tracer in self.tracers.items():
            for met in tracer.read():
                self._note(place, met)
            self.lost += tracer.lost
            tracer.lost = 0

    def until_quiet(self) -> None:
        """Read until nothing more comes for a moment: the last steps are on their way."""
        ends = time.monotonic() + STILL
        while self.poll.poll(_QUIET_MILLISECONDS) and time.monotonic() < ends:
            self.read()

    def _note(self, place: Place, met: Met) -> None:
        """Sort a message to its packet: each begins with our own table, which has the headers."""
        key = (place, met.packet)
        if met.table == TABLE:
            if met.headers:
                self._under_way[key] = [met]
                self.passes.append((place, self._under_way[key]))
        elif key in self._under_way:
            own = self._under_way[key]
            own.append(met)
            if met.verdict == "drop":
                packet = Pass(place, own).packet
                self.dropped |= packet is not None and packet.source_port == self.port


@contextmanager
def _watching(question: Question, places: Sequence[Place], port: int) -> Iterator[_Watch]:
    watch = _Watch(port)
    nodes = [place for place in places if place.kind == "node"]
    everyone = tuple(address for node in nodes for address in node.addresses)
    try:
        for place in places:
            mark = Mark(question.protocol, port, everyone)
            watch.captures[place] = Capture(place.netns, mark)
        for node in nodes:
            others = tuple(a for a in everyone if a not in node.addresses)
            mark = Mark(question.protocol, port, others, 6 if ":" in question.address else 4)
            watch.tracers[node] = Tracer(node.netns, mark)
        wait_for_clock()
        watch.listen()
        yield watch
    finally:
        _close_all([*watch.captures.values(), *watch.tracers.values()])


def _close_all(opened: Sequence[Capture | Tracer]) -> None:
    """Close them side by side: for each the kernel waits until no processor looks at it."""
    with ThreadPoolExecutor(_CLOSERS, thread_name_prefix="journey") as pool:
        for done in [pool.submit(each.close) for each in opened]:
            done.result()


def _send(sender: Sender, watch: _Watch, ends: float) -> tuple[str, str]:
    """Send, wait for the answer, and return outcome and detail."""
    try:
        sender.send()
        watch.poll.register(
            sender, select.POLLIN if sender.answered_when_readable else select.POLLOUT
        )
        watch.moved = time.monotonic()
        while (now := time.monotonic()) < ends:
            arrived = _arrived(watch, sender.question)
            last = ends if arrived else min(ends, watch.moved + watch.patience)
            if now >= last:
                break
            ready = watch.poll.poll(max(1, int(1000 * (last - now))))
            watch.read()
            if sender.fileno() in [number for number, _event in ready] and (
                said := sender.answer()
            ):
                return said
    except OSError as error:
        return refusal(error)
    finally:
        with suppress(KeyError):
            watch.poll.unregister(sender)
    return "silent", "no answer"


def _arrived(watch: _Watch, question: Question) -> bool:
    """Say whether something has come to a place that is no step on the way.

    A switch that has not learned yet where an address is gives a frame to everybody: who only
    heard it so will not answer.
    """
    return any(
        sight.place.kind in ("pod", "world")
        and sight.place != question.source
        and not sight.seen.leaving
        and not sight.seen.for_others
        for sight in watch.sights
    )
