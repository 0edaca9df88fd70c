"""kill -9 of any process of a busy cluster: all of it ends, and the next start has everything."""

import os
import random
import signal
import threading
from pathlib import Path

import pytest
from faults_kit import DEADLINE, family, pod, probe, until

from k8slab import clusters
from k8slab.embedded.runtime.images import WORLD
from k8slab.errors import K8slabError

SPACE = "busy"
ANSWERS = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
"""Ready when it answers: a container that runs may not listen yet."""


def policy(name, app, source):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "podSelector": {"matchLabels": {"app": app}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": source}}}]}],
        },
    }


def deployment(version):
    labels = {"app": "web"}
    container = {
        "name": "main",
        "image": "k8slab/app",
        "env": [{"name": "VERSION", "value": str(version)}],
        "readinessProbe": ANSWERS,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
}


@pytest.fixture(scope="module")
def busy(lab):
    """Fill the cluster: two clients, a Deployment behind a Service, a pod that admits only one."""
    lab.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}])
    pods = [pod("friend", "sleep", "9999"), pod("stranger", "sleep", "9999")]
    shut = pod("shut", image="k8slab/app")
    shut["spec"]["containers"][0]["readinessProbe"] = ANSWERS
    lab.apply(
        [*pods, shut, SERVICE, deployment(0), policy("guard", "shut", "friend")], namespace=SPACE
    )
    lab.wait("pods", namespace=SPACE)
    return lab


class Load:
    """Somebody who changes the cluster without a pause, and remembers what was acknowledged."""

    def __init__(self, cluster, run):
        self.acknowledged = {}
        self.last_sent = None
        self._cluster = cluster
        self._run = run
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def join(self):
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    def _work(self):
        try:
            for number in range(10_000):
                for obj in self._changes(number):
                    self.last_sent = obj["kind"], obj["metadata"]["name"]
                    (made,) = self._cluster.apply([obj], namespace=SPACE)
                    meta = made["metadata"]
                    self.acknowledged[obj["kind"], meta["name"]] = obj, meta["uid"]
        except K8slabError:
            return  # the cluster is gone, as it should be

    def _changes(self, number):
        name = f"{self._run}-{number}"
        data = {"run": self._run, "number": str(number)}
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        yield policy(f"churn-{number % 3}", f"none-{number}", "friend")
        if number % 8 == 0:
            yield pod(name, "sleep", "9999")
            yield deployment(name)


KINDS = {
    "ConfigMap": ("configmaps", "data"),
    "NetworkPolicy": ("networkpolicies.networking.k8s.io", "spec"),
    "Deployment": ("deployments.apps", "spec"),
    "Pod": ("pods", "spec"),
}


def contains(found, wanted):
    """Tell whether everything that was applied is in what is there, whatever was defaulted."""
    if isinstance(wanted, dict):
        return all(key in found and contains(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(contains, found, wanted))
    return found == wanted


def containers(cluster):
    return {
        item["metadata"]["uid"]: item["status"]["containerStatuses"][0]
        for item in cluster.list("pods", SPACE)
        if item["metadata"]["name"] in {"friend", "stranger", "shut"}
    }


def restarts(cluster):
    return {uid: status["restartCount"] for uid, status in containers(cluster).items()}


@pytest.mark.parametrize("victim", ["daemon", "supervisor", "init", "zygote"])
def test_a_busy_cluster_ends_with_any_of_its_processes_and_comes_back_whole(busy, victim):
    before = restarts(busy)
    with family("lab") as processes:
        load = Load(busy, victim)
        until(lambda: load.acknowledged)
        delay = random.uniform(0.0, 0.5)
        load._thread.join(delay)
        os.kill(getattr(processes.pids, f"{victim}_pid"), signal.SIGKILL)
        processes.await_end()
        load.join()
    cluster = clusters.up("lab")
    for (kind, name), (wanted, uid) in load.acknowledged.items():
        resource, part = KINDS[kind]
        found = cluster.get(resource, name, SPACE)
        assert found is not None, (kind, name, delay)
        assert found["metadata"]["uid"] == uid
        # What was sent last may have been stored although its answer did not come.
        assert contains(found[part], wanted[part]) or (kind, name) == load.last_sent, (name, delay)
    once_more = {uid: count + 1 for uid, count in before.items()}
    # `up` may be faster than a pod; what only ran before the end is not called ready then.
    for uid, status in containers(cluster).items():
        assert status["restartCount"] == once_more[uid] or not status["ready"], status
    cluster.wait("pods", namespace=SPACE)
    assert restarts(cluster) == once_more
    cluster.wait("deployments.apps", "web", SPACE)
    wanted = {
        ("friend", "web", 80): "open",
        ("friend", "web.busy.svc.cluster.local", 80): "open",
        ("friend", address(cluster, "shut"), 8080): "open",
        ("stranger", address(cluster, "shut"), 8080): "silent",
        ("stranger", "example.com", 443): "open",
    }
    opens = [flow for flow, outcome in wanted.items() if outcome == "open"]
    # A Service leads to pods a moment after they are ready, and the world begins by itself.
    until(lambda: {*probe(cluster, SPACE, *opens)} == {"open"})
    assert dict(zip(wanted, probe(cluster, SPACE, *wanted), strict=True)) == wanted
    remove_load(cluster, victim)
    cluster.rest.close()


def address(cluster, name):
    return cluster.get("pods", name, SPACE)["status"]["podIP"]


def remove_load(cluster, run):
    for item in cluster.list("pods", SPACE):
        if item["metadata"]["name"].startswith(f"{run}-"):
            cluster.delete("pods", item["metadata"]["name"], SPACE, grace=0)


def test_the_world_outside_that_ends_is_started_again(busy):
    example = ("stranger", "example.com", 443)

    def outcome():
        return probe(busy, SPACE, example)[0]

    until(lambda: outcome() == "open")
    with family("lab") as processes:

        def worlds():
            return [pid for pid in processes.members() if WORLD in command_line(pid)]

        (world,) = worlds()
        os.kill(world, signal.SIGKILL)
        until(lambda: worlds() not in ([], [world]))  # it is away for a moment only
    until(lambda: outcome() == "open")


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""  # it has ended since it was listed
