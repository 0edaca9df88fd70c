"""Run all checks over an estate, or those that need one object only over files."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from k8slab.audit.catalogue import CHECKS
from k8slab.audit.finding import Finding, Severity
from k8slab.audit.rulefile import RuleFile, Suppression, sift
from k8slab.audit.source import POLICIES, Source
from k8slab.audit.traps import refused, traps

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from k8slab.audit.compliance import Entry
    from k8slab.audit.world import World
    from k8slab.objects.manifests import Manifest
    from k8slab.objects.meta import Object

NETWORK_POLICY = "NetworkPolicy"
KUBERNETES = "networking.k8s.io/v1"

UNREAD = ("refused", "not-understood")
"""Checks after which an object is not judged further."""

JUDGED = (*POLICIES, "Service", "Namespace")
"""Kinds that an audit checks against the API's rules; a lint checks all."""


@dataclass(frozen=True)
class Report:
    """What an audit found."""

    title: str
    findings: tuple[Finding, ...]
    """The worst first."""
    suppressed: tuple[tuple[Finding, Suppression], ...] = ()
    annotations: tuple[Entry, ...] = ()
    """What the rule file asked for, and what is written."""
    counted: tuple[tuple[str, int], ...] = ()
    """How much was looked at: pods, policies and so on."""

    def within(self, namespaces: Collection[str]) -> Report:
        """Return what was found in some namespaces; the whole estate was looked at."""
        findings = tuple(found for found in self.findings if found.namespace in namespaces)
        suppressed = tuple(pair for pair in self.suppressed if pair[0].namespace in namespaces)
        written = tuple(
            entry
            for entry in self.annotations
            if entry.subject.partition(" ")[2].partition("/")[0] in namespaces
        )
        return replace(self, findings=findings, suppressed=suppressed, annotations=written)

    def count(self, severity: Severity) -> int:
        """Return how many findings have this severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def summary(self) -> str:
        """Return the counts as one sentence."""
        counts = [
            f"{number} {severity.value}{'s' * (number != 1)}"
            for severity in Severity
            if (number := self.count(severity))
        ]
        hidden = f", {len(self.suppressed)} suppressed" if self.suppressed else ""
        looked = ", ".join(f"{number} {what}" for what, number in self.counted)
        return f"{', '.join(counts) or 'no findings'}{hidden} ({looked})"


def lint(given: Iterable[Manifest | Object]) -> list[Finding]:
    """Check each object alone: what the API refuses, and traps in NetworkPolicies."""
    sources = [Source.of(item) for item in given]
    found = list(_twice(sources))
    for source in sources:
        found += alone(source)
    return sorted(found, key=_where)


def _where(finding: Finding) -> tuple[str, int, str]:
    file, _, line = finding.place.rpartition(":")
    return (file, int(line or 0), finding.check.name)


def alone(source: Source) -> list[Finding]:
    """Check one object; traps are looked for only where the API would take it."""
    if source.of_calico:
        from k8slab.audit import dialects  # noqa: PLC0415  which few have

        return dialects.not_understood(source)
    found = refused(source)
    if not found and source.kind == NETWORK_POLICY and source.object["apiVersion"] == KUBERNETES:
        found = list(traps(source))
    return found


def _twice(sources: Iterable[Source]) -> Iterator[Finding]:
    seen: dict[tuple[str, str], Source] = {}
    for source in sources:
        if not source.named:
            continue
        first = seen.setdefault((source.object["apiVersion"], source.subject), source)
        if first is not source:
            place = first.manifest.place if first.manifest else "before"
            yield source.finding(CHECKS["defined-twice"], f"it stands at {place} too")


def audit(
    given: Iterable[Manifest | Object],
    rules: RuleFile | None = None,
    *,
    today: dt.date | None = None,
) -> Report:
    """Look for everything in the catalogue; `given` are all objects of an estate.

    `today` is the date by which suppressions and reviews are judged.
    """
    from k8slab.audit.world import World  # noqa: PLC0415  a lint needs no policy engine

    rules, today = rules or RuleFile(), today or dt.date.today()  # noqa: DTZ011  a civil date
    sources = [Source.of(item) for item in given]
    found: list[Finding] = []
    bad: set[int] = set()
    for source in sources:
        if source.kind in JUDGED:
            struck = alone(source)
            found += struck
            if any(finding.check.name in UNREAD for finding in struck):
                bad.add(id(source))
    found += _twice([source for source in sources if source.kind in JUDGED])
    world = World([source for source in sources if id(source) not in bad])
    found += world.faults
    found += _together(world)
    listed: list[Entry] = []
    if rules.annotations:
        from k8slab.audit import compliance  # noqa: PLC0415

        found += compliance.findings(world, rules, today)
        listed = compliance.entries(world, rules)
    shown, hidden = sift(found, rules, today)
    return Report(
        rules.title or "Network policy audit",
        tuple(sorted(shown, key=lambda finding: finding.order)),
        tuple(hidden),
        tuple(listed),
        (
            ("pods", len(world.estate.pods)),
            ("policies", len(world.estate.policies)),
            ("namespaces", len(world.spaces)),
            ("Services", len(world.estate.services)),
        ),
    )


def _together(world: World) -> Iterator[Finding]:
    from k8slab.audit import coverage, dns, rules, width  # noqa: PLC0415
    from k8slab.audit.backends import Backends, drift  # noqa: PLC0415

    yield from rules.duplicates(world)
    yield from rules.shadowed(world)
    if not world.estate.pods:
        return  # policies alone: whom they would select nobody knows
    backends = Backends(world)
    yield from coverage.selects_nothing(world)
    yield from coverage.no_policy(world)
    yield from coverage.no_default_deny(world)
    yield from rules.never_matches(world)
    yield from width.unused_ports(world, backends)
    yield from dns.dns_denied(world)
    yield from drift(world, backends)
