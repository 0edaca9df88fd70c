"""What is audited: an estate, the classes of its pods as bits, and where each object stands.

Checks think in classes and not in pods: the engine's index has one bit for each class of pods
that no policy can tell apart, so "whom does this policy select" is one integer, and "who of
them listens on 8080" one `and`. The cost of an audit grows with policies and classes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from k8slab import policy as engine
from k8slab.audit.catalogue import CHECKS
from k8slab.audit.source import POLICIES, Source
from k8slab.errors import ManifestError
from k8slab.policy.index import bits_of, numbers_of
from k8slab.policy.model import EGRESS, INGRESS, NETWORK, Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k8slab.audit.finding import Finding
    from k8slab.policy import Estate
    from k8slab.policy.model import Matcher, Policy

TOLD = (*POLICIES, "Service", "Namespace")
"""Kinds of which findings tell; pods are told of by their namespace."""

ANY_ADDRESS = {direction: Mode(direction, ()) for direction in (INGRESS, EGRESS)}
"""A peer counts when any of its addresses does."""


class World:
    """The compiled estate beside its sources; `faults` are the policies that were left out."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.faults: list[Finding] = []
        self.estate: Estate = self._compile(sources)
        self.index = self.estate.profiler.index
        self.by_subject = {s.subject: s for s in sources if s.kind in TOLD}
        self._subjects: dict[Policy, int] = {}
        self._members: dict[tuple[Any, str], int] = {}

    def _compile(self, sources: Sequence[Source]) -> Estate:
        given = [source.manifest or source.object for source in sources]
        try:
            return engine.compile(given)
        except ManifestError:
            kept = [source for source in sources if self._understood(source)]
        return engine.compile([source.manifest or source.object for source in kept])

    def _understood(self, source: Source) -> bool:
        """Compile one object alone, to find out which of them cannot be."""
        try:
            engine.compile([source.manifest or source.object])
        except ManifestError as error:
            said = error.message.removeprefix(f"{error.place}: ")
            path, colon, why = said.partition(": ")
            if not colon or not path.startswith(("spec", "metadata", "status")):
                path, why = "", said
            self.faults.append(source.finding(CHECKS["not-understood"], why, path))
            return False
        return True

    def source(self, policy: Policy) -> Source:
        """Return the object behind a policy."""
        return self.by_subject[policy.key]

    def about(self, subject: str) -> Source:
        """Return the object of this kind and name, or a nameless one where it is not among them."""
        kind, _, label = subject.partition(" ")
        space, slash, name = label.rpartition("/")
        metadata = {"name": name, "namespace": space} if slash else {"name": name}
        return self.by_subject.get(subject) or Source({"kind": kind, "metadata": metadata}, None)

    def members(self, matcher: Matcher, direction: str) -> int:
        """Return the classes (and pieces of the outside) that a matcher means; remembered."""
        key = (matcher, direction)
        found = self._members.get(key)
        if found is None:
            found = self._members[key] = matcher.members(self.index, ANY_ADDRESS[direction])
        return found

    def subject(self, policy: Policy) -> int:
        """Return the classes of pods that a policy selects; remembered."""
        found = self._subjects.get(policy)
        if found is None:
            found = self._subjects[policy] = self.members(policy.subject, INGRESS) & self.pods
        return found

    @cached_property
    def pods(self) -> int:
        """All classes of pods that a policy can select."""
        return self.index.selectable

    @cached_property
    def isolating(self) -> tuple[Policy, ...]:
        """The policies that isolate what they select."""
        return tuple(policy for policy in self.estate.policies if policy.tier == NETWORK)

    @cached_property
    def by_namespace(self) -> Mapping[str, tuple[Policy, ...]]:
        """All policies by the namespace that they are in; cluster-wide ones by ""."""
        found: dict[str, list[Policy]] = defaultdict(list)
        for policy in self.estate.policies:
            found[policy.namespace].append(policy)
        return {name: tuple(policies) for name, policies in found.items()}

    @cached_property
    def first_saying(self) -> Mapping[Policy, Policy]:
        """Each policy's first one of the same kind, namespace and spec: mostly itself."""
        seen: dict[tuple[str, str, str], Policy] = {}
        encode = json.JSONEncoder(sort_keys=True).encode
        found = {}
        for policy in self.estate.policies:
            spec = encode(self.source(policy).object.get("spec"))
            found[policy] = seen.setdefault((policy.kind, policy.namespace, spec), policy)
        return found

    @cached_property
    def spaces(self) -> Mapping[str, int]:
        """The namespaces that have pods, and the classes of each."""
        names = sorted({each.sample.namespace for each in self.index.classes})
        found = {name: self.index.namespace(name) for name in names}
        return {name: bits for name, bits in found.items() if bits}

    @cached_property
    def space_labels(self) -> tuple[Mapping[str, str], ...]:
        """The labels of every namespace, also of those that only pods speak of."""
        implied = [each.sample.namespace_labels for each in self.index.classes]
        return (*self.estate.namespaces.values(), *implied)

    @cached_property
    def listening(self) -> Mapping[tuple[str, int], int]:
        """The classes that declare each port, by protocol and number."""
        found: dict[tuple[str, int], set[int]] = defaultdict(set)
        class_of = self.index.class_of
        for key, pod in self.estate.pods.items():
            for port in pod.listens:
                found[port].add(class_of[key])
        width = self.index.width
        return {port: bits_of(classes, width) for port, classes in sorted(found.items())}

    @cached_property
    def declaring(self) -> int:
        """The classes of which every pod declares some port."""
        class_of = self.index.class_of
        silent = {class_of[key] for key, pod in self.estate.pods.items() if not pod.listens}
        return self.pods & ~bits_of(silent, self.index.width)

    @cached_property
    def _names(self) -> Mapping[tuple[str, str], int]:
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, each in enumerate(self.index.classes):
            for port in each.sample.ports:
                found[port].append(number)
        return {port: bits_of(numbers, self.index.width) for port, numbers in found.items()}

    def named(self, protocol: str, name: str) -> int:
        """Return the classes that have a port of this name (of names that policies use)."""
        return self._names.get((protocol, name), 0)

    def workloads(self, bits: int) -> list[str]:
        """Return the names of the workloads in these classes, without their namespace."""
        found = set()
        for number in numbers_of(bits & self.pods):
            each = self.index.classes[number]
            for key in each.keys:
                party = self.estate.pods[key].workload
                assert party is not None
                found.add(party.name if party.kind == "pod" else f"{party.kind}/{party.name}")
        return sorted(found)


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return names as text; of very many the first few."""
    every = list(names)
    if len(every) <= most:
        return ", ".join(every)
    return f"{', '.join(every[:most])} and {len(every) - most} more"
