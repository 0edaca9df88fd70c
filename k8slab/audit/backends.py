"""Services and the pods behind them, as classes; and where policies and Services have drifted."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from k8slab.audit.catalogue import CHECKS
from k8slab.policy.index import bits_of, numbers_of
from k8slab.policy.model import ACCEPT, INGRESS, NETWORK
from k8slab.policy.ports import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k8slab.audit.finding import Finding
    from k8slab.audit.world import World
    from k8slab.policy.model import Policy, PortMatch
    from k8slab.policy.services import Service, ServicePort


class Backends:
    """Which classes of pods are behind each Service, and by which ports."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.selecting = [s for s in world.estate.services.values() if s.selector is not None]
        self._isolating: dict[str, list[tuple[Policy, int]]] = {}
        self.classes: dict[str, int] = {}
        for service in self.selecting:
            self.classes[service.key] = self._behind(service)

    @cached_property
    def _labelled(self) -> Mapping[tuple[str, str, str], set[str]]:
        """Keys of the pods by namespace and each of their labels."""
        found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for key, pod in self.world.estate.pods.items():
            for label, value in pod.labels.items():
                found[pod.namespace, label, value].add(key)
        return found

    def _behind(self, service: Service) -> int:
        """Return the classes with pods that the Service selects, ready or not."""
        assert service.selector is not None
        sets = [
            self._labelled.get((service.namespace, each.key, each.values[0]), set())
            for each in service.selector.requirements
        ]
        class_of = self.world.index.class_of
        keys = set.intersection(*sorted(sets, key=len)) if sets else set()
        return bits_of((class_of[key] for key in keys), self.world.index.width)

    @cached_property
    def _by_port(self) -> Mapping[tuple[str, int], list[tuple[Service, ServicePort]]]:
        found: dict[tuple[str, int], list[tuple[Service, ServicePort]]] = defaultdict(list)
        for service in self.selecting:
            for port in service.ports:
                found[port.protocol, port.port].append((service, port))
        return found

    def isolating(self, space: str) -> list[tuple[Policy, int]]:
        """Return the policies that isolate pods of a namespace for ingress, with their classes."""
        if space not in self._isolating:
            world = self.world
            self._isolating[space] = [
                (policy, world.subject(policy))
                for name in dict.fromkeys((space, ""))
                for policy in world.by_namespace.get(name, ())
                if policy.tier == NETWORK and INGRESS in policy.rules
            ]
        return self._isolating[space]

    def translated(self, match: PortMatch, destination: int) -> tuple[str, int | str] | None:
        """Return the Service (and its target port) whose own port a rule names by mistake."""
        if not isinstance(match.port, int) or match.end:
            return None
        for service, port in self._by_port.get((match.protocol, match.port), ()):
            if self.classes[service.key] & destination and port.target != match.port:
                return f"Service {service.key}", port.target
        return None


def drift(world: World, backends: Backends) -> Iterator[Finding]:
    """Find Services without pods, to undeclared ports, and those that policies close to all."""
    for service in backends.selecting:
        behind = backends.classes[service.key]
        source = world.about(f"Service {service.key}")
        if not behind:
            told = f"no pod of {service.namespace} is labelled {service.selector}"
            yield source.finding(CHECKS["service-selects-nothing"], told, "spec.selector")
            continue
        for number, port in enumerate(service.ports):
            path = f"spec.ports[{number}]"
            if told := _undeclared(world, port, behind):
                yield source.finding(CHECKS["service-port-nowhere"], told, path)
            elif told := _closed(backends, service, port, behind & world.pods):
                yield source.finding(CHECKS["service-unreachable"], told, path)


def _undeclared(world: World, port: ServicePort, behind: int) -> str:
    if isinstance(port.target, str):
        if not world.named(port.protocol, port.target) & behind and not _has_name(
            world, port, behind
        ):
            return f"no pod behind it has a port named {port.target}"
        return ""
    there = world.listening.get((port.protocol, port.target), 0) & behind
    if there or behind & ~world.declaring:
        return ""
    return f"no pod behind it declares port {port.target}/{port.protocol}"


def _has_name(world: World, port: ServicePort, behind: int) -> bool:
    """Look at the pods themselves: classes know only the names that policies use."""
    return any(
        (port.protocol, port.target) in world.estate.pods[key].ports
        for number in numbers_of(behind)
        for key in world.index.classes[number].keys
    )


def _closed(backends: Backends, service: Service, port: ServicePort, behind: int) -> str:
    """Say that every pod behind the port is isolated and no rule admits anybody there."""
    isolating = [
        (policy, bits) for policy, bits in backends.isolating(service.namespace) if bits & behind
    ]
    isolated = 0
    for _, bits in isolating:
        isolated |= bits
    if not behind or behind & ~isolated:
        return ""
    policies = [policy for policy, _ in isolating]
    if any(_admits_somebody(backends.world, policy, port, behind) for policy in policies):
        return ""
    names = ", ".join(policy.label for policy in policies[:3])
    return f"its pods are isolated by {names}, and no rule admits anybody on port {port.target}"


def _admits_somebody(world: World, policy: Policy, port: ServicePort, behind: int) -> bool:
    for rule in policy.rules[INGRESS]:
        if rule.action != ACCEPT:
            continue
        if rule.peers is not None and not any(world.members(p, INGRESS) for p in rule.peers):
            continue
        if rule.names or isinstance(port.target, str):
            if _admits_by_name(world, policy, port, behind):
                return True
        elif rule.traffic(None) & PortSet.of(port.protocol, port.target):
            return True
    return False


def _admits_by_name(world: World, policy: Policy, port: ServicePort, behind: int) -> bool:
    """Ask pod by pod, where a port has a name."""
    pods = world.estate.pods
    for number in numbers_of(world.subject(policy) & behind):
        for key in world.index.classes[number].keys:
            pod = pods[key]
            target = port.target
            if isinstance(target, str):
                target = pod.ports.get((port.protocol, target), 0)
            if target and any(
                rule.traffic(pod).has(port.protocol, target) for rule in policy.rules[INGRESS]
            ):
                return True
    return False
