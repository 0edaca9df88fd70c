"""Clusters with two families, and with IPv6 alone, from the outside: by API, exec and probes."""

import json

import pytest

from k8slab import clusters
from k8slab.clusters import Wanted
from k8slab.embedded.network.netlink import ipv6_exists
from k8slab.errors import EnvironmentLacksError, UsageError
from k8slab.testing.names import until_known

pytestmark = pytest.mark.skipif(not ipv6_exists(), reason="no IPv6 here")
PROBES = "/apis/lab.k8slab.dev/v1/probes"
DEFAULT = "default"


def pod(name, image, **container):
    containers = [{"name": "main", "image": image, **container}]
    metadata = {"name": name, "labels": {"app": name}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": containers},
    }


def service(name, **spec):
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


PODS = [
    pod(
        "web",
        "k8slab/app",
        readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    ),
    pod("client", "k8slab/toolbox", command=["sleep", "infinity"]),
]
SERVICES = [
    service("web", ipFamilyPolicy="PreferDualStack", type="NodePort"),
    service("headless", ipFamilyPolicy="PreferDualStack", clusterIP="None"),
]


@pytest.fixture(scope="module", params=["dual", "ipv6"])
def cluster(request, k8slab_home):
    assert k8slab_home.is_dir()
    name = f"families-{request.param}"
    try:
        handle = clusters.up(name, provider="embedded", wanted=Wanted(ip_family=request.param))
    except EnvironmentLacksError as error:
        pytest.skip(f"no embedded cluster here: {error}")
    try:
        handle.apply(PODS, namespace=DEFAULT)
        handle.wait("pods", "", DEFAULT)
        # A Service that comes after its pods is answered when the nodes lead to them.
        for one in handle.apply(SERVICES, namespace=DEFAULT):
            until_known(handle, one["metadata"]["name"], DEFAULT)
        yield handle
    finally:
        clusters.delete(name)


@pytest.fixture
def families(cluster):
    return ["IPv4", "IPv6"] if "dual-stack" in cluster.capabilities else ["IPv6"]


def family(address):
    return "IPv6" if ":" in address else "IPv4"


def run(cluster, *argv):
    done = cluster.exec(DEFAULT, "client", [*argv])
    assert done.code == 0, done.stderr
    return done.stdout.splitlines()


def of_pods(cluster):
    ips = cluster.get("pods", "web", DEFAULT)["status"]["podIPs"]
    return [entry["ip"] for entry in ips]


