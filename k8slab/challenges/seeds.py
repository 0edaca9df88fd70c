"""Which challenge: its seed, and from the seed the fault.

Without a seed the learner gets the next one of an own sequence, which the journal's seed begins.
With ``course`` and ``learner`` (any two texts) the sequence is that of these two: everybody in a
class gets another challenge, and an instructor who knows both gets the same one again.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.challenges import catalogue
from k8slab.challenges.recipe import level_and_needs
from k8slab.errors import UsageError
from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k8slab.challenges.catalogue import Entry
    from k8slab.objects.meta import Object

LEVELS = (1, 2, 3)
RANGE = 1_000_000
"""Seeds that are drawn have at most six digits: people read them to each other."""

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
        if self.minutes < 0:
            raise UsageError("a time limit is a number of minutes above 0")
        if self.seed is not None and self.seed < 0:
            raise UsageError("a seed is a number from 0 on")

    @property
    def sequence(self) -> str:
        """Return the name of the sequence that seeds come from."""
        return f"{self.course}/{self.learner}" if self.course or self.learner else ""


def seed_of(choice: Choice, own: Callable[[], int], number: int) -> int:
    """Return the seed: the given one, else the `number`-th (from 0) of the sequence.

    `own` gives the learner's own seed, from which the sequence without a name begins.
    """
    if choice.seed is not None:
        return choice.seed
    name = choice.sequence or str(own())
    digest = hashlib.sha256(f"{name}/{number}".encode()).digest()
    return int.from_bytes(digest[:6], "big") % RANGE


def worker_names(cluster: Any) -> list[str]:
    """Return the nodes that take pods of their own accord, or all where none does."""
    nodes: list[Object] = cluster.list("nodes")
    free = [n for n in nodes if not (n.get("spec") or {}).get("taints")]
    return sorted(meta.name_of(node) for node in free or nodes)


def possible(cluster: Any) -> frozenset[str]:
    """Return what recipes may need of a cluster and have: its capabilities, and its shape.

    ``two-workers``: two nodes take pods. ``ipv4``: IPv4 is its family, or the first of its two:
    nodes' and pods' first addresses are of the cluster's first family (KEP-563).
    """
    found = {*cluster.capabilities}
    if len(worker_names(cluster)) > 1:
        found.add("two-workers")
    addresses = (node["status"]["addresses"] for node in cluster.list("nodes"))
    first = (next((a for a in one if a["type"] == "InternalIP"), None) for one in addresses)
    if all(one is None or ":" not in one["address"] for one in first):
        found.add("ipv4")
    return frozenset(found)


def pick(choice: Choice, seed: int, possible: Iterable[str]) -> Entry:
    """Return the fault that a seed means on a cluster; `UsageError` when it can have none."""
    has = frozenset(possible)
    if choice.fault:
        found = catalogue.entry(choice.fault)
        if lacks := sorted(level_and_needs(found)[1] - has):
            raise UsageError(
                f"{found.id} ({found.fault}) needs what this cluster has not: {', '.join(lacks)}",
                hint=_WHY_NOT.get(lacks[0], "an embedded cluster has it: k8slab up"),
            )
        return found
    known = [(one, *level_and_needs(one)) for one in catalogue.injectable()]
    fitting = [one for one, level, needs in known if needs <= has and choice.level in (0, level)]
    if not fitting:
        raise UsageError(f"no fault of level {choice.level} can be injected into this cluster")
    return random.Random(f"fault/{seed}").choice(fitting)
