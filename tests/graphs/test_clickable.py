"""The clickable policy graph: its answers, and what is left without scripts."""

import json
import re
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from k8slab import policy, programs
from k8slab.errors import EnvironmentLacksError
from k8slab.graphs import flowgraph
from k8slab.graphs.clickable import MOST_TO_CHOOSE, Clickable

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")


def pod(name, port=80, namespace="shop", app=""):
    ports = [{"containerPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app or name}},
        "spec": {"containers": [{"name": "a", "ports": ports}]},
    }


def admit(selected, source, port):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"{selected}-{source}", "namespace": "shop"},
        "spec": {
            "podSelector": {"matchLabels": {"app": selected}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"podSelector": {"matchLabels": {"app": source}}}],
                    "ports": [{"port": port}],
                }
            ],
        },
    }


SHOP = [pod("web"), pod("db", 5432), pod("batch"), admit("db", "web", 5432)]


def clickable(*objects):
    estate = policy.compile(objects)
    graph = flowgraph.of_connections(estate.connections(), title="T", namespaces=["shop"])
    return Clickable(graph, estate)


def answers(made):
    """Return the answers by the labels of the ends, as the script finds them."""
    data = json.loads(re.search(r'application/json">(.*?)</script>', made.html())[1])
    names = {name: key for key, name in made.graph.names().items()}
    labels = {node.key: node.label for node in made.graph.nodes}
    return {
        tuple(labels[names[name]] for name in pair.split()): data["texts"][number]
        for pair, number in data["pairs"].items()
    }


@needs_dot
def test_an_edge_names_the_policy_the_rule_and_the_peer_that_admitted_it():
    told = answers(clickable(*SHOP))["web", "db"]
    assert "TCP 5432 is allowed" in told
    assert "selected by shop/db-web" in told
    assert "rule spec.ingress[0] of NetworkPolicy shop/db-web" in told
    assert "peer from[0] {podSelector: {matchLabels: {app: web}}}" in told


@needs_dot
def test_two_workloads_without_an_edge_say_what_does_not_match():
    told = answers(clickable(*SHOP))["batch", "db"]
    assert "nothing is allowed" in told
    assert "label app=batch is not app=web" in told


@needs_dot
def test_an_address_outside_is_no_subject_of_policies():
    outside = [(a, b) for a, b in answers(clickable(*SHOP)) if a.startswith("outside")]
    assert outside
    told = answers(clickable(*SHOP))[next(pair for pair in outside if pair[1] == "db")]
    assert "no pod that a selector can choose" in told
    assert "egress of" not in told


@needs_dot
def test_replicas_of_one_node_are_explained_by_two_different_pods():
    replicas = [pod("db-1", app="db"), pod("db-2", app="db"), admit("db", "db", 80)]
    made = clickable(*replicas)
    (told,) = (text for pair, text in answers(made).items() if pair[0] == pair[1])
    assert "ingress of shop/db-1: allow, a rule of shop/db-db admits it" in told


@needs_dot
def test_every_edge_and_node_of_the_picture_has_its_answer():
    html = clickable(*SHOP).html()
    data = json.loads(re.search(r'application/json">(.*?)</script>', html)[1])
    drawn = set(re.findall(r'<g id="[0-9a-f]+-((?:n|edge)\d+)" class="(?:node|edge)"', html))
    assert drawn == {*data["edges"], *data["nodes"]}
    assert {*data["edges"].values()} <= {*data["pairs"]}


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []
        self.cells = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


@needs_dot
def test_the_table_says_the_same_where_scripts_and_pictures_are_taken_out():
    tags = Tags()
    tags.feed(clickable(*SHOP).table())
    assert "ingress: a rule of shop/db-web admits it" in " ".join(tags.cells)
    assert "TCP 5432" in tags.cells


def test_the_text_is_there_without_graphviz_too():
    assert "shop: web -> shop: db: TCP 5432" in clickable(*SHOP).text()


@needs_dot
def test_the_name_of_a_file_cannot_end_the_script():
    manifest = SimpleNamespace(object=admit("db", "web", 5432), place="</script><b>:1")
    html = clickable(pod("web"), pod("db", 5432), manifest).html()
    data = re.search(r'application/json">(.*?)</script>', html)[1]
    assert "(</script><b>:1)" in " ".join(json.loads(data)["texts"])


@needs_dot
def test_of_very_many_workloads_edges_are_explained_but_no_pair_can_be_chosen():
    made = clickable(*(pod(f"p{n}", n + 1) for n in range(MOST_TO_CHOOSE + 2)), *[
        admit(f"p{n}", f"p{n + 1}", n + 1) for n in range(MOST_TO_CHOOSE + 1)
    ])  # fmt: skip
    html = made.html()
    assert "<select" not in html
    assert "choose two workloads" not in html


class Missing:
    def find(self, program):
        return None

    def run(self, argv, **_):
        raise EnvironmentLacksError("dot is missing", hint="apt install graphviz")


def test_without_graphviz_the_table_is_left():
    with programs.replaced(Missing()):
        html = clickable(*SHOP).html()
    assert "No picture: " in html
    assert "dot" in html.partition("No picture: ")[2].partition("<")[0]
    assert "<script" not in html
    assert "a rule of shop/db-web admits it" in html
