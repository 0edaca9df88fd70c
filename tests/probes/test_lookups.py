"""A look-up query by query: paired with its answers, and as a pod of a real cluster does it."""

import json

import pytest

from k8slab.embedded import wire
from k8slab.errors import ProbeError
from k8slab.objects import manifests
from k8slab.policy import Party
from k8slab.probes.lookups import NO_ANSWER, look_up
from k8slab.programs import Completed
from k8slab.testing.fake import FakeCluster
from k8slab.testing.names import until_known

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"containers": [{"name": "web"}]},
}
WEB = Party("pod", "web", "shop")
CONF = "search shop.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n\n"


def asked(number, name, kind=wire.A, port=40000):
    data = wire.question(name, kind, number=number).hex()
    return [True, "10.244.1.2", port, "10.96.0.10", 53, data]


def answered(number, name, *records, kind=wire.A, rcode=wire.NOERROR, flags=0, port=40000):
    query = wire.Message(id=number, flags=wire.RD, name=wire.canonical(name), type=kind)
    reply = query.reply(rcode=rcode)
    found = tuple(wire.Record(query.name, kind, 30, data) for data in records)
    message = wire.replace(reply, flags=reply.flags | flags, answers=found)
    return [False, "10.96.0.10", 53, "10.244.1.2", port, wire.write(message).hex()]


def seen(packets, *, code=0, said="10.96.0.20", lost=0):
    found = {"code": code, "said": said, "seconds": 0.01, "packets": packets, "lost": lost}
    return look(lambda _space, _pod, argv: Completed(tuple(argv), 0, CONF + json.dumps(found), ""))


def look(on_exec):
    cluster = FakeCluster(on_exec=on_exec)
    cluster.apply([POD], namespace="shop")
    return look_up(cluster, WEB, "web")


def test_queries_are_paired_with_their_answers():
    lookup = seen(
        [
            asked(1, "web.shop.svc.cluster.local"),
            asked(2, "web.shop.svc.cluster.local", wire.AAAA),
            answered(2, "web.shop.svc.cluster.local", kind=wire.AAAA),
            answered(1, "web.shop.svc.cluster.local", "10.96.0.20"),
        ]
    )
    first, second = lookup.queries
    assert (first.type, first.server, first.records) == ("A", "10.96.0.10", ("A 10.96.0.20",))
    assert (second.type, second.told) == ("AAAA", "no AAAA record")
    assert lookup.addresses == ("10.96.0.20",)
    assert (lookup.options, len(lookup.search)) == ("ndots:5", 2)


def test_a_query_that_is_sent_again_counts_twice_and_only_one_is_answered():
    lookup = seen([asked(7, "web"), asked(7, "web"), answered(7, "web", "10.96.0.20")])
    assert [query.answer for query in lookup.queries] == [NO_ANSWER, "NOERROR"]


def test_names_of_others_and_what_is_no_dns_are_left_out():
    noise = [True, "10.244.1.2", 40000, "10.96.0.10", 53, "00ff"]
    lookup = seen([noise, asked(1, "db"), asked(2, "web.shop.svc.cluster.local"), asked(3, "webs")])
    assert [query.name for query in lookup.queries] == ["web.shop.svc.cluster.local."]


def test_steps_are_the_names_in_their_order():
    lookup = seen(
        [
            asked(1, "web.svc.cluster.local"),
            answered(1, "web.svc.cluster.local", rcode=wire.NXDOMAIN),
            asked(2, "web"),
            answered(2, "web", "10.96.0.20", flags=wire.TC),
        ],
        code=2,
        said="Name or service not known",
    )
    assert [(name, len(queries)) for name, queries in lookup.steps()] == [
        ("web.svc.cluster.local.", 1),
        ("web.", 1),
    ]
    assert lookup.queries[0].told == "NXDOMAIN (no such name)"
    assert lookup.queries[1].told == "A 10.96.0.20 (truncated)"
    assert lookup.addresses == ()


def test_packets_that_were_lost_are_no_count():
    with pytest.raises(ProbeError, match="3 packets passed shop/web unseen"):
        seen([asked(1, "web")], lost=3)


def test_a_pod_without_python_says_what_it_needs():
    with pytest.raises(ProbeError, match="python3: not found") as caught:
        look(lambda _space, _pod, argv: Completed(tuple(argv), 127, CONF, "sh: python3: not found"))
    assert "python3" in caught.value.hint


@pytest.fixture
def client(cluster, namespace):
    container = {"name": "web", "image": "k8slab/app"}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec}
    cluster.apply([pod, *manifests.load(SERVICE)], namespace=namespace)
    cluster.wait("pods", "client", namespace, until="ready")
    until_known(cluster, "web", namespace)
    return Party("pod", "client", namespace)


SERVICE = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}"


def test_on_a_cluster_the_cost_of_a_name_depends_on_how_it_is_written(cluster, namespace, client):
    full = f"web.{namespace}.svc.cluster.local"
    address = cluster.get("services", "web", namespace)["spec"]["clusterIP"]
    costs = {}
    for name in ("web", f"web.{namespace}", full, f"{full}."):
        found = look_up(cluster, client, name)
        assert found.addresses == (address,)
        costs[name] = len(found.queries)
    assert list(costs.values()) == [2, 4, 8, 2]


def test_on_a_cluster_another_resolver_can_be_watched(cluster, client):
    plain = look_up(cluster, client, "web", command=["dig", "+tries=1", "web"])
    searched = look_up(cluster, client, "web", command=["dig", "+search", "web"])
    assert [query.answer for query in plain.queries] == ["NXDOMAIN"]
    assert [query.type for query in searched.queries] == ["A"]
    assert plain.addresses == ()
    assert len(searched.addresses) == 1
