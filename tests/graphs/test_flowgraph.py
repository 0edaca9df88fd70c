import shutil
import xml.etree.ElementTree as ET

import pytest

from k8slab import policy, programs
from k8slab.errors import UsageError
from k8slab.graphs import Topology, allowed, difference, dot, flowgraph
from k8slab.graphs.twins import twins

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")


def pod(name, namespace="shop", **labels):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {"app": name}},
        "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]},
    }


def deny(namespace="shop", name="deny", **spec):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], **spec},
    }


def admit(selected, source, port, namespace="shop"):
    peer = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": source}}}
    return deny(
        namespace,
        f"{selected}-{source}",
        podSelector={"matchLabels": {"app": selected}},
        policyTypes=["Ingress"],
        ingress=[{"from": [peer], "ports": [{"port": port}]}],
    )


def graph(*objects, **options):
    found = policy.compile(objects).connections()
    return flowgraph.of_connections(found, title="T", **options)


def edges(found):
    return {(e.source.label, e.destination.label, e.label) for e in found.edges}


def only_ingress(*objects):
    """Close all pods for ingress, so that only what is admitted is drawn between them."""
    spaces = {obj["metadata"]["namespace"] for obj in objects}
    return [*objects, *(deny(space, policyTypes=["Ingress"]) for space in sorted(spaces))]


def test_an_edge_has_the_ports_that_are_allowed():
    found = graph(*only_ingress(pod("web"), pod("db"), admit("db", "web", 5432)))
    assert ("web", "db", "TCP 5432") in edges(found)
    assert not [e for e in found.edges if e.destination.label == "web"]
    assert "shop: web to shop: db: TCP 5432." in found.alt()


def test_workloads_with_the_same_connections_are_one_node():
    pods = [pod(f"web-{n}", app="web") for n in range(9)]
    found = graph(*only_ingress(*pods, pod("db"), admit("db", "web", 5432)))
    (node,) = {e.source for e in found.edges if e.label == "TCP 5432"}
    assert node.label.splitlines() == [*(f"web-{n}" for n in range(6)), "and 3 more"]
    assert "10 workloads in 2 nodes" in found.note


def test_a_side_that_is_a_whole_namespace_is_one_node():
    objects = [pod("a"), pod("b"), pod("x", "other"), admit("a", "x", 1)]
    own = {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}
    rule = {"from": [{"namespaceSelector": own}], "ports": [{"port": 2}]}
    admitted = deny("other", "all", policyTypes=["Ingress"], ingress=[rule])
    found = graph(*only_ingress(*objects), admitted)
    assert ("all of shop", "x", "TCP 2") in edges(found)
    assert ("x", "a", "TCP 1") in edges(found)


def test_an_open_estate_is_a_handful_of_edges():
    found = graph(*(pod(f"p{n}", f"s{n % 5}") for n in range(60)))
    assert ("all workloads", "all workloads", "all ports") in edges(found)
    assert len(found.edges) <= 3


def test_a_pod_has_no_edge_to_itself_and_a_template_has():
    lone = graph(pod("a"))
    assert all(e.source.kind == "outside" or e.destination.kind == "outside" for e in lone.edges)
    template = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": "shop"},
        "spec": {"template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}},
    }
    assert ("deployment/a", "deployment/a", "all ports") in edges(graph(template))


def test_the_graph_of_one_namespace_has_only_what_touches_it():
    objects = only_ingress(pod("a"), pod("b", "other"), pod("c", "other"), pod("d", "far"),
                           admit("a", "b", 1), admit("c", "d", 2, "other"))  # fmt: skip
    found = graph(*objects, namespaces=["shop"])
    assert ("b", "a", "TCP 1") in edges(found)
    assert "d" not in {node.label for node in found.nodes}


def many(count, *, closed=True):
    """Give a ring of workloads, each reached by its neighbour only."""
    pods = [pod(f"p{n}", f"s{n % 7}") for n in range(count)]
    rules = [admit(f"p{n}", f"p{(n + 1) % count}", 1000 + n, f"s{n % 7}") for n in range(count)]
    return only_ingress(*pods, *rules) if closed else pods


def test_too_many_edges_are_drawn_between_namespaces_and_the_picture_says_so():
    found = graph(*many(flowgraph.READABLE_EDGES + 50))
    assert "by namespace: 300 workloads" in found.note
    assert {node.kind for node in found.nodes} == {"namespace", "outside"}
    assert found.note in found.dot()


@needs_dot
def test_five_and_five_hundred_workloads_are_drawn_in_time():
    for count in (5, 500):
        svg = graph(*many(count)).file("svg").decode()
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-label").startswith("T.")


