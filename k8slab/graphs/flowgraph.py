"""A graph of who may reach whom, small enough to be read.

Three steps make it small without making it wrong:

- **Equal nodes become one.** Workloads of one namespace that have the same connections are
  one node with several names (`merging`).
- **Sets become one node.** What all of a namespace, or all workloads, have in common is one edge
  from or to a node that stands for them (`merging`).
- **Namespaces instead of workloads**, when there are still too many edges; the picture says so.

A picture of some namespaces has the workloads of all others too, those together that mean the same
to it: who may come in from elsewhere is a part of what policies allow here.

Nodes are told apart by shape and by words, edges by style, arrow and label: colour is never
the only sign.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab.graphs.dot import draw, quote, render
from k8slab.graphs.merging import End, Merged, is_template
from k8slab.graphs.svg import html_table
from k8slab.graphs.twins import twins
from k8slab.policy.addresses import EVERYWHERE, AddressSet
from k8slab.policy.listing import Block
from k8slab.policy.ports import PortSet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from k8slab.graphs.svg import Picture
    from k8slab.policy.listing import Connection, Connections, Group

WORKLOAD, ALL_OF, EVERYONE, OUTSIDE, NAMESPACE = "workload", "all of", "all", "outside", "namespace"
ELSEWHERE = "elsewhere"

_SHAPES = {
    WORKLOAD: 'shape=box, style="rounded,filled", fillcolor="#eef2ff"',
    ALL_OF: 'shape=folder, style=filled, fillcolor="#e0e7ff"',
    EVERYONE: 'shape=doubleoctagon, style=filled, fillcolor="#e0e7ff"',
    OUTSIDE: 'shape=house, style="filled,dashed", fillcolor="#fef3c7"',
    NAMESPACE: 'shape=tab, style=filled, fillcolor="#e0e7ff"',
    ELSEWHERE: 'shape=box3d, style=filled, fillcolor="#f3f4f6"',
}
_HEADED = (OUTSIDE, NAMESPACE)

MOST_NAMES = 6
"""Names drawn in one node; of more the first, and how many more there are. The table has all."""

LONGEST_LABEL = 40
"""Letters of ports drawn on an edge; the table has all."""

READABLE_EDGES = 250
"""More edges between workloads than this are drawn between namespaces."""

SOME = "what some workload of one may send to some workload of the other, not what all may"
"""What namespaces instead of workloads say: an edge is there when one pair has it."""


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """One node: a workload, equal ones together, or a set that stands for many."""

    key: str
    kind: str
    label: str
    """All names that it has, a line each."""
    namespace: str = ""
    sample: str = ""
    """A pod's key or an address that stands for all of it."""
    alone: bool = False
    """One pod: what it sends to itself no policy can stop, so there is no edge for it."""
    other: str = ""
    """The key of a second pod, where there is one: what they send each other can be asked for."""

    @property
    def drawn(self) -> str:
        """Return the label with as many names as can be read in a picture."""
        names = self.label.split("\n")
        head = 1 if self.kind in _HEADED else 0  # says what follows, and is no name itself
        more = len(names) - head - MOST_NAMES
        return "\n".join([*names[:-more], f"and {more} more"]) if more > 1 else self.label


@dataclass(frozen=True, slots=True)
class Edge:
    """What one node may send to another; `mark` is +, - or ~ in the picture of a difference."""

    source: Node
    destination: Node
    ports: PortSet
    mark: str = ""
    why: str = ""
    before: PortSet = field(default_factory=PortSet)
    """What it was, where that changed."""
    within: bool = False
    """Where both ends are several namespaces: within each of them, and not between two."""

    @property
    def label(self) -> str:
        """Return the ports in words, with `before` and `within`."""
        return self._told(words_of)

    @property
    def drawn(self) -> str:
        """Return the label as long as it can be read in a picture."""
        return self._told(short_words)

    def _told(self, words: Callable[[PortSet], str]) -> str:
        changed = f"{words(self.before)}\nnow " if self.before else ""
        within = "within each: " if self.within else ""
        return f"{within}{changed}{words(self.ports)}"


