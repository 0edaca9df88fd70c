import random
import re
import shutil
import xml.etree.ElementTree as ET

import pytest

from k8slab import programs
from k8slab.graphs import Topology, dot, html_table
from k8slab.graphs import matrix as matrix_graph
from k8slab.graphs.svg import Picture
from k8slab.policy import Flow, Party, inventory, services
from k8slab.probes import Matrix, Observation, Outcome, Port
from k8slab.programs import Completed

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")

NODES = [{"metadata": {"name": "n1"}}, {"metadata": {"name": "n2"}}]
READY = {"conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.244.0.1"}
PODS = [
    {
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1"},
        "status": READY,
    },
    {"metadata": {"name": 'odd"\\name', "namespace": "shop"}, "spec": {}, "status": {}},
]
SERVICES = [
    {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
]


@pytest.fixture
def topology():
    return Topology.of(NODES, PODS, SERVICES)


def test_the_dot_text_has_a_box_for_each_node_and_an_edge_for_each_backend(topology):
    text = topology.dot()
    assert 'subgraph cluster_0 { label="node n1";' in text
    assert '"svc:shop/web" -> "shop/web";' in text
    assert len([line for line in text.splitlines() if "->" in line and "invis" not in line]) == 1
    assert 'style="rounded,dashed"' in text  # not ready, without colour


def test_everything_in_the_picture_is_in_text_and_table(topology):
    for place in (topology.text(), topology.table(), topology.alt()):
        for word in ("n1", "(no node yet)", "shop/web"):
            assert word in place, place
    assert "no pods" in topology.alt()  # n2


def test_a_service_selects_pods_that_are_not_ready_and_nobody_says_that_it_leads_there():
    labels = {"app": "web"}
    waits = {"metadata": {"name": "new", "namespace": "shop", "labels": labels},
             "spec": {"nodeName": "n1"}, "status": {"podIP": "10.244.0.2"}}  # fmt: skip
    found = Topology.of(NODES, [PODS[0], waits], SERVICES)
    assert '"svc:shop/web" -> "shop/new" [style=dashed];' in found.dot()
    assert '"svc:shop/web" -> "shop/web";' in found.dot()
    assert "arrows: the pods that a Service selects" in found.dot()
    for told in (found.text(), found.alt()):
        assert "selects shop/new, shop/web" in told
        for word in ("10.244.0.1", "10.244.0.2", "10.96.0.9", "not ready"):
            assert word in told


@needs_dot
def test_the_picture_is_svg_with_a_title(topology):
    picture = topology.picture()
    root = ET.fromstring(picture.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == topology.alt()
    assert root[0].tag.endswith("title")
    assert f'alt="{topology.alt()[:20]}' in picture.html()


def test_too_many_edges_give_a_sentence_and_no_waiting():
    picture = dot.render("digraph {}", "A graph.", edges=dot.EDGES + 1)
    assert "too many to draw" in picture.note
    assert "too many to draw" in ET.fromstring(picture.svg).get("aria-label")


class Slow:
    def find(self, program):
        return program

    def run(self, argv, *, deadline, stdin, env):
        raise TimeoutError


class Missing(Slow):
    def find(self, program):
        return None


@pytest.mark.parametrize(("door", "words"), [(Slow(), "did not end"), (Missing(), "not found")])
def test_a_slow_or_missing_dot_is_said_in_the_picture(door, words):
    with programs.replaced(door):
        picture = dot.render("digraph {}", "A graph.", edges=1)
    assert words in picture.note
    assert words in picture.svg


@needs_dot
def test_dense_graphs_of_the_greatest_size_are_drawn_or_given_up_in_time():
    lines = [f"a{n % 40} -> b{n * 7 % 39}" for n in range(dot.EDGES)]
    picture = dot.render(f"digraph {{ {'; '.join(lines)} }}", "Dense.", edges=dot.EDGES)
    assert picture.svg.startswith("<svg")


def party(name):
    return Party("pod", name, "shop")


@pytest.fixture
def matrix():
    port = Port(80)
    cells = {}
    for source, destination, outcome in (
        ("a", "b<", Outcome.OPEN),
        ("b<", "a", Outcome.SILENT),
    ):
        flow = Flow(party(source), party(destination), 80)
        cells[party(source), party(destination), port] = Observation(flow, outcome)
    both = (party("a"), party("b<"))
    return Matrix(both, both, (port,), cells)


def test_the_matrix_picture_has_a_sign_in_each_cell_and_a_legend(matrix):
    picture = matrix_graph.picture(matrix)
    texts = [e.text for e in ET.fromstring(picture.svg).iter() if e.tag.endswith("}text")]
    assert {"+", "."} <= set(texts)
    assert "+ open: something answered" in texts
    assert "b<" in texts
    assert "2 flows: 1 open, 1 silent" in picture.alt


def test_the_matrix_table_has_words_beside_signs(matrix):
    table = matrix_graph.table(matrix)
    assert ">+ open</td>" in table
    assert ">. silent</td>" in table
    assert "b&lt;" in table


def test_namespaces_of_one_exercise_are_shortened_and_the_picture_says_how():
    pods = [Party("pod", "a", "shop"), Party("pod", "b", "shop-other"), Party("ip", "192.0.2.1")]
    port = Port(80)
    flow = Flow(pods[0], pods[1], 80)
    found = Matrix(
        tuple(pods), tuple(pods), (port,), {(*pods[:2], port): Observation(flow, Outcome.OPEN)}
    )
    picture = matrix_graph.picture(found)
    texts = {e.text for e in ET.fromstring(picture.svg).iter() if e.tag.endswith("}text")}
    note = "Names without a namespace are in shop; \u2026 stands for shop-"
    assert {"a", "\u2026other/b", "ip:192.0.2.1", note} <= texts
    assert note in picture.alt
    assert note in matrix_graph.table(found)


def test_text_in_tables_and_alt_texts_is_escaped():
    assert "<b>" not in html_table(["<b>"], [["<b>"]], "<b>")
    html = Picture("<svg></svg>", 'a "quoted" <b>').html()
    assert re.search(r'alt="a &quot;quoted&quot; &lt;b&gt;"', html)


def test_a_completed_door_is_used():
    class Door(Slow):
        def run(self, argv, *, deadline, stdin, env):
            return Completed(tuple(argv), 0, "<?xml?><svg width='1'><g/></svg>")

    with programs.replaced(Door()):
        assert '<svg role="img" width=' in dot.render("digraph {}", "x", edges=0).svg


def crowd(nodes, workloads):
    """Give every workload a pod on every node, and a Service."""
    pods, services = [], []
    for number in range(workloads):
        space, name = f"team-{number % 4}", f"w{number}"
        owner = [{"kind": "ReplicaSet", "name": name, "controller": True}]
        services.append(
            {"metadata": {"name": name, "namespace": space}, "spec": {"selector": {"app": name}}}
        )
        labels = {"labels": {"app": name}, "ownerReferences": owner, "namespace": space}
        pods += [
            {"metadata": {"name": f"{name}-{n}", **labels}, "spec": {"nodeName": f"n{n}"}}
            for n in range(nodes)
        ]
    return Topology.of([{"metadata": {"name": f"n{n}"}} for n in range(nodes)], pods, services)


@pytest.mark.parametrize(
    ("nodes", "workloads", "boxes"),
    [(2, 20, 40), (3, 50, 12), (5, 100, 20), (200, 40, 4)],
    ids=["every pod", "namespaces on 3 nodes", "namespaces on 5 nodes", "namespaces"],
)
def test_of_many_pods_those_that_belong_together_are_one_box(nodes, workloads, boxes):
    topology = crowd(nodes, workloads)
    shown = topology.readable()
    assert len(shown.pods) == boxes
    assert shown.size <= 120
    assert len(topology.to_json()["pods"]) == nodes * workloads
    assert f"{nodes * workloads} pods in {boxes} boxes" in topology.dot() or shown is topology
    assert len(topology.alt()) < 4000


def boxes_from_above(svg):
    """Return what stands above the boxes of nodes, from the upper to the lower one."""
    place = {"svg": "http://www.w3.org/2000/svg"}
    found = []
    for box in ET.fromstring(svg).iterfind(".//svg:g[@class='cluster']", place):
        corners = box.find("svg:polygon", place).get("points").split()
        top = min(float(corner.partition(",")[2]) for corner in corners)
        found.append((top, box.find("svg:text", place).text))
    return [title for _, title in sorted(found)]


@needs_dot
@pytest.mark.parametrize("seed", range(4))
def test_nodes_are_drawn_in_their_order_whatever_arrows_would_like_better(seed):
    draw = random.Random(seed)
    nodes = [{"metadata": {"name": f"n{number}"}} for number in range(4)]
    apps = ["web", "api", "db"]
    pods = [
        {
            "metadata": {"name": f"p{n}", "namespace": "s", "labels": {"app": draw.choice(apps)}},
            "spec": {"nodeName": f"n{draw.randrange(3)}"},
            "status": READY,
        }
        for n in range(9)
    ]
    services = [
        {
            "metadata": {"name": app, "namespace": "s"},
            "spec": {"clusterIP": "10.96.0.9", "selector": {"app": app}, "ports": [{"port": 80}]},
        }
        for app in apps
    ]
    drawn = Topology.of(nodes, pods, services).file("svg")
    assert boxes_from_above(drawn) == ["node n0", "node n1", "node n2", "node n3"]


@needs_dot
def test_a_topology_without_nodes_is_drawn():
    assert Topology.of([], [], []).file("svg").startswith(b"<svg")


@needs_dot
def test_five_hundred_workloads_on_a_hundred_nodes_are_drawn():
    assert crowd(100, 50).file("svg").startswith(b"<svg")


def test_manifests_without_pods_are_drawn_by_their_templates():
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}
    objects = [
        {"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
         "spec": {"template": template}},
        {"kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
         "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}},
    ]  # fmt: skip
    kinds = inventory.Kinds.sort(objects)
    pods = inventory.take(kinds).pods.values()
    topology = Topology.planned([], pods, services.read_services(kinds).values())
    assert '"svc:shop/web" -> "shop/deployment/web";' in topology.dot()
    assert "deployment/web  template" in topology.text()
