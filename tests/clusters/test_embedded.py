"""The handle and the command line on a real embedded cluster."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from k8slab import clusters
from k8slab.errors import (
    ApiStatusError,
    ClusterNotReadyError,
    EnvironmentLacksError,
    ProbeError,
    UsageError,
)

COMMAND = [sys.executable, "-c", "from k8slab.cli.main import main; main()"]


def pod(name, image="k8slab/toolbox", command=("sleep", "3600")):
    container = {"name": "main", "image": image}
    if command:
        container["command"] = [*command]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Give a cluster of this module alone, one that can be stopped and killed."""
    with pytest.MonkeyPatch.context() as patch:
        # Short: the path of a Unix socket has at most 108 bytes.
        home = tmp_path_factory.mktemp("e", numbered=True)
        patch.setenv("K8SLAB_HOME", str(home))
        patch.delenv("KUBECONFIG", raising=False)
        patch.delenv("K8SLAB_CLUSTER", raising=False)
        handle = clusters.up("lab", wanted=clusters.Wanted(nodes=2))
        yield handle
        if "lab" in clusters.names():
            clusters.delete("lab")


@pytest.fixture
def namespace(cluster, request):
    name = f"t{abs(hash(request.node.name)) % 10**8}"
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    yield name
    cluster.delete("namespaces", name)


def test_what_is_applied_runs_and_is_found(cluster, namespace):
    (applied,) = cluster.apply([pod("box")], namespace=namespace)
    assert applied["metadata"]["namespace"] == namespace
    (ready,) = cluster.wait("pods", "box", namespace)
    assert ready["status"]["phase"] == "Running"
    assert [p["metadata"]["name"] for p in cluster.list("pods", namespace)] == ["box"]
    assert cluster.list("pods", namespace, selector="app!=box") == []
    cluster.delete("pods", "box", namespace, grace=0)
    assert cluster.wait("pods", "box", namespace, until="delete") == []
    assert cluster.get("pods", "box", namespace) is None


def test_the_handle_reaches_its_cluster_whatever_context_is_current_in_the_file(cluster):
    before = cluster.kubeconfig.read_text()
    content = json.loads(before)
    other = {"name": "other", "context": {"cluster": "nowhere", "user": "nobody"}}
    content |= {"current-context": "other", "contexts": [other, *content["contexts"]]}
    try:
        cluster.kubeconfig.write_text(json.dumps(content))
        assert len(clusters.attach("lab").list("nodes")) == 2
    finally:
        cluster.kubeconfig.write_text(before)


def test_exec_gives_output_and_exit_code_and_takes_input(cluster, namespace):
    cluster.apply([pod("box")], namespace=namespace)
    cluster.wait("pods", "box", namespace)
    done = cluster.exec(namespace, "box", ["sh", "-c", "cat; echo oops >&2; exit 7"], stdin=b"hi")
    assert (done.code, done.stdout, done.stderr) == (7, "hi", "oops\n")
    big = os.urandom(100_000).hex().encode()
    assert cluster.exec(namespace, "box", ["wc", "-c"], stdin=big).stdout.strip() == "200000"
    with pytest.raises(ProbeError, match=r"did not end within 0\.2 s"):
        cluster.exec(namespace, "box", ["sleep", "30"], deadline=0.2)
    with pytest.raises(ApiStatusError) as caught:
        cluster.exec(namespace, "nobody", ["true"])
    assert caught.value.code == 404


def test_hundreds_of_commands_from_several_threads_all_end(cluster, namespace):
    cluster.apply([pod("box")], namespace=namespace)
    cluster.wait("pods", "box", namespace)
    with ThreadPoolExecutor(4) as threads:
        done = threads.map(lambda n: cluster.exec(namespace, "box", ["echo", str(n)]), range(200))
        assert [one.stdout for one in done] == [f"{n}\n" for n in range(200)]


def test_a_command_runs_where_an_event_loop_runs_already_as_in_a_notebook(cluster, namespace):
    cluster.apply([pod("box")], namespace=namespace)
    cluster.wait("pods", "box", namespace)

    async def cell():
        return cluster.exec(namespace, "box", ["echo", "here"])

    assert asyncio.run(cell()).stdout == "here\n"


def test_ctrl_c_ends_a_command_that_runs(cluster, namespace):
    cluster.apply([pod("box")], namespace=namespace)
    cluster.wait("pods", "box", namespace)
    script = "; ".join(
        (
            "import os, signal",
            "from k8slab import clusters",
            "cluster = clusters.attach('lab')",
            "interrupt = lambda: os.kill(os.getpid(), signal.SIGINT) or b''",
            "argv = ['sh', '-c', 'echo begun; sleep 600']",
            f"cluster.exec('{namespace}', 'box', argv, stdin=interrupt, deadline=600)",
        )
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=120
    )
    assert "run_apart" in ended.stderr
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")


def test_logs_are_what_a_container_has_written(cluster, namespace):
    script = ("sh", "-c", "echo one; echo two; sleep 3600")
    cluster.apply([pod("talker", command=script)], namespace=namespace)
    cluster.wait("pods", "talker", namespace)
    ends = time.monotonic() + 30  # without a readiness probe it is ready before it has said a word
    while "two" not in cluster.logs(namespace, "talker") and time.monotonic() < ends:
        pass
    assert cluster.logs(namespace, "talker") == "one\ntwo\n"
    assert cluster.logs(namespace, "talker", tail=1) == "two\n"