def test_nodes_pods_services_and_slices_have_every_family(cluster, families):
    for node in cluster.list("nodes"):
        addresses = [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"]
        assert [family(a) for a in addresses] == families
        assert [family(c) for c in node["spec"]["podCIDRs"]] == families
    status = cluster.get("pods", "web", DEFAULT)["status"]
    assert [family(a) for a in of_pods(cluster)] == families
    assert status["podIP"] == of_pods(cluster)[0]
    assert [family(entry["ip"]) for entry in status["hostIPs"]] == families
    spec = cluster.get("services", "web", DEFAULT)["spec"]
    assert [family(a) for a in spec["clusterIPs"]] == spec["ipFamilies"] == families
    found = cluster.wait(
        "endpointslices.discovery.k8s.io",
        "",
        DEFAULT,
        selector="kubernetes.io/service-name=web",
        until=lambda one: bool(one.get("endpoints")),
    )
    slices = {one["addressType"]: one["endpoints"][0]["addresses"] for one in found}
    assert slices == {family(a): [a] for a in of_pods(cluster)}


def test_the_service_of_the_api_and_the_name_server_have_the_primary_family(cluster, families):
    for namespace, name in (("default", "kubernetes"), ("kube-system", "kube-dns")):
        spec = cluster.get("services", name, namespace)["spec"]
        assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("SingleStack", families[:1])


def test_names_have_an_address_of_each_family_and_lead_back(cluster, families):
    for name, addresses in (
        ("web", cluster.get("services", "web", DEFAULT)["spec"]["clusterIPs"]),
        ("headless", of_pods(cluster)),
    ):
        for kind, version in (("A", "IPv4"), ("AAAA", "IPv6")):
            expected = [a for a in addresses if family(a) == version]
            full = f"{name}.default.svc.cluster.local"
            assert run(cluster, "dig", "+short", full, kind) == expected
    for address in cluster.get("services", "web", DEFAULT)["spec"]["clusterIPs"]:
        assert run(cluster, "dig", "+short", "-x", address) == ["web.default.svc.cluster.local."]


def test_pods_services_node_ports_and_the_world_answer_in_every_family(cluster, families):
    web = cluster.get("services", "web", DEFAULT)["spec"]
    own = [entry["ip"] for entry in cluster.get("pods", "client", DEFAULT)["status"]["podIPs"]]
    for index, address in enumerate(web["clusterIPs"]):
        host = f"[{address}]" if family(address) == "IPv6" else address
        body = "\n".join(run(cluster, "curl", "-sS", "-m30", f"http://{host}/"))
        assert "pod: web" in body
        assert own[index] in body
        option = "-6" if family(address) == "IPv6" else "-4"
        assert "site: example.com" in run(
            cluster, "curl", "-sS", "-m30", option, "https://example.com/"
        )
    flows = [
        {"from": {"world": "laptop"}, "to": a["address"], "port": web["ports"][0]["nodePort"]}
        for node in cluster.list("nodes")
        for a in node["status"]["addresses"]
        if a["type"] == "InternalIP"
    ]
    found = cluster.request("POST", PROBES, {"flows": flows})["results"]
    assert [one["outcome"] for one in found] == ["open"] * 3 * len(families)


def test_hosts_resolver_and_environment_of_a_pod_fit_its_families(cluster, families):
    own = [entry["ip"] for entry in cluster.get("pods", "client", DEFAULT)["status"]["podIPs"]]
    hosts = run(cluster, "cat", "/etc/hosts")
    assert [line.split()[0] for line in hosts if line.endswith("\tclient")] == own
    servers = [line for line in run(cluster, "cat", "/etc/resolv.conf") if "nameserver" in line]
    assert servers == [f"nameserver {'10.96.0.10' if 'IPv4' in families else 'fd00:10:96::a'}"]


def test_in_cluster_clients_reach_the_api(cluster):
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = (
        f'curl -sS -m30 --cacert {account}/ca.crt -H "Authorization: Bearer $(cat {account}/token)"'
        " https://kubernetes.default.svc/version"
    )
    assert json.loads("".join(run(cluster, "sh", "-c", script)))["major"] == "1"


def test_a_policy_is_enforced_and_reported_in_every_family(cluster):
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}},
    }
    flows = [
        {"from": {"namespace": DEFAULT, "pod": "client"}, "to": a, "port": 8080}
        for a in of_pods(cluster)
    ]

    def outcomes():
        return cluster.request("POST", PROBES, {"flows": flows, "deadlineSeconds": 20})["results"]

    assert {one["outcome"] for one in outcomes()} == {"open"}
    cluster.apply([policy], namespace=DEFAULT)
    try:
        for flow, seen in zip(flows, outcomes(), strict=True):
            assert (seen["outcome"], seen["denial"]["destination"]) == ("silent", flow["to"])
    finally:
        cluster.delete("networkpolicies.networking.k8s.io", "closed", DEFAULT)
    assert {one["outcome"] for one in outcomes()} == {"open"}


def test_the_family_is_kept_and_cannot_change(cluster):
    chosen = cluster.name.removeprefix("families-")
    assert clusters.up(cluster.name, wanted=Wanted(ip_family=chosen)).name == cluster.name
    with pytest.raises(UsageError, match="start afresh"):
        clusters.up(cluster.name, wanted=Wanted(ip_family="ipv4"))
    assert ("dual-stack" in clusters.attach(cluster.name).capabilities) == (chosen == "dual")