def test_namespaces_that_nobody_can_tell_apart_are_one_node():
    edges = {("m", "a"): 1, ("m", "b"): 1, ("a", "a"): 2, ("b", "b"): 2, ("m", "c"): 3}
    assert sorted(map(sorted, twins(edges, "abcm"))) == [["a", "b"], ["c"], ["m"]]


def test_twins_that_reach_each_other_are_found_too():
    edges = {(a, b): 1 for a in "xyz" for b in "xyz"} | {
        ("x", "o"): 2,
        ("y", "o"): 2,
        ("z", "o"): 2,
    }
    assert sorted(map(sorted, twins(edges, "xyzo"))) == [["o"], ["x", "y", "z"]]
    del edges["x", "o"]
    assert sorted(map(sorted, twins(edges, "xyzo"))) == [["o"], ["x"], ["y", "z"]]


def test_changes_have_marks_lines_and_words_besides_colours():
    before = only_ingress(pod("web"), pod("db"), admit("db", "web", 1))
    after = only_ingress(pod("web"), pod("db"), admit("db", "web", 2), admit("web", "db", 3))
    found = difference.of_changes(policy.diff(policy.compile(before), policy.compile(after)))
    marks = {(e.source.label, e.destination.label): e.mark for e in found.edges}
    assert marks == {("web", "db"): "~", ("db", "web"): "+"}
    text = found.dot()
    assert "style=dotted, arrowhead=diamond" in text
    assert "style=bold" in text
    assert "added: shop: db to shop: web: TCP 3." in found.alt()
    assert ">changed</td>" in found.table()
    assert any("NetworkPolicy shop/db-web" in e.why for e in found.edges)


def test_the_same_change_of_many_workloads_is_one_edge():
    pods = [pod(f"w{n}", app="web") for n in range(5)]
    old, new = only_ingress(*pods, pod("db")), only_ingress(*pods, pod("db"), admit("web", "db", 3))
    found = difference.of_changes(policy.diff(policy.compile(old), policy.compile(new)))
    assert [e.destination.label.count("w") for e in found.edges] == [5]


def test_no_change_says_so():
    assert difference.of_changes(()).note == "nothing changes"


def test_the_matrix_has_a_sign_and_the_ports_in_each_cell():
    found = policy.compile(only_ingress(pod("web"), pod("db"), admit("db", "web", 5432)))
    table = allowed.Allowed.of(found.connections())
    names = [node.label for node in table.nodes]
    assert names[:2] == ["db", "web"]
    db, web, outside = table.nodes
    signs = [table.sign(web, db), table.sign(db, web), table.sign(db, outside)]
    assert signs == ["o", ".", "+"]
    assert "shop/web to shop/db: TCP 5432" in table.dot()
    assert "o some ports" in table.dot()
    assert ">TCP 5432</td>" in table.table()


@needs_dot
def test_a_graph_that_cannot_be_laid_out_in_time_becomes_a_matrix_that_says_why(monkeypatch):
    found = policy.compile(only_ingress(pod("web"), pod("db"), admit("db", "web", 5432)))
    real = programs.run
    calls = []

    def slow_at_first(argv, **options):
        calls.append(argv)
        if len(calls) == 1:
            raise programs.ProgramError("dot did not end within 8 s", command="dot")
        return real(argv, **options)

    monkeypatch.setattr(programs, "run", slow_at_first)
    svg = allowed.policies_file(found.connections(), "svg", title="T").decode()
    assert "make no readable graph" in svg


def test_a_graph_with_too_many_edges_is_refused_with_what_to_do():
    with pytest.raises(UsageError, match="too many") as raised:
        dot.draw("digraph {}", "x", edges=dot.EDGES + 1, form="png")
    assert "--namespace" in raised.value.hint


def test_the_topology_has_the_control_plane_first_and_then_the_nodes_by_name():
    role = {"node-role.kubernetes.io/control-plane": ""}
    nodes = [
        {"metadata": {"name": "b"}},
        {"metadata": {"name": "z", "labels": role}},
        {"metadata": {"name": "a"}},
    ]
    assert Topology.of(nodes, [], []).nodes == ("z", "a", "b")


def test_a_long_list_of_ports_and_of_addresses_stays_short():
    ports = policy.PortSet.union(policy.PortSet.of("TCP", n) for n in range(1, 200, 2))
    assert len(flowgraph.label_of(ports)) == flowgraph.LONGEST_LABEL
    blocks = [{"ipBlock": {"cidr": f"10.{n}.0.0/16"}} for n in range(1, 40, 2)]
    objects = [pod("a"), deny(policyTypes=["Ingress"], ingress=[{"from": blocks}])]
    (outside,) = {e.source for e in graph(*objects).edges if e.source.kind == "outside"}
    assert outside.label.endswith("and 14 ranges more")
