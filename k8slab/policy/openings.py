"""Who could come, or be reached, beyond what exists now.

A rule that admits ``role: monitor`` admits pods that nobody has made yet. To know what, pods
are imagined: one for each peer that any rule describes (with just the labels that its
selectors ask for), one without labels in each namespace, and one in a namespace of no
label. The engine answers for them as for all others, so that denials of other tiers count.
What a pod without any label may do already is not told again for the more special ones.

Selectors of Calico's that are more than conditions joined by and are not imagined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from k8slab.objects.selectors import Requirement, Selector
from k8slab.policy.calico_peers import Entity
from k8slab.policy.expressions import And, Constant
from k8slab.policy.flow import Party
from k8slab.policy.index import bits_of, numbers_of
from k8slab.policy.inventory import NAMESPACE_NAME
from k8slab.policy.model import EGRESS, INGRESS, Pod, PodPeer
from k8slab.policy.ports import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from k8slab.policy.estate import Estate
    from k8slab.policy.listing import Group

ANY = "any pod of any namespace"
NOWHERE = "a-namespace-without-labels"


@dataclass(frozen=True, slots=True)
class Opening:
    """What pods of a description may do with a group: `ingress` is into it, `egress` out of it."""

    group: Group
    direction: str
    who: str
    ports: PortSet

    def __str__(self) -> str:
        if self.direction == INGRESS:
            return f"{self.who} -> {self.group}: {self.ports}"
        return f"{self.group} -> {self.who}: {self.ports}"


def openings(estate: Estate) -> tuple[Opening, ...]:
    """Return who else could connect, for every group and direction; sorted by group."""
    imagined = {pod.key: pod for pod in _imagine(estate)}
    together = replace(
        estate,
        pods={**estate.pods, **imagined},
        workloads={**estate.workloads, **{_workload(p): (p.key,) for p in imagined.values()}},
        _base=None,
        _reach=None,
    )
    finder = _Finder(together, tuple(imagined.values()))
    found: list[Opening] = []
    for group in estate.connections().groups:
        for direction in (INGRESS, EGRESS):
            seen: dict[str, PortSet] = {}
            for pod, ports in finder.who(group.pods[0], direction):  # the general ones first
                known = [seen.get(ANY), seen.get(_anyone(pod.namespace))]
                fresh = ports - PortSet.union(each for each in known if each is not None)
                who = _workload(pod).name
                if fresh:
                    seen[who] = seen.get(who, PortSet()) | fresh
            found += (Opening(group, direction, who, ports) for who, ports in seen.items())
    return tuple(sorted(found, key=str))


class _Finder:
    """Finds the imagined pods that a profile admits, without asking each of them."""

    def __init__(self, estate: Estate, imagined: tuple[Pod, ...]) -> None:
        self.reach, self.index = estate.reach, estate.profiler.index
        self.imagined = imagined
        self.of_class: dict[int, list[int]] = {}
        for number, pod in enumerate(imagined):
            self.of_class.setdefault(self.index.class_of[pod.key], []).append(number)
        self.mask = bits_of(self.of_class, self.index.full)

    def who(self, key: str, direction: str) -> Iterator[tuple[Pod, PortSet]]:
        """Yield imagined pods that may talk with a pod, and on which ports, in their order."""
        place = self.index.class_of[key]
        found: dict[int, PortSet] = {}
        for peers, _ in self.reach.sides[direction].of[place].parts:
            for bit in numbers_of(peers & self.mask):
                pair = (bit, place) if direction == INGRESS else (place, bit)
                if ports := self.reach.ports(*pair):
                    found.update(dict.fromkeys(self.of_class[bit], ports))
        for number in sorted(found):
            yield self.imagined[number], found[number]


def _workload(pod: Pod) -> Party:
    assert pod.workload is not None
    return pod.workload


def _anyone(namespace: str) -> str:
    return f"any pod of namespace {namespace}"


def _imagine(estate: Estate) -> Iterator[Pod]:
    yield _pod(ANY, NOWHERE, {}, {NAMESPACE_NAME: NOWHERE})
    for name, labels in estate.namespaces.items():
        yield _pod(_anyone(name), name, {}, labels)
    known = set()
    for policy in estate.policies:
        for rule in policy.every_rule():
            for peer in rule.peers or ():
                if peer not in known and (pod := _of_peer(peer, estate)):
                    known.add(peer)
                    yield pod


def _of_peer(peer: Any, estate: Estate) -> Pod | None:
    own: str
    namespaces: Any
    pods: Any
    if isinstance(peer, PodPeer):
        own, namespaces, pods = peer.own_namespace, peer.namespaces, peer.pods
    elif isinstance(peer, Entity) and peer.pods_only:
        own, namespaces, pods = peer.namespace, peer.spaces, peer.selector
    else:
        return None
    labels = _labels(pods)
    spaces = {NAMESPACE_NAME: own} if own and namespaces is None else _labels(namespaces)
    if labels is None or spaces is None:
        return None
    namespace = spaces.get(NAMESPACE_NAME, "")
    if namespace:
        return _pod(
            f"{peer}", namespace, labels, {**estate.namespaces.get(namespace, {}), **spaces}
        )
    namespace = f"imagined-{abs(hash(peer)):x}"
    return _pod(f"{peer}", namespace, labels, {NAMESPACE_NAME: namespace, **spaces})


def _pod(who: str, namespace: str, labels: dict[str, str], spaces: Mapping[str, str]) -> Pod:
    key = f"{namespace}/ imagined: {who}"
    return Pod(key, namespace, labels, spaces, workload=Party("pod", who), template=True)


def _labels(selector: Any) -> dict[str, str] | None:
    """Return the least labels that a selector chooses; ``None`` where that is not clear."""
    if selector is None or (isinstance(selector, Constant) and selector.value):
        return {}
    requirements = _requirements(selector)
    if requirements is None:
        return None
    found: dict[str, str] = {}
    for each in requirements:
        if each.operator == "In":
            found.setdefault(each.key, next(iter(each.values), ""))
        elif each.operator == "Exists":
            found.setdefault(each.key, "any")
    return found if all(each.matches(found) for each in requirements) else None


def _requirements(selector: Any) -> Iterable[Requirement] | None:
    if isinstance(selector, Selector):
        return selector.requirements
    if isinstance(selector, Requirement):
        return (selector,)
    if isinstance(selector, And):
        parts = [_requirements(part) for part in selector.parts]
        if all(part is not None for part in parts):
            return [each for part in parts for each in part or ()]
    return None