_MARKS = {
    "": 'color="#374151"',
    "+": 'color="#15803d", style=bold, arrowhead=normal, fontcolor="#14532d"',
    "-": 'color="#b91c1c", style=dashed, arrowhead=tee, fontcolor="#7f1d1d"',
    "~": 'color="#b45309", style=dotted, arrowhead=diamond, fontcolor="#7c2d12"',
}
_BOTH = {
    "": ", dir=both",
    "+": ", dir=both",
    "-": ", dir=both, arrowtail=tee",
    "~": ", dir=both, arrowtail=diamond",
}
MEANINGS = {"+": "added", "-": "removed", "~": "changed"}


@dataclass(frozen=True)
class FlowGraph:
    """The graph; `note` says what was put together to make it readable."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    note: str = ""

    def names(self) -> dict[str, str]:
        """Return the name of each node in DOT text, and its id in SVG, by key."""
        return {node.key: f"n{number}" for number, node in enumerate(self.nodes)}

    def dot(self, *, two_way: bool = True) -> str:
        """Return the graph as DOT text, a box around each namespace.

        With `two_way` an edge and the same one back are drawn as one with two heads.
        """
        names = self.names()
        title = f"{self.title}\n{self.note}" if self.note else self.title
        lines = [
            "digraph policy {",
            (
                f"  graph [rankdir=LR, label={quote(title)}, labelloc=t, fontname=Helvetica,"
                " fontsize=13, nodesep=0.25, ranksep=0.9];"
            ),
            "  node [fontname=Helvetica, fontsize=11];",
            "  edge [fontname=Helvetica, fontsize=10];",
        ]
        spaces: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            spaces[node.namespace].append(node)
        for number, (space, nodes) in enumerate(sorted(spaces.items())):
            drawn = [_node(node, names[node.key]) for node in nodes]
            if not space:
                lines += [f"  {line}" for line in drawn]
                continue
            lines.append(f"  subgraph cluster_{number} {{")
            lines.append(f'    label={quote(space)}; labeljust=l; style=rounded; color="#9ca3af";')
            lines += [f"    {line}" for line in drawn]
            lines.append("  }")
        back = self._back() if two_way else {}
        for number, edge in enumerate(self.edges):
            if back.get(number, number) < number:
                continue
            ends = f"{names[edge.source.key]} -> {names[edge.destination.key]}"
            label = quote(f"{edge.mark} {edge.drawn}".strip())
            heads = _BOTH[edge.mark] if number in back else ""
            lines.append(f"  {ends} [id=edge{number}, label={label}, {_MARKS[edge.mark]}{heads}];")
        return "\n".join([*lines, "}"])

    def _back(self) -> dict[int, int]:
        """Return for each edge by number the one that leads back and says the same."""
        known = {
            (edge.source, edge.destination, edge.label, edge.mark): number
            for number, edge in enumerate(self.edges)
            if edge.source != edge.destination
        }
        opposite = {
            number: known.get((destination, source, label, mark))
            for (source, destination, label, mark), number in known.items()
        }
        return {number: other for number, other in opposite.items() if other is not None}

    def alt(self) -> str:
        """Say in words what the graph shows; of a large one the counts."""
        told = [f"{self.title}. {self.note}".strip()]
        if len(self.edges) <= 40:
            told += [self._words(edge) for edge in self.edges]
        else:
            told.append(f"{len(self.nodes)} nodes and {len(self.edges)} edges; see the table.")
        return " ".join(told)

    def _words(self, edge: Edge) -> str:
        mark = f"{MEANINGS[edge.mark]}: " if edge.mark else ""
        ends = f"{brief(edge.source)} to {brief(edge.destination)}"
        return f"{mark}{ends}: {edge.drawn}.".replace("\n", ", ")

    def table(self) -> str:
        """Return the edges as an HTML table."""
        rows = [
            [*ends_of(edge), one_line(edge.label), MEANINGS.get(edge.mark, "")]
            for edge in self.edges
        ]
        return html_table(["from", "to", "ports", "change"], rows, self.title)

    def to_json(self) -> dict[str, Any]:
        """Return the edges as plain values."""
        return {
            "title": self.title,
            "note": self.note,
            "edges": [
                {
                    **dict(zip(("from", "to"), ends_of(edge), strict=True)),
                    "ports": str(edge.ports),
                    **({"change": MEANINGS[edge.mark]} if edge.mark else {}),
                    **({"before": str(edge.before)} if edge.before else {}),
                    **({"within": "each"} if edge.within else {}),
                }
                for edge in self.edges
            ],
        }

    def picture(self) -> Picture:
        """Draw it as SVG, within the budget."""
        return render(self.dot(two_way=False), self.alt(), edges=len(self.edges))

    def file(self, form: str) -> bytes:
        """Draw it as svg, png, pdf or dot."""
        return draw(self.dot(), self.alt(), edges=len(self.edges), form=form)


def plain(node: Node) -> str:
    """Return all names of a node on one line."""
    return _with_namespace(node, node.label)


def brief(node: Node) -> str:
    """Return on one line what a picture names of a node."""
    return _with_namespace(node, node.drawn)


def _with_namespace(node: Node, names: str) -> str:
    return f"{node.namespace}: {one_line(names)}" if node.namespace else one_line(names)


def ends_of(edge: Edge) -> tuple[str, str]:
    """Return all names of both ends."""
    return plain(edge.source), plain(edge.destination)


def one_line(text: str) -> str:
    """Return the lines of a label as a list in one line."""
    return text.replace("\n", ", ")


def _node(node: Node, name: str) -> str:
    return f"{name} [id={name}, {_SHAPES[node.kind]}, label={quote(node.drawn)}];"


def of_connections(found: Connections, *, title: str, namespaces: Sequence[str] = ()) -> FlowGraph:
    """Draw all connections, or those from and to some namespaces."""
    parts = Parts.of(found, namespaces)
    edges = parts.edges()
    if edges is None or len(edges) > READABLE_EDGES:
        edges = _put_together(parts.edges_by_namespace())
        why = f"{len(parts.groups)} workloads have too many connections to be read"
        note = f"by namespace: {why}; an edge is {SOME}"
        nodes = {end for edge in edges for end in (edge.source, edge.destination)}
    else:
        ends = {end for edge in edges for end in (edge.source, edge.destination)}
        note = parts.note()
        nodes = {*parts.nodes, *ends}
    return FlowGraph(title, tuple(sorted(nodes)), tuple(edges), note)


def of_rows(rows: Iterable[Connection], *, title: str) -> FlowGraph:
    """Draw some connections, such as those of one workload."""
    blocks = [Block((row.source,), (row.destination,), row.ports) for row in rows]
    groups = sorted({group for block in blocks for side in block[:2] for group in _groups(side)})
    parts = Parts(groups, blocks)
    edges = parts.edges() or []
    ends = {end for edge in edges for end in (edge.source, edge.destination)}
    return FlowGraph(title, tuple(sorted(ends)), tuple(edges))


def side_node(side: Iterable[Group | AddressSet]) -> Node:
    """Return one node for workloads of one namespace, or for addresses outside."""
    every = [*side]
    groups = _groups(every)
    if groups:
        return _workload_node(groups)
    return _outside_node(AddressSet.union(each for each in every if isinstance(each, AddressSet)))


def _put_together(edges: Sequence[Edge]) -> list[Edge]:
    """Make one node of the namespaces that nobody can tell apart."""
    labels = {(edge.source, edge.destination): edge.ports for edge in edges}
    spaces = {end for pair in labels for end in pair if end.kind == NAMESPACE}
    instead: dict[Node, Node] = {}
    for members in twins(labels, sorted(spaces)):
        made = members[0]
        if len(members) > 1:
            names = [each.key for each in members]
            made = replace(made, label="\n".join([f"{len(members)} namespaces", *names]))
        instead.update(dict.fromkeys(members, made))
    found: dict[tuple[Node, Node], Edge] = {}
    for edge in edges:
        source = instead.get(edge.source, edge.source)
        destination = instead.get(edge.destination, edge.destination)
        within = source is destination and not _reach_each_other(labels, instead, source)
        found[source, destination] = replace(
            edge, source=source, destination=destination, within=within
        )
    return list(found.values())


def _reach_each_other(
    labels: Mapping[tuple[Node, Node], PortSet], instead: Mapping[Node, Node], node: Node
) -> bool:
    members = [each for each, made in instead.items() if made is node]
    return len(members) == 1 or (members[0], members[1]) in labels


def _within(blocks: list[Block], namespaces: Sequence[str]) -> list[Block]:
    """Keep of each block what has an end in one of the namespaces."""
    if not namespaces:
        return blocks
    found = []
    for block in blocks:
        here = [g for g in _groups(block.sources) if g.namespace in namespaces]
        there = [g for g in _groups(block.destinations) if g.namespace in namespaces]
        if here:
            found.append(block._replace(sources=tuple(here)))
        if there:
            others = tuple(side for side in block.sources if side not in here)
            if others:
                found.append(block._replace(sources=others, destinations=tuple(there)))
    return found


def _groups(side: Iterable[Group | AddressSet]) -> list[Group]:
    return [each for each in side if not isinstance(each, AddressSet)]


class Parts:
    """Blocks of connections, and the nodes that stand for their workloads."""

    def __init__(
        self,
        groups: Sequence[Group],
        blocks: Sequence[Block],
        about: Collection[str] | None = None,
    ) -> None:
        """Take some groups in order, or all there are in a picture `about` some namespaces."""
        self.groups = groups
        self.blocks = blocks
        self.merged = Merged(groups, blocks, about)
        self._nodes: list[Node] = []
        self._node_of: dict[Group, Node] = {}
        others = [group for group in groups if about is not None and group.namespace not in about]
        for number in range(len(self.merged.classes)):
            members = self.merged.members(number)
            elsewhere = self.merged.is_elsewhere(number)
            made = _elsewhere_node(members, others) if elsewhere else _workload_node(members)
            self._nodes.append(made)
            self._node_of.update(dict.fromkeys(members, made))
        self.nodes = frozenset(self._nodes)

    @classmethod
    def of(cls, found: Connections, namespaces: Sequence[str] = ()) -> Parts:
        """Take all connections, or those that touch some namespaces."""
        groups = found.groups
        about = {*namespaces} or {group.namespace for group in groups}
        return cls(groups, _within([*found.blocks()], namespaces), about)

    def note(self) -> str:
        """Say what stands together in one node."""
        told = []
        for kind, word in ((WORKLOAD, "workloads"), (ELSEWHERE, "workloads of other namespaces")):
            standing = [node for node in self._node_of.values() if node.kind == kind]
            if len({*standing}) < len(standing):
                told.append(f"{len(standing)} {word} in {_count(len({*standing}), 'node')}")
        return f"{', '.join(told)}: those with the same connections are together" if told else ""

    def edges(self) -> list[Edge] | None:
        """Return the edges, the fewest that say all; ``None`` when they are too many to be read."""
        found = self.merged.edges()
        if found is None:
            return None
        return _edges({(self._node(a), self._node(b)): ports for (a, b), ports in found.items()})

    def _node(self, end: End) -> Node:
        if isinstance(end, AddressSet):
            return _outside_node(end)
        if isinstance(end, int):
            return self._nodes[end]
        samples = _samples(self.merged.members(end))
        if not end.namespace:
            return Node("everyone", EVERYONE, "all workloads", "", *samples)
        name = f"all of {end.namespace}"
        return Node(name, ALL_OF, name, end.namespace, *samples)

    def edges_by_namespace(self) -> list[Edge]:
        """Return the edges between namespaces: all ports that some pair of their workloads has."""
        ports: dict[tuple[Node, Node], PortSet] = defaultdict(PortSet)
        for block in self.blocks:
            destinations = _spaces(block.destinations)
            for source in _spaces(block.sources):
                for destination in destinations:
                    ports[source, destination] |= block.ports
        return _edges(ports)

    def named(self, side: Iterable[Group | AddressSet], *, by_namespace: bool) -> list[Node]:
        """Return a node for each workload (or namespace) of one side, and for the outside."""
        if by_namespace:
            return _spaces(side)
        found = [_outside_node(each) for each in side if isinstance(each, AddressSet)]
        return [*found, *{self._node_of[group] for group in _groups(side)}]


def _samples(groups: Iterable[Group]) -> tuple[str, bool, str]:
    """Return the fields `sample`, `alone` and `other` of a node for these workloads."""
    ordered = sorted(groups)
    pods = [pod for group in ordered[:2] for pod in group.pods[:2]]
    alone = len(pods) == 1 and not is_template(ordered[0])
    return pods[0], alone, pods[1] if len(pods) > 1 else ""


def _edges(ports: dict[tuple[Node, Node], PortSet]) -> list[Edge]:
    return [
        Edge(source, destination, found)
        for (source, destination), found in sorted(ports.items(), key=lambda item: item[0])
        if source is not destination or not source.alone
    ]


def words_of(ports: PortSet) -> str:
    """Return ports in words, all of them."""
    text = str(ports)
    return "all ports" if text == "all" else text


def short_words(ports: PortSet) -> str:
    """Return ports as a label of bounded length."""
    text = words_of(ports)
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


def short(group: Group) -> str:
    """Return the name of a group without its namespace."""
    return group.name.replace(f"{group.namespace}/", "", 1)


def _workload_node(groups: Sequence[Group]) -> Node:
    names = sorted(short(group) for group in groups)
    first = min(groups)
    return Node(first.name, WORKLOAD, "\n".join(names), first.namespace, *_samples(groups))


def _elsewhere_node(groups: Sequence[Group], others: Sequence[Group]) -> Node:
    """Return one node for workloads of namespaces that the picture is not about."""
    all_of = Counter(group.namespace for group in others)
    here = Counter(group.namespace for group in groups)
    lines = [f"all of {space}" for space in sorted(here) if 1 < here[space] == all_of[space]]
    whole = {line.removeprefix("all of ") for line in lines}
    lines += sorted(group.name for group in groups if group.namespace not in whole)
    if len(groups) == len(others) > 1:
        lines = ["all other namespaces"]
    return Node(f"elsewhere:{min(groups).name}", ELSEWHERE, "\n".join(lines), "", *_samples(groups))


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _outside_node(addresses: AddressSet) -> Node:
    return Node(
        f"ip:{addresses}", OUTSIDE, outside_label(addresses), "", f"ip:{_one_of(addresses)}"
    )


def _one_of(addresses: AddressSet) -> str:
    return next(addresses.ranges())[0]


def outside_label(addresses: AddressSet) -> str:
    """Return addresses as a label: everywhere, or the ranges."""
    parts = []
    for version, whole in EVERYWHERE.items():
        here = addresses & whole
        if not here:
            continue
        if here == whole:
            parts.append(f"any IPv{version} address")
        else:
            parts += str(here).split(", ")
    return "\n".join(["outside the cluster", *parts])


def _spaces(side: Iterable[Group | AddressSet]) -> list[Node]:
    names = {group.namespace for group in _groups(side)}
    found = [Node(name, NAMESPACE, f"namespace {name}") for name in sorted(names)]
    if any(isinstance(each, AddressSet) for each in side):
        found.append(Node("outside", OUTSIDE, "outside the cluster"))
    return found
