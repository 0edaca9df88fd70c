"""Who can be killed in a running cluster, and what has to bring it back.

The supervisor, init, the zygote and the daemon are the cluster: with one of them all of it ends,
and `up` brings it back. A pod's process is started again by its kubelet, the world outside by the
daemon. A node's agent lives in the daemon; it is stopped, and started after a while, through the
lab's API group.
"""

import os
import signal
from select import select

from faults_kit import LAB, family
from views import Processes

from k8slab import clusters
from k8slab.embedded import supervisor
from k8slab.embedded.config import ClusterPaths
from k8slab.errors import ClusterNotReadyError

CLUSTER = ("daemon", "supervisor", "init", "zygote")
VICTIMS = (*CLUSTER, "CoreDNS", "pod", "world", "agent", "start")
ROUTER = "172.18.0.1"
"""The switch's own address: where the world outside runs."""


def kill(victim, arena, rng):
    """Kill, and do what brings the cluster back; returns what was done in a few words."""
    if victim in CLUSTER:
        return _kill_cluster(victim, arena)
    if victim == "start":
        return _kill_start(arena, rng)
    if victim == "agent":
        return _stop_agent(arena, rng)
    return _kill_process(victim, arena, rng)


def _kill_cluster(victim, arena):
    _end_cluster(victim, arena)
    clusters.up(arena.name)
    return f"killed the {victim}"


def _end_cluster(victim, arena):
    with family(arena.name) as processes:
        os.kill(getattr(processes.pids, f"{victim}_pid"), signal.SIGKILL)
        processes.await_end()


def _kill_start(arena, rng):
    """Kill the daemon, and once more somebody while the cluster starts again."""
    _end_cluster("daemon", arena)
    again = rng.choice(CLUSTER)
    steps = rng.randrange(1, 5)
    paths = ClusterPaths.of(arena.name)
    heard = []

    def progress(text):
        heard.append(text)
        pid = getattr(supervisor.status(paths), f"{again}_pid")
        if len(heard) == steps and pid:
            os.kill(pid, signal.SIGKILL)

    try:
        clusters.up(arena.name, progress=progress)
    except ClusterNotReadyError:
        clusters.up(arena.name)
    return f"killed the daemon, and the {again} at step {steps} of the next start"


def _kill_process(victim, arena, rng):
    found = Processes(arena.name)
    groups = {
        "CoreDNS": found.named("coredns"),
        "world": [pid for pid, addresses in found.inits.items() if ROUTER in addresses],
    }
    others = {pid for group in groups.values() for pid in group}
    pids = groups.get(victim) or sorted(found.inits.keys() - others)
    if not pids:
        return f"found no {victim} to kill"
    pid = rng.choice(pids)
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    return f"killed a process of {victim}: {pid}"


def _stop_agent(arena, rng):
    node = rng.choice([item["metadata"]["name"] for item in arena.cluster.list("nodes")])
    door = f"{LAB}/nodes/{node}/agent"
    arena.cluster.request("POST", door, {"running": False})
    select([], [], [], rng.uniform(0.2, 1.5))  # the others go on meanwhile
    arena.cluster.request("POST", door, {"running": True})
    return f"stopped the agent of {node} and started it again"
