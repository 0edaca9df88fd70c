"""Services as a learner meets them: who is reached by which way, and whom the server sees."""

import re
import time

import pytest
from pods_kit import READY, WEB, app, container, pod, service, sh, workload

from k8slab.testing.names import until_known

LAB = "/apis/lab.k8slab.dev/v1"


@pytest.fixture
def net(cluster, namespace):
    """Give a client on the first worker, and run scripts in it."""
    client = pod("net", container("busybox", "sleep 3600"), nodeName=f"{cluster.name}-worker")
    cluster.apply([client], namespace=namespace)
    cluster.wait("pods", "net", namespace)
    return sh(cluster, namespace, "net")


@pytest.fixture
def web(cluster, namespace):
    """Give a server on the second worker, and a ClusterIP before it."""
    server = pod("web", app(readinessProbe=READY), nodeName=f"{cluster.name}-worker2")
    cluster.apply([server], namespace=namespace)
    cluster.wait("pods", "web", namespace)
    # Last, since a Service is answered when the kernel leads to the pods that are ready.
    cluster.apply([service("web", **WEB)], namespace=namespace)
    until_known(cluster, "web", namespace)


def ip(cluster, namespace, name):
    return cluster.get("pods", name, namespace)["status"]["podIP"]


def outcomes(cluster, *flows):
    """Probe (where from, address, port) flows."""
    body = [{"from": f, "to": to, "port": port, "protocol": "TCP"} for f, to, port in flows]
    answer = cluster.request("POST", f"{LAB}/probes", {"flows": body, "deadlineSeconds": 10})
    return [result["outcome"] for result in answer["results"]]


@pytest.mark.usefixtures("web")
def test_the_server_sees_the_clients_pod_across_nodes_and_through_a_cluster_ip(
    cluster, namespace, net
):
    mine = ip(cluster, namespace, "net")
    for way in (f"{ip(cluster, namespace, 'web')}:8080", "web", f"web.{namespace}.svc"):
        assert f"you are: {mine}:" in net(f"curl -s http://{way}/")


@pytest.mark.usefixtures("web")
def test_a_pod_reaches_itself_through_its_service(cluster, namespace):
    # The name alone is the pod's own, in its /etc/hosts.
    shown = sh(cluster, namespace, "web")(f"curl -s http://web.{namespace}/")
    assert "pod: web" in shown
    assert f"you are: {ip(cluster, namespace, 'web')}:" not in shown  # masqueraded


@pytest.mark.usefixtures("web")
def test_a_node_port_and_a_load_balancer_answer_outside_the_cluster(cluster, namespace):
    (balanced,) = cluster.apply([service("lb", type="LoadBalancer", **WEB)], namespace=namespace)
    port = balanced["spec"]["ports"][0]["nodePort"]
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    (balanced,) = cluster.wait("services", "lb", namespace, until=path)
    address = balanced["status"]["loadBalancer"]["ingress"][0]["ip"]
    nodes = [
        next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
        for node in cluster.list("nodes")
    ]
    laptop, node = {"world": "laptop"}, {"node": f"{cluster.name}-worker"}
    flows = [(source, target, port) for source in (laptop, node) for target in nodes]
    flows += [(laptop, address, 80), (node, address, 80)]
    # The address is shown before a node answers for it and the rules have it, as elsewhere.
    ends = time.monotonic() + 60
    while (seen := outcomes(cluster, *flows)) != ["open"] * len(flows):
        assert time.monotonic() < ends, seen
    no_node_port = (laptop, nodes[0], 29_999)
    assert outcomes(cluster, *flows, no_node_port) == ["open"] * len(flows) + ["refused"]


def test_an_external_name_leads_out_and_a_service_without_selector_to_the_old_database(
    cluster, namespace, net
):
    legacy = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "legacy", "labels": {"kubernetes.io/service-name": "legacy"}},
        "addressType": "IPv4",
        "ports": [{"port": 5432, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["192.168.1.10"]}],
    }
    out = service("out", type="ExternalName", externalName="example.com")
    cluster.apply([out, service("legacy", ports=[{"port": 5432}]), legacy], namespace=namespace)
    until_known(cluster, "legacy", namespace)  # which was made after the other one
    look = f"dig +short out.{namespace}.svc.cluster.local"
    assert net(look).split()[0] == "example.com."
    assert "site: example.com" in net("curl -s -H 'Host: example.com' http://out/")
    assert "legacy database ready" in net("nc -w2 legacy 5432 < /dev/null")
    assert net("dig +short @192.168.1.53 db.corp.test") == "192.168.1.10\n"


