"""Whom policies protect: pods without any, namespaces without default deny, policies for nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.audit.catalogue import CHECKS
from k8slab.audit.world import listed
from k8slab.policy.model import ACCEPT, DENY, EGRESS, INGRESS, NETWORK, PodPeer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.audit.finding import Finding
    from k8slab.audit.world import World
    from k8slab.policy.model import Policy


def selects_nothing(world: World) -> Iterator[Finding]:
    """Find policies whose subject is empty."""
    for policy in world.isolating:
        if not world.subject(policy):
            why = f"no pod in this estate is selected by {policy.subject}"
            if policy.namespace and policy.namespace not in world.spaces:
                why = f"namespace {policy.namespace} has no pods"
            field = "spec.podSelector" if policy.kind == "NetworkPolicy" else "spec"
            yield world.source(policy).finding(CHECKS["selects-nothing"], why, field)


def no_policy(world: World) -> Iterator[Finding]:
    """Find pods that no policy selects in any direction, one finding a namespace."""
    covered = 0
    for policy in world.estate.policies:
        covered |= world.subject(policy)
    for space, bits in world.spaces.items():
        if open_ones := bits & ~covered:
            names = listed(world.workloads(open_ones))
            told = f"no policy selects {names}"
            yield world.about(f"Namespace {space}").finding(CHECKS["no-policy"], told)


def no_default_deny(world: World) -> Iterator[Finding]:
    """Find namespaces in which a new pod would not be isolated."""
    for space, bits in world.spaces.items():
        candidates = [*_of_namespace(world, space), *_of_namespace(world, "")]
        missing = [
            direction
            for direction in (INGRESS, EGRESS)
            if not any(
                _denies_by_default(policy, direction) and _covers(world, policy, space, bits)
                for policy in candidates
            )
        ]
        if missing:
            told = f"no policy isolates every pod for {' or '.join(missing)}"
            remedy = f"apply a policy with podSelector {{}} and policyTypes {_types(missing)}"
            source = world.about(f"Namespace {space}")
            yield source.finding(CHECKS["no-default-deny"], told, "", remedy)


def _of_namespace(world: World, space: str) -> tuple[Policy, ...]:
    return world.by_namespace.get(space, ())


def _types(directions: list[str]) -> str:
    return f"[{', '.join(word.capitalize() for word in directions)}] and no rules"


def _denies_by_default(policy: Policy, direction: str) -> bool:
    """Say whether what the policy selects is closed, apart from what rules name."""
    if direction not in policy.rules:
        return False
    rules = policy.rules[direction]
    if policy.tier == NETWORK:
        return not any(
            rule.action == ACCEPT and rule.peers is None and rule.ports is None for rule in rules
        )
    return any(rule.action == DENY and rule.ports is None for rule in rules)


def _covers(world: World, policy: Policy, space: str, bits: int) -> bool:
    """Say whether the policy selects all of a namespace, tomorrow's pods included."""
    subject = policy.subject
    if isinstance(subject, PodPeer):
        if subject.pods is not None and subject.pods.requirements:
            return False
        if subject.namespaces is None:
            return subject.own_namespace == space
        return subject.namespaces.matches(world.estate.namespaces.get(space, {}))
    return not bits & ~world.subject(policy)
