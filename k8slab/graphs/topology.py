"""Nodes, the pods on them, and the Services before them, as DOT text and as a table.

Of many pods the picture shows how many of a workload are on each node, and of very many how
many of a namespace; table and values have all of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from k8slab.graphs.dot import draw, quote, render
from k8slab.graphs.svg import Picture, html_table
from k8slab.objects import meta, selectors
from k8slab.policy.addresses import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from k8slab.objects.meta import Object
    from k8slab.policy.model import Pod
    from k8slab.policy.services import Service

_ARROWS = "arrows: the pods that a Service selects; dashed: not ready"
PENDING = "(no node yet)"
MOST = 120
"""Boxes and arrows that can be read; of more, pods are put together."""
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
    workload: str = ""
    """Who owns it: ``shop/deployment/web``; the pod itself where nobody does."""


@dataclass(frozen=True)
class Topology:
    """What is where: pods by node, and which pods a Service selects."""

    nodes: tuple[str, ...]
    pods: tuple[Box, ...]
    services: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Key, address line, keys of the pods that its selector names, ready or not."""
    note: str = ""
    """What was put together to make the picture readable."""

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
        names = [meta.name_of(node) for node in sorted(nodes, key=node_order)]
        strays = {box.node for box in boxes} - set(names)
        return cls((*names, *sorted(strays)), boxes, tuple(sorted(found)))

    @classmethod
    def planned(
        cls, nodes: Iterable[str], pods: Iterable[Pod], services: Iterable[Service]
    ) -> Topology:
        """Take what manifests describe: pods, and the templates of workloads that have none yet."""
        listed = list(pods)
        one = len({pod.namespace for pod in listed}) <= 1
        boxes = tuple(_planned(pod, one_namespace=one) for pod in listed)
        found = tuple(_led(service, listed) for service in services)
        strays = {box.node for box in boxes} - {*nodes}
        return cls((*nodes, *sorted(strays)), tuple(sorted(boxes, key=_key)), tuple(sorted(found)))

    @property
    def size(self) -> int:
        """Return how much there is to draw."""
        return len(self.pods) + len(self.services) + len(self._edges())

    def readable(self) -> Topology:
        """Return what is drawn: pods, or those of a workload or namespace on each node as one.

        Of so many that even these are too many, those of a namespace are one wherever they run.
        """
        for found in (self, self._together(_owner), self._by_namespace()):
            if found.size <= MOST:
                return found
        everywhere = f"{len(self.nodes)} nodes"
        pods = tuple(replace(box, node=everywhere) for box in self.pods)
        return replace(self, nodes=(everywhere,), pods=pods)._by_namespace()  # noqa: SLF001

    def _by_namespace(self) -> Topology:
        found = self._together(lambda box: _space(_owner(box)))
        behind: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for key, _, pods in found.services:
            behind[_space(key)].append(pods)
        services = tuple(
            (space, _count(len(each), "Service"), tuple(sorted({p for pods in each for p in pods})))
            for space, each in sorted(behind.items())
        )
        return replace(found, services=services)

    def _together(self, name: Callable[[Box], str]) -> Topology:
        members: dict[tuple[str, str, bool], list[Box]] = defaultdict(list)
        for box in self.pods:
            members[box.node, name(box), box.ready].append(box)
        instead: dict[str, str] = {}
        boxes = []
        for (node, what, ready), found in members.items():
            made = replace(found[0], key=f"{node} {what} {ready}")
            if len(found) > 1:
                made = replace(made, label=what, address=f"{len(found)} pods")
            boxes.append(made)
            instead.update((box.key, made.key) for box in found)
        services = tuple(
            (key, address, tuple(sorted({instead[pod] for pod in behind})))
            for key, address, behind in self.services
        )
        note = f"{len(self.pods)} pods in {len(boxes)} boxes"
        return Topology(self.nodes, tuple(sorted(boxes, key=_key)), services, note)

    def dot(self) -> str:
        """Return the picture as DOT text: a box around each node, dashed where not ready."""
        return self.readable()._dot()  # noqa: SLF001  of its own class

    def _dot(self) -> str:
        told = "\n".join(filter(None, [self.note, _ARROWS if self._edges() else ""]))
        title = f" label={quote(told)}; labelloc=t;" if told else ""
        lines = [
            "digraph topology {",
            f'  rankdir=LR;{title} edge [color="#4b5563"];',
            '  node [fontname="Helvetica", fontsize=11];',
            '  graph [fontname="Helvetica", fontsize=11];',
        ]
        for key, address, _ in self.services:
            name = f"Service {key}" if "/" in key else key
            label = quote(f"{name}\n{address}")
            lines.append(f"  {quote('svc:' + key)} [shape=ellipse, label={label}];")
        firsts: list[str] = []
        for number, node in enumerate(self.nodes):
            lines.append(f"  subgraph cluster_{number} {{ label={quote(_title(node))};")
            here = [box for box in self.pods if box.node == node]
            lines += [f"    {_pod_line(box)}" for box in here]
            if not here:  # an empty cluster would vanish
                lines.append(f'    {quote("empty:" + node)} [shape=plaintext, label="no pods"];')
            lines.append("  }")
            firsts.append(here[0].key if here else f"empty:{node}")
        lines += _in_order(firsts)
        waiting = {box.key for box in self.pods if not box.ready}
        for key, pod in self._edges():
            style = " [style=dashed]" if pod in waiting else ""
            lines.append(f"  {quote('svc:' + key)} -> {quote(pod)}{style};")
        return "\n".join([*lines, "}"])

    def _edges(self) -> list[tuple[str, str]]:
        return [(key, pod) for key, _, behind in self.services for pod in behind]

    def alt(self) -> str:
        """Say in words what the picture shows; of many pods how many there are."""
        if self.size > MOST:
            counts = (
                f"{len(self.nodes)} nodes, {len(self.pods)} pods, {len(self.services)} Services"
            )
            return f"Topology. {counts}; the table has all of them."
        parts = []
        for node in self.nodes:
            here = [_words(box) for box in self.pods if box.node == node]
            parts.append(f"node {node}: {', '.join(here) or 'no pods'}")
        parts += [
            f"Service {key} ({address}) selects {', '.join(behind) or 'no pod'}"
            for key, address, behind in self.services
        ]
        return "Topology. " + "; ".join(parts) + "."

    def table(self) -> str:
        """Return the same as an HTML table: one row for each pod."""
        rows = []
        for box in self.pods:
            before = [key for key, _, behind in self.services if box.key in behind]
            cells = [box.label, box.node, box.address or "-", _state(box)]
            rows.append([*cells, ", ".join(before) or "-"])
        heads = ["pod", "node", "address", "state", "selected by Services"]
        return html_table(heads, rows, "Topology")

    def text(self) -> str:
        """Return the same as lines of text."""
        lines = []
        for node in self.nodes:
            lines.append(f"node {node}")
            here = [box for box in self.pods if box.node == node]
            lines += [f"  {box.label}  {box.address or '-'}  {_state(box)}" for box in here]
        for key, address, behind in self.services:
            lines.append(f"Service {key} {address} selects {', '.join(behind) or 'no pod'}")
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
        return render(self.dot(), self.alt(), edges=self.readable().size)

    def file(self, form: str) -> bytes:
        """Draw it as svg, png, pdf or dot."""
        return draw(self.dot(), self.alt(), edges=self.readable().size, form=form)


