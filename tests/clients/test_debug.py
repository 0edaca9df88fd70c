"""``kubectl debug``: beside a container, on a copy of a pod, on a node."""

import os
import pty
import subprocess

import pytest

LISTENS = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
PAIR = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "pair"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": "web", "image": "k8slab/app", "readinessProbe": LISTENS},
            {"name": "side", "image": "k8slab/toolbox", "command": ["sleep", "1000"]},
        ],
    },
}


@pytest.fixture
def pair(cluster, namespace):
    cluster.apply([PAIR], namespace=namespace)
    cluster.wait("pods", "pair", namespace)


def said(cluster, kubectl, namespace, pod, container):
    """Return what a debugger said once it has ended."""
    lists = ("containerStatuses", "ephemeralContainerStatuses")
    path = f"{{.status['{lists[0]}', '{lists[1]}'][?(@.name=='{container}')].state.terminated}}"
    kubectl("wait", f"pod/{pod}", f"--for=jsonpath={path}", "--timeout=120s")
    return kubectl("logs", pod, "-c", container)


def test_a_debugger_sees_the_processes_of_its_target_and_their_files(
    cluster, namespace, kubectl, pair
):
    script = "cat /proc/1/cmdline; ls /proc/1/root; hostname"
    words = ("--image=busybox", "--target=web", "--profile=general", "-c", "eyes")
    kubectl("debug", "pair", *words, "--", "sh", "-c", script)
    text = said(cluster, kubectl, namespace, "pair", "eyes")
    assert text.startswith("web")
    assert "etc" in text.split()
    assert text.endswith("pair\n")


def test_a_debugger_without_target_shares_the_network_but_not_the_processes(
    cluster, namespace, kubectl, pair
):
    script = "curl -sS -m 30 -o /dev/null -w '%{http_code} ' localhost:8080; cat /proc/1/cmdline"
    kubectl(
        "debug", "pair", "--image=k8slab/toolbox", "-c", "near", "--profile=general",
        *("--", "sh", "-c", script),
    )  # fmt: skip
    assert said(cluster, kubectl, namespace, "pair", "near").startswith("200 sh")


RIGHTS = {"general": "no", "baseline": "no", "netadmin": "yes", "sysadmin": "yes"}


def test_only_the_profiles_for_it_may_change_the_network(cluster, namespace, kubectl, pair):
    script = "ip link set eth0 mtu 1400 2>/dev/null && echo yes || echo no"
    for profile in RIGHTS:
        words = ("--image=nicolaka/netshoot", f"--profile={profile}", "-c", profile)
        kubectl("debug", "pair", *words, "--", "sh", "-c", script)
    found = {name: said(cluster, kubectl, namespace, "pair", name).strip() for name in RIGHTS}
    assert found == RIGHTS


def test_a_restricted_debugger_does_not_run_as_root(kubectl, pair):
    words = ("--image=busybox", "--profile=restricted", "-c", "strict")
    kubectl("debug", "pair", *words, "--", "true")
    waiting = "{.status.ephemeralContainerStatuses[0].state.waiting.message}"
    kubectl("wait", "pod/pair", f"--for=jsonpath={waiting}", "--timeout=120s")
    message = kubectl("get", "pod", "pair", "-o", f"jsonpath={waiting}")
    assert message.startswith("container has runAsNonRoot and image will run as root (pod: ")


def test_a_debugger_has_a_terminal(cluster, namespace, kubectl, pair):
    master, slave = pty.openpty()
    try:
        with subprocess.Popen(
            [
                *(
                    "kubectl",
                    f"--kubeconfig={cluster.kubeconfig}",
                    "-n",
                    namespace,
                    "debug",
                    "pair",
                ),
                *("-it", "--image=busybox", "--target=web", "--profile=general", "-c", "typed"),
            ],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            os.write(master, b"tty; echo $((6*7)); exit\n")
            out, _ = process.communicate(timeout=120)
    finally:
        os.close(master)
        os.close(slave)
    assert "/dev/pts/0" in out
    assert "42" in out.split()


def test_a_copy_of_a_pod_shows_the_processes_of_all_its_containers(
    cluster, namespace, kubectl, pair
):
    kubectl(
        *("debug", "pair", "--copy-to=twin", "--share-processes", "--profile=general"),
        *("--image=busybox", "-c", "eyes", "--", "sh", "-c", "sleep 1000"),
    )
    cluster.wait("pods", "twin", namespace)
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done"
    shown = kubectl("exec", "twin", "-c", "eyes", "--", "sh", "-c", script)
    assert {"web", "sleep 1000", "sh -c sleep 1000"} <= {line.strip() for line in shown.split("\n")}


def test_a_copy_may_run_another_command(cluster, namespace, kubectl, pair):
    kubectl(
        *("debug", "pair", "--copy-to=twin", "--container=side", "--profile=general"),
        *("--", "sleep", "999"),
    )
    cluster.wait("pods", "twin", namespace)
    command = kubectl("get", "pod", "twin", "-o", "jsonpath={.spec.containers[1].command}")
    assert command == '["sleep","999"]'


def node_of(cluster):
    return max(node["metadata"]["name"] for node in cluster.list("nodes"))


def debugger_of_node(cluster, namespace, kubectl, script):
    words = ("--image=k8slab/toolbox", "--profile=sysadmin")
    kubectl("debug", f"node/{node_of(cluster)}", *words, "--", "sh", "-c", script)
    (name,) = [pod["metadata"]["name"] for pod in cluster.list("pods", namespace)]
    return name


def test_a_debugger_on_a_node_has_its_network_and_sees_every_process(cluster, namespace, kubectl):
    script = "hostname; ip -4 -br addr show eth0; ps ax; chroot /host sh -c 'hostname; ls -d /usr'"
    script += "; grep nodename /host/etc/cni/net.d/10-calico.conflist"
    name = debugger_of_node(cluster, namespace, kubectl, script)
    text = said(cluster, kubectl, namespace, name, "debugger")
    node = node_of(cluster)
    address = kubectl("get", "node", node, "-o", "jsonpath={.status.addresses[0].address}")
    assert text.startswith(f"{node}\n")
    assert f" {address}/" in text
    assert "coredns" in text
    assert f"\n{node}\n/usr\n" in text
    assert text.endswith(f'"nodename": "{node}",\n')


def test_nothing_of_a_debugger_on_a_node_outlives_its_pod(cluster, namespace, kubectl):
    name = debugger_of_node(cluster, namespace, kubectl, "sleep 7654 & echo begun")
    said(cluster, kubectl, namespace, name, "debugger")
    look = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    overrides = '{"spec":{"hostPID":true}}'
    kubectl("run", "looker", "--image=busybox", f"--overrides={overrides}", "--", "sleep", "1000")
    cluster.wait("pods", "looker", namespace)
    assert "sleep 7654" in kubectl("exec", "looker", "--", "sh", "-c", look)
    kubectl("delete", "pod", name, "--grace-period=0")
    # The object may go a moment before its processes.
    gone = f"while {look} | grep -q 'sleep 765[4]'; do sleep 0.1; done; echo gone"
    assert kubectl("exec", "looker", "--", "sh", "-c", gone) == "gone\n"
