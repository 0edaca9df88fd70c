"""Nodes, the pods on them, and the Services before them, as DOT text and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from k8slab.graphs.dot import draw, quote, render
from k8slab.graphs.svg import Picture, html_table
from k8slab.objects import meta, selectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.objects.meta import Object

PENDING = "(no node yet)"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
"""The label by which kubeadm marks the nodes of the control plane."""


@dataclass(frozen=True, slots=True)
class Box:
    """One pod of the picture."""

    key: str
    label: str
    node: str
    ready: bool
    address: str


@dataclass(frozen=True)
class Topology:
    """What is where: pods by node, and which pods a Service selects."""

    nodes: tuple[str, ...]
    pods: tuple[Box, ...]
    services: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Key, address line, keys of the pods behind it."""

    @classmethod
    def of(
        cls, nodes: Iterable[Object], pods: Iterable[Object], services: Iterable[Object]
    ) -> Topology:
        """Read the objects of a cluster or of one namespace."""
        pods = [pod for pod in pods if not meta.is_deleting(pod)]
        one = len({meta.namespace_of(pod) for pod in pods}) <= 1
        boxes = tuple(
            sorted((_box(pod, one_namespace=one) for pod in pods), key=lambda box: box.key)
        )
        found = tuple(_service(service, pods) for service in services)
        names = [meta.name_of(node) for node in sorted(nodes, key=_node_order)]
        strays = {box.node for box in boxes} - set(names)
        return cls((*names, *sorted(strays)), boxes, tuple(sorted(found)))

    def dot(self) -> str:
        """Return the picture as DOT text: a box around each node, dashed where not ready."""
        lines = [
            "digraph topology {",
            '  rankdir=LR; edge [color="#4b5563"];',
            '  node [fontname="Helvetica", fontsize=11];',
            '  graph [fontname="Helvetica", fontsize=11];',
        ]
        for key, address, _ in self.services:
            label = quote(f"Service {key}\n{address}")
            lines.append(f"  {quote('svc:' + key)} [shape=ellipse, label={label}];")
        for number, node in enumerate(self.nodes):
            lines.append(f"  subgraph cluster_{number} {{ label={quote(f'node {node}')};")
            here = [box for box in self.pods if box.node == node]
            lines += [f"    {_pod_line(box)}" for box in here]
            if not here:  # an empty cluster would vanish
                lines.append(f'    {quote("empty:" + node)} [shape=plaintext, label="no pods"];')
            lines.append("  }")
        lines += [f"  {quote('svc:' + key)} -> {quote(pod)};" for key, pod in self._edges()]
        return "\n".join([*lines, "}"])

    def _edges(self) -> list[tuple[str, str]]:
        return [(key, pod) for key, _, behind in self.services for pod in behind]

    def alt(self) -> str:
        """Say in words what the picture shows."""
        parts = []
        for node in self.nodes:
            here = [box.label for box in self.pods if box.node == node]
            parts.append(f"node {node}: {', '.join(here) or 'no pods'}")
        parts += [
            f"Service {key} leads to {', '.join(behind) or 'no pod'}"
            for key, _, behind in self.services
        ]
        return "Topology. " + "; ".join(parts) + "."

    def table(self) -> str:
        """Return the same as an HTML table: one row for each pod."""
        rows = []
        for box in self.pods:
            before = [key for key, _, behind in self.services if box.key in behind]
            state = "ready" if box.ready else "not ready"
            rows.append([box.label, box.node, box.address or "-", state, ", ".join(before) or "-"])
        return html_table(["pod", "node", "address", "state", "Services"], rows, "Topology")

    def text(self) -> str:
        """Return the same as lines of text."""
        lines = []
        for node in self.nodes:
            lines.append(f"node {node}")
            here = [box for box in self.pods if box.node == node]
            lines += [
                f"  {box.label}  {box.address or '-'}  {'ready' if box.ready else 'not ready'}"
                for box in here
            ]
        for key, address, behind in self.services:
            lines.append(f"Service {key} {address} -> {', '.join(behind) or 'no pod'}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return {
            "nodes": list(self.nodes),
            "pods": [asdict(box) for box in self.pods],
            "services": [
                {"service": key, "address": address, "pods": list(behind)}
                for key, address, behind in self.services
            ],
        }

    def picture(self) -> Picture:
        """Draw it with graphviz, within the budget."""
        return render(self.dot(), self.alt(), edges=len(self._edges()) + len(self.pods))

    def file(self, form: str) -> bytes:
        """Draw it as svg, png, pdf or dot."""
        edges = len(self._edges()) + len(self.pods)
        return draw(self.dot(), self.alt(), edges=edges, form=form)


def _node_order(node: Object) -> tuple[bool, str]:
    """Sort the control plane first, then by name."""
    return (CONTROL_PLANE not in meta.labels_of(node), meta.name_of(node))


def _pod_line(box: Box) -> str:
    label = f"{box.label}\n{box.address or 'no address'}" + ("" if box.ready else "\nnot ready")
    style = '"rounded,filled"' if box.ready else '"rounded,dashed"'
    return (
        f'{quote(box.key)} [shape=box, style={style}, fillcolor="#eef2ff", label={quote(label)}];'
    )


def _box(pod: Object, *, one_namespace: bool) -> Box:
    conditions = pod.get("status", {}).get("conditions") or ()
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return Box(
        key=meta.key_of(pod),
        label=meta.name_of(pod) if one_namespace else meta.key_of(pod),
        node=pod.get("spec", {}).get("nodeName") or PENDING,
        ready=ready,
        address=pod.get("status", {}).get("podIP") or "",
    )


def _service(service: Object, pods: Sequence[Object]) -> tuple[str, str, tuple[str, ...]]:
    spec = service.get("spec") or {}
    ports = ", ".join(
        f"{p.get('port')}/{p.get('protocol', 'TCP')}" for p in spec.get("ports") or ()
    )
    cluster_ip = "headless" if spec.get("clusterIP") == "None" else spec.get("clusterIP")
    address = f"{cluster_ip or spec.get('externalName') or ''} {ports}".strip()
    behind: tuple[str, ...] = ()
    if spec.get("selector"):
        selector = selectors.from_labels(spec["selector"])
        same = [pod for pod in pods if meta.namespace_of(pod) == meta.namespace_of(service)]
        found = [meta.key_of(pod) for pod in same if selector.matches(meta.labels_of(pod))]
        behind = tuple(sorted(found))
    return meta.key_of(service), address, behind