def node_order(node: Object) -> tuple[bool, str]:
    """Sort the control plane first, then by name."""
    return (CONTROL_PLANE not in meta.labels_of(node), meta.name_of(node))


def _in_order(firsts: Sequence[str]) -> list[str]:
    """Return lines that keep the boxes of nodes in their order, of which `firsts` are one each.

    dot puts boxes where arrows cross least. So each is held by an arrow that is not drawn, from
    a point whose order dot keeps (edges within a rank). Both ends have one `group`: dot avoids to
    cross the edges within a group (graphviz.org/docs/attrs/group).
    """
    points = [quote(f"order:{number}") for number in range(len(firsts))]
    lines = [f"  {{ rank=same; {' -> '.join(points)} [style=invis]; }}"] if points else []
    for number, (point, first) in enumerate(zip(points, firsts, strict=True)):
        lines += [
            f"  {point} [style=invis, shape=point, width=0, group={number}];",
            f"  {quote(first)} [group={number}];",
            f"  {point} -> {quote(first)} [style=invis];",
        ]
    return lines


def _state(box: Box) -> str:
    return "ready" if box.ready else "not ready"


def _words(box: Box) -> str:
    return f"{box.label} ({box.address or 'no address'}, {_state(box)})"


def _pod_line(box: Box) -> str:
    label = f"{box.label}\n{box.address or 'no address'}" + ("" if box.ready else "\nnot ready")
    style = '"rounded,filled"' if box.ready else '"rounded,dashed"'
    return (
        f'{quote(box.key)} [shape=box, style={style}, fillcolor="#eef2ff", label={quote(label)}];'
    )


def _box(pod: Object, *, one_namespace: bool) -> Box:
    conditions = pod.get("status", {}).get("conditions") or ()
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    owner = meta.controller_of(pod)
    workload = f"{meta.namespace_of(pod)}/{owner['kind'].lower()}/{owner['name']}" if owner else ""
    return Box(
        key=meta.key_of(pod),
        label=meta.name_of(pod) if one_namespace else meta.key_of(pod),
        node=pod.get("spec", {}).get("nodeName") or PENDING,
        ready=ready,
        address=pod.get("status", {}).get("podIP") or "",
        workload=workload,
    )


def _planned(pod: Pod, *, one_namespace: bool) -> Box:
    addresses = [text_of(address) for address in pod.addresses]
    return Box(
        key=pod.key,
        label=pod.key.removeprefix(f"{pod.namespace}/") if one_namespace else pod.key,
        node=pod.node or PENDING,
        ready=pod.ready,
        address="template" if pod.template else ", ".join(addresses),
        workload=str(pod.workload),
    )


def _led(service: Service, pods: Iterable[Pod]) -> tuple[str, str, tuple[str, ...]]:
    ports = ", ".join(f"{port.port}/{port.protocol}" for port in service.ports)
    address = "headless" if service.headless else ", ".join(map(text_of, sorted(service.addresses)))
    behind = [
        pod.key
        for pod in pods
        if service.selector is not None
        and pod.namespace == service.namespace
        and service.selector.matches(pod.labels)
    ]
    return service.key, f"{address} {ports}".strip(), tuple(sorted(behind))


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _title(node: str) -> str:
    """Return what stands above a box: one node, or what stands for several or none."""
    return node if " " in node else f"node {node}"


def _key(box: Box) -> str:
    return box.key


def _owner(box: Box) -> str:
    return box.workload or box.key


def _space(key: str) -> str:
    return key.partition("/")[0]


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
