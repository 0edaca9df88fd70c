"""What a cluster shows of itself at one moment: its objects, its nodes' kernel, its processes.

Everything is asked once and kept, so that the checks of `invariants` compare the same moment.
Objects come from the API, links and rules from the kernel by a command on the node, processes
and descriptors from /proc of the machine: no side is asked about itself.
"""

import json
import re
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

from faults_kit import LAB, Family

from k8slab.embedded.config import ClusterConfig, ClusterPaths

RESOURCES = {
    "pods": "pods",
    "services": "services",
    "namespaces": "namespaces",
    "nodes": "nodes",
    "endpoints": "endpoints",
    "slices": "endpointslices.discovery.k8s.io",
    "policies": "networkpolicies.networking.k8s.io",
    "cluster_policies": "clusternetworkpolicies.policy.networking.k8s.io",
    "deployments": "deployments.apps",
    "replicasets": "replicasets.apps",
    "statefulsets": "statefulsets.apps",
    "daemonsets": "daemonsets.apps",
    "jobs": "jobs.batch",
}
_LOOK = """
    nft -j list ruleset && echo && ip -j route && ip -j route show table local &&
    ip -j link && ip -j neigh && ip -j -6 route
"""
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


class View:
    """One cluster at one moment."""

    def __init__(self, cluster):
        self.cluster = cluster

    @cached_property
    def objects(self):
        """Return the lists of objects by the short names of `RESOURCES`."""
        found = {name: self.cluster.list(resource) for name, resource in RESOURCES.items()}
        return SimpleNamespace(**found)

    @cached_property
    def config(self):
        """Return how the cluster was made."""
        return ClusterConfig(**self.cluster.request("GET", f"{LAB}/cluster")["config"])

    @cached_property
    def nodes(self):
        """Return the kernel's state of each node by its name."""
        return {name: NodeView(self.cluster, name) for name in self.config.node_names}

    @cached_property
    def processes(self):
        """Return the cluster's processes."""
        return Processes(self.cluster.name)


class NodeView:
    """Rules, routes, links and neighbours of one node."""

    def __init__(self, cluster, name):
        done = cluster.node_run(name, ["sh", "-c", _LOOK])
        assert done.code == 0, done.stderr
        rules, _, rest = done.stdout.partition("\n\n")
        self.rules = json.loads(rules)["nftables"]
        self.routes, self.local, self.links, self.neighbours, self.routes6 = (
            json.loads(line) for line in rest.splitlines() if line.strip()
        )

    @property
    def interfaces(self):
        """Return the interface behind which each pod address is."""
        return {r["dst"]: r["dev"] for r in self.routes if str(r.get("dev")).startswith("cali")}


class Processes:
    """Who runs in a cluster, by the pid namespaces they are in."""

    def __init__(self, name):
        family = Family(ClusterPaths.of(name))
        try:
            self.pids = family.pids
            members = family.members()
        finally:
            family.close()
        top = len(_numbers(self.pids.init_pid))
        self.system = {}
        """Those in the cluster's own pid namespace: names by pid."""
        self.inits = {}
        """The first processes of containers: their own addresses by pid."""
        self.others = []
        for pid in members:
            numbers = _numbers(pid)
            if len(numbers) == top:
                self.system[pid] = _read(pid, "comm").strip()
            elif numbers and numbers[-1] == "1":
                self.inits[pid] = frozenset(_LOCAL.findall(_read(pid, "net/fib_trie")))
            elif numbers:
                self.others.append(pid)
        self._daemon = Path(f"/proc/{self.pids.daemon_pid}")

    def named(self, name):
        """Return the pids of the containers' first processes with this command name."""
        return [pid for pid in self.inits if _read(pid, "comm").strip() == name]

    @cached_property
    def descriptors(self):
        """Return what the daemon holds open: texts as /proc shows them."""
        found = []
        for entry in (self._daemon / "fd").iterdir():
            try:
                found.append(str(entry.readlink()))
            except FileNotFoundError:
                continue  # closed meanwhile
        return found

    def volumes(self):
        """Return the UIDs of the pods that have volumes in the cluster's mount namespace."""
        run = self._daemon / "root" / "run" / "k8slab"
        directories = {entry.name for entry in run.iterdir() if len(entry.name) == 36}
        mounts = re.findall(r" /run/k8slab/([0-9a-f-]{36})/", _read(self._daemon.name, "mountinfo"))
        return directories | set(mounts)

    def logs(self):
        """Return the UIDs of the pods that have logs."""
        logs = self._daemon / "root" / "k8slab" / "logs" / "pods"
        return {entry.name.rpartition("_")[2] for entry in logs.iterdir()}


def _read(pid, name):
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # it has ended meanwhile


def _numbers(pid):
    found = re.search(r"^NSpid:\s*(.*)$", _read(pid, "status"), re.MULTILINE)
    return found.group(1).split() if found else []