@pytest.mark.usefixtures("web")
def test_readiness_gates_the_endpoints(cluster, namespace, net):
    server = ip(cluster, namespace, "web")
    assert "pod: web" in net("curl -s http://web/")
    net(f"curl -s -X POST http://{server}:8080/ready/off")
    net("while curl -s http://web/; do :; done; curl -s http://web/", code=7)
    assert "pod: web" in net(f"curl -s http://{server}:8080/")  # it still answers
    net(f"curl -s -X POST http://{server}:8080/ready/on")
    net("until curl -s http://web/; do :; done")


def test_a_rolling_restart_under_load_loses_no_request(cluster, namespace, net):
    cluster.apply([workload("Deployment", "web", 3)], namespace=namespace)
    cluster.wait("deployments.apps", "web", namespace)
    cluster.apply([service("web", **WEB)], namespace=namespace)
    until_known(cluster, "web", namespace)
    net(
        "(while ! [ -e /tmp/stop ]; do curl -0 -s -m 60 -o /dev/null "
        "-w '%{http_code} %{exitcode}\\n' 'http://web/?[1-50]'; done > /tmp/said; "
        "touch /tmp/done) > /dev/null 2>&1 &"
    )
    before = {p["metadata"]["uid"] for p in cluster.list("pods", namespace, selector="app=web")}
    note = {"spec": {"template": {"metadata": {"annotations": {"restarted": "yes"}}}}}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    kind = "application/merge-patch+json"
    cluster.request("PATCH", path, note, content_type=kind)
    cluster.wait("deployments.apps", "web", namespace)
    net("touch /tmp/stop; until [ -e /tmp/done ]; do :; done")
    said = net("sort /tmp/said | uniq -c").split("\n")[:-1]
    assert [line.split()[1:] for line in said] == [["200", "0"]]
    assert int(said[0].split()[0]) >= 50
    after = cluster.list("pods", namespace, selector="app=web")
    living = {p["metadata"]["uid"] for p in after if "deletionTimestamp" not in p["metadata"]}
    assert not living & before


def test_a_stateful_set_starts_in_order_and_its_pods_have_names(cluster, namespace, net):
    headless = service("db", clusterIP="None", selector={"app": "db"}, ports=[{"port": 8080}])
    made = workload("StatefulSet", "db", 2, serviceName="db")
    cluster.apply([headless, made], namespace=namespace)
    cluster.wait("statefulsets.apps", "db", namespace)
    first, second = (cluster.get("pods", f"db-{n}", namespace) for n in (0, 1))
    ready = next(c for c in first["status"]["conditions"] if c["type"] == "Ready")
    assert ready["lastTransitionTime"] <= second["metadata"]["creationTimestamp"]
    # DNS follows the slices, and these the pods.
    assert "pod: db-1" in net("until curl -s http://db-1.db:8080/; do :; done")
    addresses = {p["status"]["podIP"] for p in (first, second)}
    until_known(cluster, "db", namespace)
    look = f"dig +short db.{namespace}.svc.cluster.local"
    assert set(net(look).split()) == addresses
    cluster.delete("pods", "db-0", namespace)

    def is_another(pod):
        return pod["metadata"]["uid"] != first["metadata"]["uid"]

    cluster.wait("pods", "db-0", namespace, until=is_another)
    cluster.wait("pods", "db-0", namespace)
    assert "pod: db-0" in net("until curl -s http://db-0.db:8080/; do :; done")


def test_a_daemon_set_has_one_pod_on_every_node_that_it_tolerates(cluster, namespace):
    made = workload("DaemonSet", "agent")
    cluster.apply([made], namespace=namespace)
    cluster.wait("daemonsets.apps", "agent", namespace)
    pods = cluster.list("pods", namespace)
    nodes = {p["spec"]["nodeName"] for p in pods}
    assert nodes == {f"{cluster.name}-worker", f"{cluster.name}-worker2"}
    made["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]
    cluster.apply([made], namespace=namespace)
    cluster.wait("daemonsets.apps", "agent", namespace, until="jsonpath={.status.numberReady}=3")


def test_a_job_is_complete_when_so_many_pods_have_succeeded(cluster, namespace):
    template = {
        "spec": {"restartPolicy": "Never", "containers": [container("busybox", "echo done")]}
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "three"},
        "spec": {"completions": 3, "parallelism": 2, "template": template},
    }
    cluster.apply([job], namespace=namespace)
    (done,) = cluster.wait("jobs.batch", "three", namespace, until="condition=Complete")
    assert done["status"]["succeeded"] == 3
    logs = [
        cluster.logs(namespace, p["metadata"]["name"])
        for p in cluster.list("pods", namespace, selector="job-name=three")
    ]
    assert logs == ["done\n"] * 3
    assert re.fullmatch(r"three-\w{5}", cluster.list("pods", namespace)[0]["metadata"]["name"])
