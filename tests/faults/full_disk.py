"""usage: full_disk.py HOME SIZE: live on a small disk, in a mount namespace of our own."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "soak"))

import invariants
import pytest
from faults_kit import k8slab, pod, until
from ledger import Ledger
from operations import deployment, network_policy, service_object

from k8slab import clusters
from k8slab.course.journal import Journal
from k8slab.errors import ApiStatusError, EnvironmentLacksError

NOTE = "bytes of this log are lost"


def main(home, size):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "disk", home], check=True)
    os.environ["K8SLAB_HOME"] = home
    if size == "2m":
        done = k8slab("up", "--name", "lab")
        assert done.returncode == 3, done.stderr
        assert "is full" in done.stderr, done.stderr
        assert "make room" in done.stderr, done.stderr
        return
    cluster = clusters.up("lab", wanted=clusters.Wanted(nodes=1))
    try:
        Life(cluster, Path(home)).play()
    finally:
        clusters.down("lab")


class Life:
    """A cluster whose disk fills up, twice: once it is stopped meanwhile, once it runs on."""

    def __init__(self, cluster, home):
        self.cluster = cluster
        self.filler = home / "filler"
        self.ledger = Ledger()
        self.journal = Journal(home / "progress.sqlite")

    def play(self):
        self.furnish()
        fill(self.filler)
        self.everything_is_refused()
        clusters.down("lab")
        fill(self.filler)
        done = k8slab("up", "--name", "lab")
        assert done.returncode == 3, done.stderr
        assert "is full" in done.stderr, done.stderr
        self.filler.unlink()
        clusters.up("lab")
        self.is_whole()
        # Full once more, then room while it runs: it goes on by itself, and the log tells the gap.
        fill(self.filler)
        self.everything_is_refused()
        before = self.restarts()
        self.cluster.exec("default", "crasher", ["sh", "-c", "kill -KILL -1"])
        self.filler.unlink()
        # At once: the talker fills its log every ten seconds or so, and begins another one.
        until(lambda: NOTE in self.cluster.logs("default", "talker"))
        until(lambda: self.restarts() > before)
        self.write(data("after", "x"))
        self.write(service_object("refused", "web", {"type": "NodePort"}))
        self.is_whole()

    def furnish(self):
        talker = pod("talker", "sh", "-c", "while :; do seq 999; sleep 0.05; done")
        crasher = pod("crasher", "sh", "-c", "sleep 9999 & wait")
        space, name = invariants.OBSERVER
        self.cluster.apply([{**NAMESPACE, "metadata": {"name": space}}])
        self.cluster.apply([pod(name, "sleep", "9999")], namespace=space)
        for obj in (
            talker,
            crasher,
            data("before", "x"),
            deployment("web", "web", 2, "1"),
            service_object("web", "web", {}),
            network_policy("guard", {}, {"ingress": [{}]}),
        ):
            self.write(obj)
        self.cluster.wait("pods")
        self.journal.add("00", "seed", "", value=1)

    def write(self, obj):
        (made,) = self.cluster.apply([obj], namespace="default")
        self.ledger.written(made, obj)

    def everything_is_refused(self):
        """Every kind of write says that the disk is full; reading and running pods go on."""
        self.refused(lambda: self.cluster.apply([data("full", "x" * 200_000)], namespace="default"))
        self.refused(lambda: self.cluster.delete("configmaps", "before", "default"))
        refused = service_object("refused", "web", {"type": "NodePort"})
        self.refused(lambda: self.cluster.apply([refused], namespace="default"))
        self.refused(lambda: self.cluster.apply([pod("refused", "true")], namespace="default"))
        with pytest.raises(EnvironmentLacksError) as raised:
            self.journal.add("00", "seed", "", value=2)
        assert "make room" in raised.value.hint
        assert self.cluster.get("configmaps", "before", "default"), "reading goes on"
        assert self.cluster.get("services", "refused", "default") is None
        assert self.cluster.exec("default", "talker", ["echo", "here"]).stdout == "here\n"

    def refused(self, write):
        """Write until the disk is full, then expect the answer that says so."""

        def until_full():
            for _ in range(100):
                write()

        with pytest.raises(ApiStatusError) as raised:
            until_full()
        assert raised.value.code == 500
        assert "the cluster's state cannot be written" in str(raised.value)
        assert "make room" in str(raised.value)

    def restarts(self):
        status = self.cluster.get("pods", "crasher", "default")["status"]
        return status["containerStatuses"][0]["restartCount"]

    def is_whole(self):
        found = invariants.settle(self.cluster, self.ledger.check)
        assert not found, "\n".join(found)
        assert [event.data["value"] for event in self.journal.events()] == [1]


NAMESPACE = {"apiVersion": "v1", "kind": "Namespace"}


def data(name, text):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"text": text},
    }


def fill(file):
    with file.open("ab", buffering=0) as target:
        for size in (4096, 1):
            try:
                while True:
                    target.write(bytes(size))
            except OSError:
                continue


main(*sys.argv[1:])
