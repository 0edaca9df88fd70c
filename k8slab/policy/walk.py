"""Decide one pair of sides by reading the rules one after the other, as a person would.

This is the meaning of policies written down, and the source of a verdict's reasons. It is
not made for many questions: `connections` answers all of them at once, and a test says that
both agree.

For each direction the tiers are asked in their order. In a tier the policies that select
the subject are asked in theirs, and the first rule that matches decides: accept and deny
are final, pass leaves the tier. In the tier of NetworkPolicies, subjects that any policy
selects and no rule admits are denied (that is what isolation means); the other tiers leave
what they do not match to the next one, and what nobody decided is allowed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from k8slab.policy.model import ACCEPT, DENY, INGRESS, LOG, NETWORK, PASS, TIERS
from k8slab.policy.verdict import Action, Miss, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.policy.model import Policy, Rule, Side


class Question(NamedTuple):
    """One direction of a flow: may `subject` receive from, or send to, `peer`."""

    direction: str
    subject: Side
    peer: Side
    port: int
    protocol: str


def decide(question: Question, policies: Iterable[Policy]) -> Reason:
    """Ask the policies, given in the order of all; return what was decided and why."""
    subject = question.subject
    if subject.pod is None:
        text = "no policy can select it (it is not in a pod network)"
        return Reason(question.direction, subject.name, Action.ALLOW, text)
    asked = [p for p in policies if question.direction in p.rules and p.selects(subject)]
    for tier in TIERS:
        if reason := _ask_tier(question, tier, [p for p in asked if p.tier == tier]):
            return reason
    isolating = any(policy.tier == NETWORK for policy in asked)
    text = "what selects it passes this flow on, and nobody denies it"
    if not isolating:
        text = f"no policy selects it for {question.direction}"
    names = tuple(policy.label for policy in asked)
    return Reason(question.direction, subject.name, Action.ALLOW, text, names)


def _ask_tier(question: Question, tier: str, policies: list[Policy]) -> Reason | None:
    names = tuple(policy.label for policy in policies)
    misses: list[Miss] = []
    for policy in policies:
        rules = policy.rules[question.direction]
        if not rules and tier == NETWORK:
            why = f"has no {question.direction} rule, so it admits nobody"
            misses.append(Miss(policy.label, question.direction, None, why))
        for rule in rules:
            sides = (question.subject, question.peer)
            if why := rule.mismatch(sides, question.port, question.protocol):
                misses.append(Miss(policy.label, question.direction, rule.index, why))
            elif rule.action == PASS:
                return None
            elif rule.action != LOG:
                return replace(_decided(question, policy, rule, names), misses=tuple(misses))
    if tier != NETWORK or not policies:
        return None
    text = f"isolated by {', '.join(names)}, and no rule admits it"
    subject = question.subject.name
    return Reason(question.direction, subject, Action.DENY, text, names, "", tuple(misses))


def _decided(question: Question, policy: Policy, rule: Rule, names: tuple[str, ...]) -> Reason:
    action = Action.DENY if rule.action == DENY else Action.ALLOW
    place = f"{rule.path} of"
    if policy.tier != NETWORK:
        word = "denies" if rule.action == DENY else "accepts"
        text = f"{place} {policy.tier} policy {policy.label} {word} it"
    elif rule.action == ACCEPT:
        text = f"a rule of {policy.label} admits it"
    else:
        text = f"{place} {policy.label} denies it"
    peer = rule.peer_of(question.peer)
    return Reason(
        question.direction,
        question.subject.name,
        action,
        text,
        names,
        policy.label if action is Action.ALLOW else "",
        rule=rule.index,
        peer=peer,
        decided_by=policy.key,
        matched=_told(rule, peer),
    )


def _told(rule: Rule, peer: int | None) -> str:
    """Return what a rule says, of its peers the one that matched."""
    way = "from" if rule.direction == INGRESS else "to"
    who = "everyone" if rule.peers is None or peer is None else str(rule.peers[peer])
    ports = "all ports" if rule.ports is None else ", ".join(map(str, rule.ports))
    return f"{way} {who}, {ports}"
