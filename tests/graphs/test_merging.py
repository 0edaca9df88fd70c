"""What is put together says exactly what the blocks say, and less often."""

from collections import defaultdict

import pytest

from k8slab import policy
from k8slab.audit.estates import Size, realistic
from k8slab.graphs import flowgraph, merging
from k8slab.policy import AddressSet, PortSet
from k8slab.testing.chance import NAMESPACES, Chance


def by_pairs(blocks):
    """Return the ports of each pair of a workload and a workload, or ranges outside."""
    inside, outside = defaultdict(PortSet), defaultdict(AddressSet)
    for block in blocks:
        for a in block.sources:
            for b in block.destinations:
                if isinstance(a, AddressSet) or isinstance(b, AddressSet):
                    ends = [each if isinstance(each, AddressSet) else each.name for each in (a, b)]
                    place = tuple("" if isinstance(each, AddressSet) else each for each in ends)
                    outside[*place, block.ports] |= a if place[0] == "" else b
                else:
                    inside[a.name, b.name] |= block.ports
    return inside, outside


def drawn(merged):
    """Return the same from the edges between what was put together."""
    inside, outside = defaultdict(PortSet), defaultdict(AddressSet)
    for (source, destination), ports in merged.edges().items():
        sources = [group.name for group in merged.members(source)]
        ends = [group.name for group in merged.members(destination)]
        if isinstance(source, AddressSet):
            for name in ends:
                outside["", name, ports] |= source
        elif isinstance(destination, AddressSet):
            for name in sources:
                outside[name, "", ports] |= destination
        for a in sources:
            for b in ends:
                inside[a, b] |= ports
    return inside, outside


def alone(group):
    return len(group.pods) == 1 and not merging.is_template(group)


def without_itself(groups, inside):
    lonely = {group.name for group in groups if alone(group)}
    return {pair: p for pair, p in inside.items() if not (pair[0] == pair[1] and pair[0] in lonely)}


def estate(seed):
    chance = Chance(seed)
    pods = [
        {"kind": "Pod", "metadata": {"name": f"p{n}", "namespace": chance.one(NAMESPACES),
                                     "labels": chance.labels()},
         "spec": {"containers": [{}]}, "status": {"podIP": f"10.244.0.{n + 1}"}}
        for n in range(9)
    ]  # fmt: skip
    rules = [chance.network_policy(n) for n in range(chance.random.randint(0, 4))]
    return policy.compile([*map(chance.namespace, NAMESPACES), *pods, *rules])


@pytest.mark.parametrize("seed", range(40))
def test_edges_say_what_the_blocks_say_about_every_pair(seed):
    found = estate(seed).connections()
    parts = flowgraph.Parts.of(found)
    wanted, wanted_outside = by_pairs(found.blocks())
    seen, seen_outside = drawn(parts.merged)
    assert without_itself(found.groups, seen) == without_itself(found.groups, wanted)
    ends = {(a, b) for a, b, _ in wanted_outside}
    assert ends == {(a, b) for a, b, _ in seen_outside}
    for a, b in ends:  # an address may be in the edge of a namespace and in one of its own
        for address in (probe for *_, ranges in _of(wanted_outside, a, b) for probe in ranges):
            ports = [_ports(table, a, b, address) for table in (wanted_outside, seen_outside)]
            assert ports[0] == ports[1], (a, b, address)


def _of(table, a, b):
    return [
        (p, [low for low, _ in ranges.spans()])
        for (x, y, p), ranges in table.items()
        if (x, y) == (a, b)
    ]


def _ports(table, a, b, address):
    found = (p for (x, y, p), ranges in table.items() if (x, y) == (a, b) and address in ranges)
    return PortSet.union(found)


def test_a_large_estate_has_fewer_edges_than_rows():
    found = policy.compile(realistic(Size(600, 150, 8), seed=3)).connections()
    parts = flowgraph.Parts.of(found)
    edges = parts.edges()
    assert len(edges) * 3 < len(found)
    assert len(parts.nodes) < len(found.groups)


def test_a_namespace_of_which_only_some_workloads_are_shown_is_not_called_all_of_it():
    found = policy.compile(realistic(Size(200, 60, 6), seed=3)).connections()
    shown = flowgraph.of_connections(found, title="T", namespaces=["team-1"])
    wholes = {node.label for node in shown.nodes if node.kind == flowgraph.ALL_OF}
    assert wholes <= {"all of team-1"}
    assert not [node for node in shown.nodes if node.kind == flowgraph.EVERYONE]


def test_an_edge_and_the_same_back_are_drawn_as_one_with_two_heads():
    pods = [{"kind": "Pod", "metadata": {"name": n, "namespace": n}, "spec": {"containers": [{}]}}
            for n in ("a", "b")]  # fmt: skip
    found = flowgraph.of_connections(policy.compile(pods).connections(), title="T")
    assert found.dot().count("dir=both") * 2 == found.dot(two_way=False).count(" -> ") > 0
    assert "dir=both" not in found.dot(two_way=False)
