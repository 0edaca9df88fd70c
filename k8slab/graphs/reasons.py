"""Why an edge of the policy graph is there, or is not: the engine's reasons in a learner's words.

A node may stand for many pods. They are alike to every policy, so one of them, the node's
`sample`, is asked about for all; only where a node stands for a whole namespace, for several, or
for all workloads, is it an example, and the text says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from k8slab.graphs.flowgraph import ALL_OF, ELSEWHERE, EVERYONE, OUTSIDE, WORKLOAD, brief
from k8slab.policy.flow import Flow
from k8slab.policy.ports import ALL, WITH_PORTS
from k8slab.policy.verdict import Action, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.graphs.flowgraph import Node
    from k8slab.policy.estate import Estate
    from k8slab.policy.ports import PortSet
    from k8slab.policy.verdict import Reason, Verdict

MOST_PORTS = 4
"""Ports of one pair that are explained; of more the text says how many there are."""

USUAL_PORT = ("TCP", 80)
"""What is asked about where nobody says on which port he listens."""


_MANY = (ALL_OF, EVERYONE, ELSEWHERE)
"""Nodes of whose pods some may be in or out for other reasons than others."""


@dataclass(frozen=True)
class Reasons:
    """Answers "why" about pairs of nodes, and about one node, of an estate."""

    estate: Estate

    def pair(self, source: Node, destination: Node) -> str:
        """Return why `source` may, or may not, reach `destination`, port by port."""
        start, end = _ends(source, destination)
        if not (start and end):
            return "This stands for many workloads: ask about two of them with less in the picture."
        if start == end:
            return "What a pod sends to itself no policy can stop."
        allowed = self.estate.connections().between(start, end)
        lines = [f"{brief(source)} to {brief(destination)}: {_ports_told(allowed)}"]
        if any(node.kind in _MANY and node.other for node in (source, destination)):
            lines.append(f"One example of many: {start} to {end}.")
        asked = list(self._ports(end, allowed))
        for protocol, port in asked[:MOST_PORTS]:
            lines += ["", *self._flow(Flow.of(start, end, port, protocol))]
        if len(asked) > MOST_PORTS:
            lines += ["", f"and {len(asked) - MOST_PORTS} ports more: k8slab policy explain"]
        return "\n".join(lines)

    def brief(self, source: Node, destination: Node) -> str:
        """Return why in one line, for the first port that matters."""
        start, end = _ends(source, destination)
        if not (start and end) or start == end:
            return ""
        allowed = self.estate.connections().between(start, end)
        protocol, port = next(self._ports(end, allowed))
        verdict = self.estate.decide(Flow.of(start, end, port, protocol))
        return "; ".join(f"{each.direction}: {each.because}" for each in _inside(verdict))

    def node(self, node: Node) -> str:
        """Return which policies select a node."""
        if node.kind == OUTSIDE:
            return f"{brief(node)}: no policy selects it."
        if not node.sample:
            return brief(node)
        selecting = [
            f"  {policy.key} ({' and '.join(policy.rules)})"
            for policy in self.estate.policies
            if node.sample in self.estate.selected(policy)
        ]
        name = brief(node) if node.kind == WORKLOAD else f"{brief(node)}, for example {node.sample}"
        return "\n".join([f"{name} is selected by:", *(selecting or ["  no policy"])])

    def _ports(self, end: str, allowed: PortSet) -> Iterator[tuple[str, int]]:
        """Yield the ports worth asking about: those listened on, then those allowed."""
        pod = self.estate.pods.get(end)
        listens = [one for one in (pod.listens if pod else ()) if one[0] in WITH_PORTS]
        yield from listens
        if allowed != ALL:
            ranges = (each for each in allowed.ranges() if each.protocol in WITH_PORTS)
            found = ((each.protocol, max(1, each.first)) for each in ranges)
            beyond = [one for one in found if one not in listens]
            yield from beyond
            listens += beyond
        if not listens:
            yield USUAL_PORT

    def _flow(self, flow: Flow) -> list[str]:
        verdict = self.estate.decide(flow)
        lines = [f"port {flow.port}/{flow.protocol}: {verdict.action.value}"]
        for reason in _inside(verdict):
            lines += [f"  {line}" for line in [*reason.lines(), *self._rule(reason)]]
        return lines

    def _rule(self, reason: Reason) -> list[str]:
        """Return who selected the subject, and the rule and peer that decided."""
        lines = []
        if reason.isolated_by and reason.action is Action.ALLOW:
            lines.append(f"  selected by {', '.join(reason.isolated_by)}")
        policy = next((p for p in self.estate.policies if p.key == reason.decided_by), None)
        if policy is None or reason.rule is None:
            return lines
        place = f" ({policy.place})" if policy.place else ""
        lines.append(f"  rule {path_of(reason.direction, reason.rule)} of {policy.key}{place}")
        if reason.peer is not None and (found := _peer(policy.spec, reason)):
            lines.append(f"  peer {found}")
        return lines


def _ends(source: Node, destination: Node) -> tuple[str, str]:
    """Return samples of both: two different ones where there are."""
    if source.sample != destination.sample:
        return source.sample, destination.sample
    return source.other or source.sample, destination.sample if source.other else destination.other


def _inside(verdict: Verdict) -> list[Reason]:
    """Return the reasons without those of an address outside: no policy can select it."""
    ends = (verdict.flow.source, verdict.flow.destination)
    outside = {end.name for end in ends if end.kind == "ip"}
    return [each for each in verdict.reasons if each.subject not in outside]


def _ports_told(ports: PortSet) -> str:
    if not ports:
        return "nothing is allowed"
    return "all ports are allowed" if ports == ALL else f"{ports} is allowed"


def _peer(spec: object, reason: Reason) -> str:
    """Return the entry of ``from`` or ``to`` that matched, as it was written."""
    found: object = spec
    side = "from" if reason.direction == "ingress" else "to"
    for step in (reason.direction, reason.rule, side, reason.peer):
        try:
            found = found[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):  # Calico writes selectors instead of a list
            return ""
    text = yaml.safe_dump(found, default_flow_style=True, sort_keys=False, width=10_000).strip()
    return f"{side}[{reason.peer}] {text}"


def nodes_to_choose(nodes: Iterable[Node]) -> list[Node]:
    """Return the nodes for which a pair can be asked: workloads, and the outside."""
    return [node for node in nodes if node.sample and node.kind in (WORKLOAD, ELSEWHERE, OUTSIDE)]
