"""Services of every type: which pods and ports are meant, and what policies see of a flow.

docs: kubernetes.io, "Service" and "Virtual IPs and Service Proxies".
"""

import pytest
import yaml

from k8slab import policy
from k8slab.errors import UsageError
from k8slab.policy import Flow

WORLD = """
- {kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}}
- {kind: Node, metadata: {name: n2}, status: {addresses: [{type: InternalIP, address: 172.18.0.3}]}}
- kind: Pod
  metadata: {name: client, namespace: shop, labels: {app: client}}
  spec: {nodeName: n2, containers: [{}]}
  status: {podIP: 10.244.2.9, conditions: [{type: Ready, status: "True"}]}
- kind: Pod
  metadata: {name: db-0, namespace: shop, labels: {app: db}}
  spec: {nodeName: n1, containers: [{ports: [{name: sql, containerPort: 5432}]}]}
  status: {podIP: 10.244.1.1, conditions: [{type: Ready, status: "True"}]}
- kind: Pod
  metadata: {name: db-1, namespace: shop, labels: {app: db}}
  spec: {nodeName: n2, containers: [{ports: [{name: sql, containerPort: 6432}]}]}
  status: {podIP: 10.244.2.1, conditions: [{type: Ready, status: "False"}]}
"""


def service(name="db", ports=({"port": 80, "targetPort": "sql", "name": "main"},), **spec):
    body = {"selector": {"app": "db"}, "ports": [*ports], **spec}
    if body["selector"] is None:
        del body["selector"]
    return {"kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": body}


def admitting(*ports, peers=None, app="db", section="ingress"):
    rule = {"ports": [{"port": port} for port in ports]}
    if peers is not None:
        rule["from" if section == "ingress" else "to"] = peers
    spec = {
        "podSelector": {"matchLabels": {"app": app}},
        "policyTypes": [section.capitalize()],
        section: [rule],
    }
    return {"kind": "NetworkPolicy", "metadata": {"name": f"{app}-{section}", "namespace": "shop"},
            "spec": spec}  # fmt: skip


def decide(destination, port, *objects, source="shop/client"):
    estate = policy.compile([*yaml.safe_load(WORLD), *objects])
    return estate.decide(Flow.of(source, destination, port))


def test_policy_is_decided_on_the_pods_port_after_translation():
    assert decide("svc:shop/db", 80, service(), admitting(5432)).allowed
    assert not decide("svc:shop/db", 80, service(), admitting(80)).allowed


def test_a_port_of_the_service_may_be_asked_by_name():
    assert decide("svc:shop/db", "main", service(), admitting(5432)).allowed


def test_a_pod_that_is_not_ready_gets_no_traffic_unless_the_service_wants_it():
    both = service(publishNotReadyAddresses=True)
    assert decide("svc:shop/db", 80, service(), admitting(5432)).allowed
    assert not decide("svc:shop/db", 80, both, admitting(5432)).allowed
    assert decide("svc:shop/db", 80, both, admitting(5432, 6432)).allowed


def test_the_services_address_is_the_service():
    with_address = service(clusterIP="10.96.0.20", clusterIPs=["10.96.0.20"])
    assert decide("ip:10.96.0.20", 80, with_address, admitting(5432)).allowed
    assert not decide("ip:10.96.0.20", 80, with_address, admitting(80)).allowed


def test_a_headless_service_translates_no_number():
    headless = service(clusterIP="None")
    assert decide("svc:shop/db", 5432, headless, admitting(5432)).allowed
    assert not decide("svc:shop/db", 80, headless, admitting(5432)).allowed
    assert decide("svc:shop/db", "main", headless, admitting(5432)).allowed, "SRV names the port"


