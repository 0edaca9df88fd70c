"""How many replicas each ReplicaSet of a Deployment should have next; pure.

A rolling update moves in steps between two limits: never more than replicas + maxSurge
pods, never fewer than replicas - maxUnavailable available ones. Source:
``pkg/controller/deployment`` (NewRSNewReplicas, reconcileOldReplicaSets,
cleanupUnhealthyReplicas, GetProportion).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A ReplicaSet as the rollout sees it; `replicas` is what its spec says."""

    name: str
    replicas: int
    available: int = 0
    pods: int = 0
    """Active pods that it has (``status.replicas``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the strategy allows, in pods."""

    replicas: int
    surge: int = 0
    unavailable: int = 0

    @property
    def most(self) -> int:
        """Return the largest number of pods."""
        return self.replicas + self.surge

    @property
    def fewest(self) -> int:
        """Return the smallest number of available pods."""
        return max(0, self.replicas - self.unavailable)


def limits(replicas: int, surge: int | str, unavailable: int | str) -> Limits:
    """Return the limits; a surge in percent is rounded up, maxUnavailable down.

    Both 0 would never move, so that one pod may then be unavailable (ResolveFenceposts).
    """
    most = amount(surge, replicas, up=True)
    fewest = amount(unavailable, replicas, up=False)
    if most == 0 and fewest == 0:
        fewest = 1
    return Limits(replicas=replicas, surge=most, unavailable=min(fewest, replicas))


def amount(value: int | str, whole: int, *, up: bool) -> int:
    """Return a number, or a percentage of `whole` rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * whole
        return -(-share // 100) if up else share // 100
    return int(value)


def rolling(new: Set, old: Sequence[Set], allowed: Limits) -> dict[str, int]:
    """Return the replicas that ReplicaSets should have now, for those that change.

    `old` is sorted by age, the oldest first.
    """
    changes: dict[str, int] = {}
    grown = _grow(new, old, allowed)
    if grown != new.replicas:
        changes[new.name] = grown
        # As upstream: up first; the old ones shrink when the new pods are seen.
        return changes
    return _shrink(new, old, allowed)


def _grow(new: Set, old: Sequence[Set], allowed: Limits) -> int:
    if new.replicas >= allowed.replicas:
        return allowed.replicas
    # A set that was told to shrink still has its pods until its own loop has run.
    total = new.replicas + sum(max(s.replicas, s.pods) for s in old)
    room = allowed.most - total
    if room <= 0:
        return new.replicas
    return new.replicas + min(room, allowed.replicas - new.replicas)


def _shrink(new: Set, old: Sequence[Set], allowed: Limits) -> dict[str, int]:
    total = new.replicas + sum(s.replicas for s in old)
    new_missing = max(0, new.replicas - new.available)
    budget = total - allowed.fewest - new_missing
    changes: dict[str, int] = {}
    left = {s.name: s.replicas for s in old}
    for one in old:  # pods that do not work go first: they serve nobody
        unhealthy = one.replicas - min(one.available, one.replicas)
        gone = min(budget, unhealthy)
        if gone > 0:
            left[one.name] -= gone
            budget -= gone
            changes[one.name] = left[one.name]
    available = new.available + sum(min(s.available, s.replicas) for s in old)
    spare = available - allowed.fewest
    for one in old:
        gone = min(spare, left[one.name])
        if gone > 0:
            left[one.name] -= gone
            spare -= gone
            changes[one.name] = left[one.name]
    return changes


def recreate(new: Set, old: Sequence[Set], replicas: int, *, old_pods: int) -> dict[str, int]:
    """Return the next step of ``Recreate``: all old pods go before the first new one comes."""
    changes = {s.name: 0 for s in old if s.replicas}
    if not changes and old_pods == 0 and new.replicas != replicas:
        changes[new.name] = replicas
    return changes


def proportional(sets: Sequence[Set], allowed: Limits) -> dict[str, int]:
    """Share a change of ``spec.replicas`` among the sets of a rollout that is under way.

    The largest sets take what rounding leaves, so that the sum is exact.
    """
    total = sum(s.replicas for s in sets)
    if not total:
        return {}
    target = allowed.most if allowed.replicas else 0
    difference = target - total
    if not difference:
        return {}
    order = sorted(sets, key=lambda s: (-s.replicas, s.name))
    result = {s.name: s.replicas * target // total for s in order}
    rest = target - sum(result.values())
    for one in order[:rest]:  # less than one for each set: the largest get it
        result[one.name] += 1
    return {s.name: result[s.name] for s in order if result[s.name] != s.replicas}