def test_a_command_is_answered_when_it_has_said_something(cluster, namespace):
    cluster.apply([pod("asker")], namespace=namespace)
    cluster.wait("pods", "asker", namespace)
    argv = ["sh", "-c", "echo who; read name; echo hello $name"]
    done = cluster.exec(namespace, "asker", argv, stdin=lambda: b"you\n")
    assert (done.code, done.stdout) == (0, "who\nhello you\n")
    silent = cluster.exec(namespace, "asker", ["true"], stdin=lambda: b"nobody asks\n")
    assert silent.code == 0


def test_a_wait_in_vain_says_what_the_cluster_says(cluster, namespace):
    cluster.apply([pod("bad", image="no/such-image", command=())], namespace=namespace)
    reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    cluster.wait("pods", "bad", namespace, until=f"{reason}=ErrImagePull")
    with pytest.raises(ClusterNotReadyError, match=r"ErrImagePull|ImagePullBackOff"):
        cluster.wait("pods", "bad", namespace, deadline=0.5)


def test_a_command_on_a_node_sees_the_nodes_network(cluster):
    done = cluster.node_run("lab-worker", ["ip", "-j", "-4", "address"])
    addresses = [a["local"] for link in json.loads(done.stdout) for a in link["addr_info"]]
    assert "172.18.0.3" in addresses


def test_attaching_gives_the_same_cluster_and_its_capabilities(cluster):
    handle = clusters.attach("lab")
    assert handle.kubeconfig == cluster.kubeconfig
    wanted = {"probe", "nodes", "denials", "trace", "world", "agents", "load-balancer"}
    assert handle.capabilities - {"small-conntrack"} == wanted  # that is of the machine
    by_file = clusters.attach(kubeconfig=cluster.kubeconfig)
    assert by_file.capabilities == handle.capabilities
    node_names = [node["metadata"]["name"] for node in by_file.list("nodes")]
    assert sorted(node_names) == ["lab-control-plane", "lab-worker"]


def test_the_official_client_works_with_the_handle(cluster):
    from kubernetes import client  # noqa: PLC0415

    names = [node.metadata.name for node in client.CoreV1Api(cluster.client).list_node().items]
    assert sorted(names) == ["lab-control-plane", "lab-worker"]
    cluster.client.close()


def test_a_running_cluster_refuses_to_become_another(cluster):
    with pytest.raises(UsageError, match="was made with nodes 2, not 4"):
        clusters.up("lab", wanted=clusters.Wanted(nodes=4))


def test_the_command_line_reports_it(cluster):
    done = subprocess.run(
        [*COMMAND, "status", "--name", "lab", "--json"], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert (found["state"], found["nodes"]) == ("running", ["lab-control-plane", "lab-worker"])
    assert Path(f"/proc/{found['pid']}/comm").read_text() == "k8slab-daemon\n"
    assert 10 * 2**20 < found["memory_bytes"] < 500 * 2**20


@pytest.mark.parametrize("victim", ["pid", "supervisor_pid"])
def test_objects_are_back_after_a_kill(cluster, namespace, victim):
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}
    cluster.apply([data], namespace=namespace)
    status = clusters.status("lab")
    waiting = [os.pidfd_open(pid) for pid in (status.pid, status.supervisor_pid)]
    os.kill(getattr(status, victim), signal.SIGKILL)
    for descriptor in waiting:  # the port is free when both have ended
        ends = select.poll()
        ends.register(descriptor, select.POLLIN)
        assert ends.poll(60_000), "it did not end"
        os.close(descriptor)
    again = clusters.up("lab")
    assert again.get("configmaps", "kept", namespace) is not None
    assert clusters.status("lab").state == "running"


def test_two_starts_at_once_become_one_cluster(cluster):
    clusters.down("lab")
    assert clusters.status("lab").state == "stopped"
    with pytest.raises(ClusterNotReadyError, match="the cluster lab is stopped"):
        clusters.attach("lab")
    starts = [
        subprocess.Popen(
            [*COMMAND, "up", "--name", "lab", "--json"], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = [json.loads(start.communicate(timeout=120)[0]) for start in starts]
    assert [start.returncode for start in starts] == [0, 0]
    assert answers[0]["kubeconfig"] == answers[1]["kubeconfig"]
    assert clusters.status("lab").state == "running"


def test_ctrl_c_during_a_start_leaves_nothing_running(tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path))
    with subprocess.Popen(
        [*COMMAND, "up", "--name", "hasty"], stderr=subprocess.PIPE, text=True
    ) as up:
        lock = tmp_path / "clusters" / "hasty" / "supervisor.lock"
        ends = time.monotonic() + 30
        while not lock.exists() and time.monotonic() < ends and up.poll() is None:
            pass
        up.send_signal(signal.SIGINT)
        assert "interrupted" in up.communicate(timeout=120)[1]
        assert up.returncode == 130
    assert clusters.status("hasty").state == "stopped"
    clusters.delete("hasty")
    assert clusters.names() == []


def test_a_cluster_without_linux_says_what_works(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EnvironmentLacksError, match="needs Linux") as caught:
        clusters.up("mac", provider="embedded")
    assert "kind" in caught.value.hint
