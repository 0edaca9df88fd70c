"""The assembled cluster: streams of pods and the lab's API group, on real pods and packets."""

import gc
import json
import shutil
import subprocess
import threading
import urllib.request
import warnings

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

from k8slab.errors import ApiStatusError
from k8slab.grading.polling import Polling

LAB = "/apis/lab.k8slab.dev/v1"
DENY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "shut"}},
        "policyTypes": ["Ingress", "Egress"],
    },
}


def pod(name, *args, image="k8slab/app", command=None):
    container = {"name": "main", "image": image, "args": list(args)}
    if command:
        container["command"] = command
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


# The official client leaves its sockets to the garbage collector: within a test or after it.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def _collect():
    """Collect what the official client left, so that no other test is blamed for it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def until(look):
    """Look until there is something to see."""
    polling = Polling(look=look, good=bool, quiet=lambda _: False, deadline=60.0, settled=1)
    return polling.run()


@pytest.fixture(scope="module")
def place(cluster):
    """A namespace with pods: open (TCP and UDP), shut (isolated), chatty (restarts once)."""
    space = "daemon-test"
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}])
    chatty = "if [ -e /keep/x ]; then echo second; exec sleep 3600; fi; touch /keep/x; seq 1 5"
    restarting = pod("chatty", image="k8slab/toolbox", command=["sh", "-c", chatty])
    restarting["spec"]["volumes"] = [{"name": "keep", "emptyDir": {}}]
    mount = {"name": "keep", "mountPath": "/keep"}
    restarting["spec"]["containers"][0]["volumeMounts"] = [mount]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "open"},
        "spec": {"selector": {"app": "open"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    pods = [pod("open", "--port", "8080", "--udp", "9090"), pod("shut"), restarting]
    cluster.apply([*pods, service, DENY], namespace=space)
    for name in ("open", "shut", "chatty"):
        cluster.wait("pods", name, space)
    # It is Ready in its first life, too; and a name server hears of a Service after the nodes do.
    assert until(lambda: log(cluster, space) == "second\n")
    named = ("open", "open", 80, "TCP")
    assert until(lambda: probe(cluster, space, named)[0]["outcome"] != "unresolved")
    yield space
    cluster.delete("namespaces", space)


def address(cluster, place, name):
    return cluster.get("pods", name, place)["status"]["podIP"]


def probe(cluster, place, *flows, deadline=4.0):
    """Probe (source, destination, port, protocol) flows; a source without a kind is a pod."""
    body = {"deadlineSeconds": deadline, "flows": []}
    for source, to, port, protocol in flows:
        kind, _, name = source.rpartition("/")
        where = {kind: name} if kind else {"namespace": place, "pod": name}
        body["flows"].append({"from": where, "to": to, "port": port, "protocol": protocol})
    return cluster.request("POST", f"{LAB}/probes", body)["results"]


def run(cluster, place, name, argv, *, stdin=None, container="main"):
    """Run a command with the official client; return stdout, stderr and the exit code."""
    response = stream(
        core(cluster).connect_get_namespaced_pod_exec,
        name,
        place,
        container=container,
        command=argv,
        stdin=stdin is not None,
        stdout=True,
        stderr=True,
        tty=False,
        _preload_content=False,
    )
    if stdin is not None:
        response.write_stdin(stdin)
    response.run_forever(timeout=20)
    out, err, code = response.read_stdout(), response.read_stderr(), response.returncode
    response.close()
    return out, err, code


def core(cluster):
    return client.CoreV1Api(cluster.client)


def test_flows_have_the_outcomes_that_the_packets_have(cluster, place):
    there, shut = address(cluster, place, "open"), address(cluster, place, "shut")
    results = probe(
        cluster,
        place,
        ("open", there, 8080, "TCP"),
        ("open", there, 8081, "TCP"),
        ("open", there, 9090, "UDP"),
        ("open", there, 9091, "UDP"),
        ("open", shut, 8080, "TCP"),
        ("shut", there, 9090, "UDP"),
        ("open", "open", 80, "TCP"),
        ("open", "example.com", 80, "TCP"),
        ("open", "nowhere", 80, "TCP"),
        ("node/test-worker", there, 8080, "TCP"),
        ("world/internet", there, 8080, "TCP"),
        ("gone", there, 8080, "TCP"),
        ("world/moon", there, 8080, "TCP"),
    )
    assert [result["outcome"] for result in results] == [
        *("open", "refused", "open", "refused", "silent", "silent", "open", "open"),
        *("unresolved", "open", "refused", "failed", "failed"),
    ]
    assert results[10]["detail"] == "network is unreachable"  # outside, pods have no route
    assert results[11]["detail"] == f"there is no pod {place}/gone"
    assert results[7]["address"] == "203.0.113.10"


def test_what_a_pod_puts_in_place_of_its_resolv_conf_holds_nobody_up(cluster, place):
    for trick in ("mkfifo", "ln -s /dev/zero", "truncate -s 60000000"):
        script = f"rm /etc/resolv.conf; {trick} /etc/resolv.conf"
        assert cluster.exec(place, "chatty", ["sh", "-c", script]).code == 0
        [result] = probe(cluster, place, ("chatty", "open", 80, "TCP"))
        assert result["outcome"] == "unresolved"


def test_a_drop_by_a_policy_is_observed_long_before_the_deadline(cluster, place):
    shut = address(cluster, place, "shut")
    [result] = probe(cluster, place, ("open", shut, 8080, "TCP"), deadline=60)
    denial = result["denial"]
    assert result["seconds"] < 30
    assert (denial["direction"], denial["pod"]["name"]) == ("ingress", "shut")
    assert denial["source"] == address(cluster, place, "open")
    assert denial["destinationPort"] == 8080


def test_a_name_that_a_policy_keeps_from_being_asked_is_unresolved_at_once(cluster, place):
    [result] = probe(cluster, place, ("shut", "open", 80, "TCP"), deadline=30)
    assert result["outcome"] == "unresolved"
    assert result["denial"]["direction"] == "egress"
    assert result["denial"]["protocol"] == "UDP"


def test_denials_are_numbered_and_can_be_asked_for_from_a_number_on(cluster, place):
    there = address(cluster, place, "open")
    probe(cluster, place, ("shut", there, 8080, "TCP"))
    items = cluster.request("GET", f"{LAB}/denials")["items"]
    last = items[-1]["number"]
    probe(cluster, place, ("shut", there, 8081, "TCP"))
    new = cluster.request("GET", f"{LAB}/denials?since={last}")["items"]
    # A busy machine may have sent the first packet once more before it heard of the drop.
    assert [one["number"] for one in new] == [*range(last + 1, last + 1 + len(new))]
    assert 8081 in {one["destinationPort"] for one in new}
    assert cluster.request("GET", f"{LAB}/denials?since={last + 1000}")["items"] == []


def test_a_node_runs_commands_in_its_own_network(cluster):
    path = f"{LAB}/nodes/test-worker/commands"
    answer = cluster.request("POST", path, {"argv": ["ip", "-4", "-o", "address"]})
    assert answer["code"] == 0
    assert "172.18.0.3/16" in answer["stdout"]
    answer = cluster.request("POST", path, {"argv": ["sleep", "9"], "deadlineSeconds": 0.1})
    assert answer["code"] == 124
    with pytest.raises(ApiStatusError, match='nodes "moon" not found'):
        cluster.request("POST", f"{LAB}/nodes/moon/commands", {"argv": ["true"]})
    with pytest.raises(ApiStatusError, match="no-such-program"):
        cluster.request("POST", path, {"argv": ["no-such-program"]})


def test_a_stopped_kubelet_starts_nothing_until_it_is_back(cluster, place):
    path = f"{LAB}/nodes/test-worker/agent"
    assert cluster.request("POST", path, {"running": False})["running"] is False
    waits, runs = pod("waits", "--port", "8080"), pod("runs", "--port", "8080")
    waits["spec"]["nodeName"], runs["spec"]["nodeName"] = "test-worker", "test-control-plane"
    try:
        cluster.apply([waits], namespace=place)
        cluster.apply([runs], namespace=place)
        cluster.wait("pods", "runs", place)
        assert "podIP" not in cluster.get("pods", "waits", place)["status"]
    finally:
        cluster.request("POST", path, {"running": True})
    cluster.wait("pods", "waits", place)
    for name in ("waits", "runs"):
        cluster.delete("pods", name, place, grace=0)
    with pytest.raises(ApiStatusError, match='nodes "moon" not found'):
        cluster.request("POST", f"{LAB}/nodes/moon/agent", {"running": False})


def test_agents_of_a_node_that_are_started_again_make_good_what_was_broken(cluster):
    path, node = f"{LAB}/nodes/test-worker/agent", "test-worker"
    assert set(cluster.request("GET", path)["agents"].values()) == {True}

    def routes():
        return sorted(cluster.node_run(node, ["ip", "route"]).stdout.splitlines())

    before = routes()
    try:
        for agent in ("kube-proxy", "network-agent"):
            cluster.request("POST", path, {"agent": agent, "running": False})
        assert not cluster.request("GET", path)["agents"]["kube-proxy"]
        cluster.node_run(node, ["nft", "flush", "ruleset"])
        cluster.node_run(node, ["ip", "route", "flush", "proto", "80"])
        assert cluster.node_run(node, ["nft", "list", "ruleset"]).stdout == ""
    finally:
        for agent in ("kube-proxy", "network-agent"):
            cluster.request("POST", path, {"agent": agent, "running": True})
    # A pod of an earlier test may still have had its route.
    pods = {pod["status"].get("podIP") for pod in cluster.list("pods")}
    lost = {line.split()[0] for line in set(before) - set(routes())}
    assert set(routes()) <= set(before)
    assert [one for one in lost if "/" in one or one in pods] == []
    assert "network-policy" in cluster.node_run(node, ["nft", "list", "tables"]).stdout
    with pytest.raises(ApiStatusError, match="agent must be one of kubelet, kube-proxy"):
        cluster.request("POST", path, {"agent": "cron", "running": True})


def test_a_node_without_network_configuration_is_not_ready_and_gives_no_pod_a_network(
    cluster, place
):
    path = f"{LAB}/nodes/test-worker/agent"
    made = pod("unplugged", "--port", "8080")
    made["spec"]["nodeName"] = "test-worker"
    try:
        cluster.request("POST", path, {"agent": "cni", "running": False})
        cluster.wait("nodes", "test-worker", until="condition=Ready=False")
        cluster.apply([made], namespace=place)
        events = cluster.watch("events", place)
        seen = {one["reason"] for one in cluster.list("events", place)}
        while "NetworkNotReady" not in seen:
            seen.add(next(events)["object"]["reason"])
        assert "podIP" not in cluster.get("pods", "unplugged", place)["status"]
    finally:
        cluster.request("POST", path, {"agent": "network-agent", "running": True})
    cluster.wait("pods", "unplugged", place)
    cluster.wait("nodes", "test-worker")
    cluster.delete("pods", "unplugged", place, grace=0)


def test_a_pod_asks_the_api_with_its_token_and_may_what_its_role_says(cluster, place):
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    url = f"https://kubernetes.default.svc/api/v1/namespaces/{place}/pods"
    command = (
        f'curl -sS -o /dev/null -w "%{{http_code}}" --cacert {account}/ca.crt '
        f'-H "Authorization: Bearer $(cat {account}/token)" {url}'
    )
    cluster.apply([pod("asks", image="k8slab/toolbox", command=["sleep", "3600"])], namespace=place)
    cluster.wait("pods", "asks", place)
    assert run(cluster, place, "asks", ["sh", "-c", command]) == ("403", "", 0)
    group = "rbac.authorization.k8s.io"
    may_look = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "look"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": place}],
    }
    cluster.apply([may_look], namespace=place)
    assert run(cluster, place, "asks", ["sh", "-c", command]) == ("200", "", 0)
    cluster.delete("pods", "asks", place, grace=0)


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ({"from": {}, "to": "a", "port": 1}, r"flows\[0\].from must name"),
        ({"from": {"node": "n"}, "to": "", "port": 1}, r"flows\[0\].to must be"),
        ({"from": {"node": "n"}, "to": "a", "port": 0}, r"flows\[0\].port must be"),
        ({"from": {"node": "n"}, "to": "a", "port": 1, "protocol": "X"}, "TCP or UDP"),
    ],
)
def test_a_wrong_flow_is_refused_with_its_field(cluster, flow, message):
    with pytest.raises(ApiStatusError, match=message):
        cluster.request("POST", f"{LAB}/probes", {"flows": [flow]})


def test_the_lab_group_says_what_the_cluster_is_and_stands_in_discovery(cluster):
    about = cluster.request("GET", f"{LAB}/cluster")
    wanted = {"probe", "nodes", "denials", "trace", "world", "agents", "load-balancer"}
    assert set(about["capabilities"]) - {"small-conntrack"} == wanted  # of the machine
    assert about["config"]["name"] == about["name"] == "test"
    names = {row["name"] for row in cluster.request("GET", LAB)["resources"]}
    assert {"probes", "denials", "nodes/commands"} <= names


def test_a_command_runs_with_its_input_and_tells_its_exit_code(cluster, place):
    argv = ["sh", "-c", "read x; echo got $x; echo bad >&2; exit 9"]
    assert run(cluster, place, "open", argv, stdin="word\n") == ("got word\n", "bad\n", 9)


def test_what_cannot_run_is_told_as_a_real_cluster_does(cluster, place):
    with pytest.raises(ApiException, match="container nope is not valid for pod open"):
        run(cluster, place, "open", ["true"], container="nope")
    with pytest.raises(ApiException, match=r"pods .*gone.* not found"):
        run(cluster, place, "gone", ["true"])
    response = stream(
        core(cluster).connect_get_namespaced_pod_exec,
        "open",
        place,
        command=["no-such-program"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
        _preload_content=False,
    )
    response.run_forever(timeout=20)
    status = json.loads(response.read_channel(3))
    response.close()
    assert 'exec: "no-such-program": executable file not found in $PATH' in status["message"]


def log(cluster, place, name="chatty", **options):
    return core(cluster).read_namespaced_pod_log(name, place, **options)


def test_logs_have_the_options_of_the_real_ones(cluster, place):
    assert log(cluster, place) == "second\n"
    assert log(cluster, place, previous=True) == "1\n2\n3\n4\n5\n"
    assert log(cluster, place, previous=True, tail_lines=2) == "4\n5\n"
    assert log(cluster, place, previous=True, limit_bytes=3) == "1\n2"
    stamped = log(cluster, place, previous=True, timestamps=True, tail_lines=1)
    assert stamped.startswith("20")
    assert stamped.endswith("Z 5\n")
    assert log(cluster, place, since_seconds=3600) == "second\n"
    with pytest.raises(ApiException, match=r"previous terminated container .*main.* not found"):
        log(cluster, place, "open", previous=True)
    with pytest.raises(ApiException, match="tailLines: Invalid value: -1"):
        log(cluster, place, tail_lines=-1)


def test_a_followed_log_shows_what_is_written_later(cluster, place):
    response = core(cluster).read_namespaced_pod_log(
        "open", place, follow=True, _preload_content=False, tail_lines=0
    )
    lines = []
    reader = threading.Thread(target=lambda: lines.append(response.readline()))
    reader.start()
    for _ in range(30):  # the first line may be written before the following has begun
        run(cluster, place, "open", ["curl", "-s", "http://localhost:8080/found-in-the-log"])
        reader.join(2)
        if lines:
            break
    response.close()
    assert b"/found-in-the-log" in lines[0]


def test_a_port_is_forwarded_into_the_pod(cluster, place):
    forward = portforward(
        core(cluster).connect_get_namespaced_pod_portforward, "open", place, ports="8080"
    )
    with forward.socket(8080)._socket as sock:
        sock.settimeout(30)
        sock.sendall(b"GET /hi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    forward.close()
    forward.websocket.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"pod: open" in answer


kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def kubectl_run(cluster, *words, **more):
    command = ["kubectl", f"--kubeconfig={cluster.kubeconfig}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


@kubectl
def test_kubectl_execs_with_input_and_exit_code(cluster, place):
    words = ("exec", "-i", "-n", place, "open", "--", "sh", "-c", "cat; echo e >&2; exit 4")
    done = kubectl_run(cluster, *words, input="in")
    assert (done.returncode, done.stdout) == (4, "in")
    assert done.stderr == "e\ncommand terminated with exit code 4\n"


@kubectl
def test_kubectl_forwards_a_port(cluster, place):
    process = subprocess.Popen(
        [
            *("kubectl", f"--kubeconfig={cluster.kubeconfig}", "port-forward"),
            *("-n", place, "service/open", ":80"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            said = process.stdout.readline()  # Forwarding from 127.0.0.1:PORT -> 8080
            assert said.startswith("Forwarding from 127.0.0.1:")
            port = said.split()[2].rpartition(":")[2]
            for _ in range(3):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    assert b"pod: open" in answer.read()
        finally:
            process.terminate()
