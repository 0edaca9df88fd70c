import json
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
    assert node.label.splitlines() == [f"web-{n}" for n in range(9)]
    assert node.drawn.splitlines() == [*(f"web-{n}" for n in range(6)), "and 3 more"]
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


def test_the_graph_of_one_namespace_says_who_of_the_others_reaches_it_and_who_does_not():
    objects = only_ingress(pod("a"), pod("b", "other"), pod("c", "other"), pod("d", "far"),
                           admit("a", "b", 1), admit("c", "d", 2, "other"))  # fmt: skip
    found = graph(*objects, namespaces=["shop"])
    assert ("other/b", "a", "TCP 1") in edges(found)
    (rest,) = [node for node in found.nodes if node.label == "far/d\nother/c"]
    assert rest not in {end for edge in found.edges for end in (edge.source, edge.destination)}
    assert found.note.startswith("3 workloads of other namespaces in 2 nodes:")
    assert {node.kind for node in found.nodes} == {"workload", "elsewhere", "outside"}


def test_what_many_other_namespaces_have_in_common_is_one_node():
    far = [pod(name, space) for space in ("x", "y", "z") for name in ("one", "two")]
    free = graph(pod("a"), pod("b"), *far, namespaces=["shop"])
    assert "all other namespaces" in {node.label for node in free.nodes}
    shut = graph(pod("a"), pod("b"), *only_ingress(*far[:2]), *far[2:], namespaces=["shop"])
    assert ("a\nb", "all of y\nall of z", "all ports") in edges(shut)
    assert ("all workloads", "a\nb", "all ports") in edges(shut)
    assert "all of x" in {node.label for node in shut.nodes}


def test_all_workloads_are_all_of_the_cluster_and_not_those_of_the_picture():
    objects = [pod("a"), pod("b"), pod("x", "near"), pod("far", "other"), deny("other")]
    found = graph(*objects, namespaces=["shop"])
    assert "all workloads" not in {node.label for node in found.nodes}
    ends = {e.destination.label for e in found.edges if e.source.label == "a\nb"}
    assert "near/x" in ends
    assert "other/far" not in ends
    everyone = graph(*objects[:4], namespaces=["shop"])
    assert ("a\nb", "all workloads", "all ports") in edges(everyone)


def many(count, *, closed=True):
    """Give a ring of workloads, each reached by its neighbour only."""
    pods = [pod(f"p{n}", f"s{n % 7}") for n in range(count)]
    rules = [admit(f"p{n}", f"p{(n + 1) % count}", 1000 + n, f"s{n % 7}") for n in range(count)]
    return only_ingress(*pods, *rules) if closed else pods


def test_too_many_edges_are_drawn_between_namespaces_and_the_picture_says_so():
    found = graph(*many(flowgraph.READABLE_EDGES + 50))
    assert "by namespace: 300 workloads" in found.note
    assert found.note.endswith("to some workload of the other, not what all may")
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


def test_a_pod_and_itself_have_a_sign_of_their_own_since_no_policy_can_stop_them():
    pair = [pod("web-1", app="web"), pod("web-2", app="web")]
    found = policy.compile(only_ingress(*pair, pod("db"), admit("db", "web", 5432)))
    table = allowed.Allowed.of(found.connections())
    db, web, _outside = table.nodes
    assert (table.sign(db, db), table.sign(web, web)) == ("-", ".")
    assert "shop/db to shop/db: a pod and itself: no policy stops it" in table.dot()
    assert "shop/web-1, web-2 to shop/web-1, web-2: nothing" in table.dot()
    assert "No policy stops a pod and itself." in table.to_json()["title"]


def test_a_matrix_of_some_namespaces_claims_nothing_about_what_others_send_each_other():
    estate = policy.compile([pod("web"), pod("one", "far"), pod("two", "near")])
    table = allowed.Allowed.of(estate.connections(), namespaces=["shop"])
    by_kind = {node.kind: node for node in table.nodes}
    web, others, outside = (by_kind[kind] for kind in ("workload", "elsewhere", "outside"))
    assert [table.sign(*pair) for pair in ((web, others), (others, web))] == ["+", "+"]
    aside = [(others, others), (others, outside), (outside, others), (outside, outside)]
    assert {table.sign(*pair) for pair in aside} == {"/"}
    assert "all other namespaces to all other namespaces: not looked at here" in table.dot()
    assert "only what goes from or to shop" in table.alt()


def test_a_matrix_by_namespace_claims_nothing_about_others_either(monkeypatch):
    monkeypatch.setattr(allowed, "MOST", 1)
    estate = policy.compile([pod("web"), pod("one", "far"), pod("two", "far")])
    table = allowed.Allowed.of(estate.connections(), namespaces=["shop"])
    far, shop, outside = table.nodes
    assert {far.kind, shop.kind} == {"namespace"}
    assert [table.sign(*pair) for pair in ((far, far), (far, outside))] == ["/", "/"]
    assert [table.sign(*pair) for pair in ((far, shop), (shop, outside))] == ["+", "+"]
    assert "/ not looked at here" in table.dot()


def test_a_matrix_of_namespaces_says_that_a_cell_is_of_some_of_their_workloads():
    found = policy.compile(many(allowed.MOST + 1)).connections()
    table = allowed.Allowed.of(found)
    assert {node.kind for node in table.nodes} == {"namespace", "outside"}
    assert "a cell is what some workload of one may send to some" in table.alt()
    assert "o some ports for some of them" in table.dot()


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


def test_what_is_too_long_for_the_picture_is_complete_in_table_and_json():
    numbers = range(1, 200, 2)
    pods = [pod(f"web-{n}", app="web") for n in range(12)]
    peer = {"podSelector": {"matchLabels": {"app": "web"}}}
    blocks = [{"ipBlock": {"cidr": f"10.{n}.0.0/16"}} for n in range(1, 40, 2)]
    db = deny(
        podSelector={"matchLabels": {"app": "db"}},
        policyTypes=["Ingress"],
        ingress=[{"from": [peer, *blocks], "ports": [{"port": n} for n in numbers]}],
    )
    found = graph(*only_ingress(*pods, pod("db")), db)
    by_end = {edge.source.kind: edge for edge in found.edges if edge.destination.label == "db"}
    assert len(by_end["workload"].drawn) == flowgraph.LONGEST_LABEL
    assert by_end["outside"].source.drawn.endswith("and 14 more")
    assert by_end["workload"].source.drawn.endswith("and 6 more")
    for told in (found.table(), json.dumps(found.to_json())):
        for part in ("web-11", "10.39.0.0/16", "199"):
            assert part in told
        assert " more" not in told
        assert "…" not in told


def test_the_table_of_a_matrix_names_every_workload_of_a_row():
    pods = [pod(f"web-{n}", app="web") for n in range(12)]
    found = policy.compile(only_ingress(*pods, pod("db"), admit("db", "web", 5432)))
    table = allowed.Allowed.of(found.connections())
    assert "and 6 more" in table.dot()
    for told in (table.table(), json.dumps(table.to_json())):
        assert "web-11" in told
        assert " more" not in told


def test_a_change_of_ports_has_both_in_table_and_json():
    before = only_ingress(pod("web"), pod("db"), admit("db", "web", 1))
    after = only_ingress(pod("web"), pod("db"), admit("db", "web", 2))
    found = difference.of_changes(policy.diff(policy.compile(before), policy.compile(after)))
    assert "TCP 1, now TCP 2" in found.table()
    (edge,) = found.to_json()["edges"]
    assert (edge["before"], edge["ports"]) == ("TCP 1", "TCP 2")