def test_a_service_without_selector_leads_where_its_slices_say():
    bare = service("legacy", selector=None, ports=[{"port": 80}])
    metadata = {"name": "legacy-1", "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "legacy"}}  # fmt: skip
    endpoints = [{"addresses": ["192.168.1.10"]}, {"addresses": ["10.244.1.1"]}]
    found = {"kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
             "endpoints": endpoints, "ports": [{"port": 5432}]}  # fmt: skip
    to_legacy = [{"ipBlock": {"cidr": "192.168.1.0/24"}}]
    rule = admitting(5432, peers=to_legacy, app="client", section="egress")
    assert decide("svc:shop/legacy", 80, bare, found).allowed
    assert not decide("svc:shop/legacy", 80, bare, found, rule).allowed, "one endpoint is a pod"
    found["endpoints"].pop()
    assert decide("svc:shop/legacy", 80, bare, found, rule).allowed


def test_endpoints_serve_where_slices_are_missing():
    bare = service("legacy", selector=None, ports=[{"port": 80}])
    subset = {"addresses": [{"ip": "192.168.1.10"}], "ports": [{"port": 5432}]}
    found = {"kind": "Endpoints", "metadata": {"name": "legacy", "namespace": "shop"},
             "subsets": [subset]}  # fmt: skip
    closed = admitting(1, app="client", section="egress")
    assert not decide("svc:shop/legacy", 80, bare, found, closed).allowed


def test_an_external_name_cannot_be_decided():
    alias = service(type="ExternalName", externalName="example.com", selector=None, ports=[])
    with pytest.raises(UsageError, match="alias for a name outside"):
        decide("svc:shop/db", 80, alias)


@pytest.mark.parametrize("port", [81, "other"])
def test_a_port_that_the_service_has_not_is_an_error(port):
    with pytest.raises(UsageError, match=f"Service shop/db has no port {port}/TCP"):
        decide("svc:shop/db", port, service())


OUTSIDE = {"cidr": "203.0.113.0/24"}
NODES = {"cidr": "172.18.0.0/16"}


def from_outside(block, **spec):
    made = service(type="LoadBalancer", **spec)
    rule = admitting(5432, peers=[{"ipBlock": block}])
    return decide("svc:shop/db", 80, made, rule, source="ip:203.0.113.9").allowed


def test_a_load_balancer_hides_the_client_behind_other_nodes():
    assert not from_outside(OUTSIDE)
    assert not from_outside(NODES), "a packet may come by the pod's own node"
    assert from_outside({"cidr": "0.0.0.0/0"})


def test_external_traffic_policy_local_keeps_the_client():
    assert from_outside(OUTSIDE, externalTrafficPolicy="Local")
    assert not from_outside(NODES, externalTrafficPolicy="Local")


PORTS = ({"port": 80, "targetPort": "sql", "nodePort": 30080},)


def test_a_node_port_leads_to_the_pods_and_hides_the_client():
    made = service(type="NodePort", ports=PORTS)
    rule = admitting(5432, peers=[{"ipBlock": {"cidr": "172.18.0.3/32"}}])
    assert decide("node:n2", 30080, made, rule, source="ip:203.0.113.9").allowed
    assert not decide("node:n1", 30080, made, rule, source="ip:203.0.113.9").allowed


def test_on_the_pods_own_node_the_client_is_still_seen():
    made = service(type="NodePort", ports=PORTS)
    rule = admitting(5432, peers=[{"ipBlock": OUTSIDE}])
    assert decide("node:n1", 30080, made, rule, source="ip:203.0.113.9").allowed
    assert not decide("node:n2", 30080, made, rule, source="ip:203.0.113.9").allowed


def test_a_pod_that_asks_another_nodes_port_needs_egress_to_that_node():
    made = service(type="NodePort", ports=PORTS)
    to_node = admitting(30080, peers=[{"ipBlock": {"cidr": "172.18.0.2/32"}}],
                        app="client", section="egress")  # fmt: skip
    to_pods = admitting(5432, peers=[{"podSelector": {}}], app="client", section="egress")
    assert decide("node:n1", 30080, made, to_node).allowed
    assert not decide("node:n1", 30080, made, to_pods).allowed
    assert decide("node:n2", 30080, made, to_pods).allowed, "its own node translates first"


def test_ingress_and_route_tell_which_services_they_expose():
    backend = {"service": {"name": "db", "port": {"name": "main"}}}
    paths = [{"path": "/sql", "backend": backend}]
    ingress = {"kind": "Ingress", "metadata": {"name": "in", "namespace": "shop"},
               "spec": {"defaultBackend": {"service": {"name": "db", "port": {"number": 80}}},
                        "rules": [{"host": "a.test", "http": {"paths": paths}}]}}  # fmt: skip
    rules = [{"matches": [{"path": {"value": "/x"}}],
              "backendRefs": [{"name": "db", "port": 80},
                              {"name": "far", "namespace": "other", "port": 81}]}]  # fmt: skip
    route = {"kind": "HTTPRoute", "metadata": {"name": "rt", "namespace": "shop"},
             "spec": {"hostnames": ["b.test"], "rules": rules}}  # fmt: skip
    estate = policy.compile([ingress, route, service()])
    found = [(e.via, e.host, e.path, e.service, e.port) for e in estate.exposures]
    assert found == [
        ("Ingress shop/in", "", "", "shop/db", 80),
        ("Ingress shop/in", "a.test", "/sql", "shop/db", "main"),
        ("HTTPRoute shop/rt", "b.test", "/x", "shop/db", 80),
        ("HTTPRoute shop/rt", "b.test", "/x", "other/far", 81),
    ]


def route_to(*names):
    paths = [
        {"path": f"/{n}", "backend": {"service": {"name": n, "port": {"number": 80}}}}
        for n in names
    ]
    return {"kind": "Ingress", "metadata": {"name": "in", "namespace": "shop"},
            "spec": {"rules": [{"host": "a.test", "http": {"paths": paths}}]}}  # fmt: skip


def test_a_way_in_is_followed_to_the_workloads_and_to_who_is_admitted_there():
    block = admitting(5432, peers=[{"ipBlock": OUTSIDE}, {"podSelector": {}}])
    made = service(type="NodePort", ports=PORTS)
    estate = policy.compile([*yaml.safe_load(WORLD), made, block, route_to("db", "none")])
    route, broken, node_port = estate.ways_in()
    assert (route.via, node_port.via) == (
        "Ingress shop/in a.test/db",
        "NodePort 30080 on every node",
    )
    for way in (route, node_port):
        assert [str(party) for party in way.workloads] == ["shop/db-0"]
        assert str(way.ports) == "TCP 5432"
        assert OUTSIDE["cidr"] in way.admitted
        assert "shop/client" in way.admitted
    assert (broken.problem, broken.workloads) == ("there is no Service shop/none", ())


def test_a_way_in_that_egress_policies_close_admits_not_those_pods():
    closed = admitting(1, app="client", section="egress")
    estate = policy.compile([*yaml.safe_load(WORLD), service(), closed, route_to("db")])
    assert "shop/client" not in estate.ways_in()[0].admitted
