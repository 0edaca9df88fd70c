"""Which challenge: its seed, and from the seed the fault.

Without a seed the learner gets the next one of an own sequence, which the journal's seed begins.
With ``course`` and ``learner`` (any two texts) these two are the seed: everybody in a class gets
another challenge, and whoever knows both gets the same one, however often it is begun.

A seed puts all faults in an order of its own, and the first that the cluster can have is meant. So
two clusters of different shapes get the same fault wherever both can have it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.challenges import catalogue
from k8slab.challenges.recipe import level_and_needs
from k8slab.clusters import shape
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k8slab.challenges.catalogue import Entry

LEVELS = (1, 2, 3)
RANGE = 1_000_000
"""Seeds that are drawn have at most six digits: people read them to each other."""

SHAPE = frozenset({"two-workers", "ipv4"})
"""What a recipe may need besides capabilities: see `possible`."""

_WHY_NOT = {
    "small-conntrack": "the limit of this machine, net.netfilter.nf_conntrack_max, is above 262144:"
    " so many connections would take too much of the kernel's memory",
    "two-workers": "the fault lies between two nodes that take pods: k8slab reset --nodes 3",
    "ipv4": "the fault is made of IPv4 addresses: k8slab reset --ip-family dual",
}
"""What an embedded cluster may lack, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What somebody asks for; everything may be left out."""

    fault: str = ""
    seed: int | None = None
    level: int = 0
    course: str = ""
    learner: str = ""
    minutes: float = 0
    """After so many minutes nothing counts any more; 0: no limit."""

    def __post_init__(self) -> None:
        if self.level and self.level not in LEVELS:
            raise UsageError(f"there is no level {self.level}", hint="levels are 1, 2 and 3")
        if not 0 <= self.minutes < math.inf:  # which not a number is not, either
            raise UsageError("a time limit is a number of minutes above 0")
        if self.seed is not None and self.seed < 0:
            raise UsageError("a seed is a number from 0 on")

    @property
    def names(self) -> str:
        """Return class and learner as the name that the seed is drawn from; empty without both."""
        return f"{self.course}/{self.learner}" if self.course or self.learner else ""

    @property
    def asked(self) -> dict[str, str]:
        """Return what was asked for that changes which challenge it is, by its word."""
        level = str(self.level) if self.level else ""
        found = {"class": self.course, "fault": self.fault.upper()}
        found |= {"learner": self.learner, "level": level}
        return {word: value for word, value in found.items() if value}


def seed_of(choice: Choice, own: Callable[[], int], number: int) -> int:
    """Return the seed: the given one, that of class and learner, or the learner's own.

    `own` gives the seed with which the learner's own sequence begins, `number` (from 0) is the
    place in it.
    """
    if choice.seed is not None:
        return choice.seed
    name = f"{choice.names}/0" if choice.names else f"{own()}/{number}"
    return int.from_bytes(_digest(name)[:6], "big") % RANGE


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def possible(cluster: Any) -> frozenset[str]:
    """Return what recipes may need of a cluster and have: its capabilities, and its shape.

    ``two-workers``: two nodes take pods. ``ipv4``: IPv4 is its family, or the first of its two.
    """
    found = {*cluster.capabilities}
    nodes = cluster.list("nodes")
    if len(shape.workers(nodes)) > 1:
        found.add("two-workers")
    if shape.ipv4_first(nodes):
        found.add("ipv4")
    return frozenset(found)


def pick(choice: Choice, seed: int, possible: Iterable[str]) -> Entry:
    """Return the fault that a seed means on a cluster; `UsageError` when it can have none."""
    has = frozenset(possible)
    if choice.fault:
        found = catalogue.entry(choice.fault)
        level, needs = level_and_needs(found)
        if choice.level not in (0, level):
            raise UsageError(
                f"{found.id} is of level {level}, not {choice.level}",
                hint="ask for the fault, or for a level",
            )
        if lacks := sorted(needs - has):
            raise UsageError(
                f"{found.id} ({found.fault}) needs what this cluster has not: {', '.join(lacks)}",
                hint=_WHY_NOT.get(lacks[0], "an embedded cluster has it: k8slab up"),
            )
        return found
    known = [(one, *level_and_needs(one)) for one in catalogue.injectable()]
    fitting = [one for one, level, needs in known if needs <= has and choice.level in (0, level)]
    if not fitting:
        raise UsageError(f"no fault of level {choice.level} can be injected into this cluster")
    return min(fitting, key=lambda one: _digest(f"fault/{seed}/{one.id}"))
