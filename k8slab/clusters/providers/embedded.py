"""The small Kubernetes of our own, on this Linux machine: see `k8slab.embedded`."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from k8slab.clusters import records
from k8slab.clusters.cluster import Cluster
from k8slab.clusters.providers.base import BROKEN, RUNNING, STARTING, STOPPED, Status
from k8slab.embedded.config import RANGES, ClusterConfig, ClusterPaths, capabilities
from k8slab.errors import ClusterNotReadyError, EnvironmentLacksError, K8slabError, UsageError
from k8slab.programs import Completed
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from k8slab.clusters.wanted import Wanted

NAME = "embedded"

ANSWER_DEADLINE = 5.0
"""Seconds in which a running cluster must answer `up`."""


def up(name: str, wanted: Wanted, progress: Callable[[str], None]) -> None:
    """Start the cluster, making it first where it is not there yet."""
    from k8slab.embedded import supervisor  # noqa: PLC0415

    if sys.platform != "linux":
        raise EnvironmentLacksError(
            "the embedded cluster needs Linux",
            hint="use kind with Docker (k8slab up --provider kind), or a Linux machine",
        )
    config, paths = _config(name, wanted), ClusterPaths.of(name)

    def said(message: dict[str, Any]) -> None:
        progress(f"starting the cluster: {message.get('message') or message.get('step')}")

    progress("starting the cluster")
    started = supervisor.start(config, paths, on_progress=said)
    if started.already_running and not _answers(name):
        # Its daemon was killed a moment ago, or hangs: begin again from what is on the disk.
        progress("the cluster does not answer; starting it again")
        supervisor.stop(paths)
        started = supervisor.start(config, paths, on_progress=said)
    if not started.ready.get("dns", True):
        raise ClusterNotReadyError(
            f"the cluster {name} runs, but names do not resolve in it",
            hint="look at its name servers: kubectl -n kube-system get pods,configmaps\n"
            f"  or start afresh: k8slab reset --name {name}",
        )


def down(name: str) -> None:
    """Stop the cluster; its objects are kept."""
    from k8slab.embedded import supervisor  # noqa: PLC0415

    supervisor.stop(ClusterPaths.of(name))


def delete(name: str) -> None:
    """Stop the cluster and remove its directory."""
    down(name)
    records.forget(name)


def status(name: str) -> Status:
    """Describe the cluster by its supervisor, and by its API when it runs."""
    from k8slab.embedded import supervisor  # noqa: PLC0415

    paths = ClusterPaths.of(name)
    config = _kept(name)
    processes = supervisor.status(paths)
    common: dict[str, Any] = {
        "name": name,
        "provider": NAME,
        "kubeconfig": str(paths.kubeconfig),
        "nodes": config.node_names,
        "capabilities": sorted(capabilities(config)),
    }
    versions = {"k8slab": __version__}
    if not processes.running:
        # What died (``stale``) left nothing running: for the learner it is stopped.
        state = STARTING if processes.state == STARTING else STOPPED
        return Status(state=state, versions=versions, **common)
    common |= {
        "pid": processes.daemon_pid or None,
        "supervisor_pid": processes.supervisor_pid,
        "memory_bytes": processes.memory_bytes,
    }
    try:
        version = cluster(name).request("GET", "/version", deadline=5)["gitVersion"]
    except K8slabError as error:
        return Status(state=BROKEN, detail=error.message, **common)
    return Status(state=RUNNING, versions={**versions, "kubernetes": version}, **common)


def kubeconfig(name: str) -> Path:
    """Return the path of the learner's credentials."""
    return ClusterPaths.of(name).kubeconfig


def cluster(name: str) -> Cluster:
    """Return the handle; commands on nodes go through the API group lab.k8slab.dev."""
    # The runner has a handle of its own: one that held itself would keep its connection until
    # the garbage collector comes by.
    # The context is named: kubectl may have made another one current in the file.
    file, context = kubeconfig(name), f"k8slab-{name}"
    asked = Cluster(name, provider=NAME, kubeconfig=file, context=context)
    return Cluster(
        name,
        provider=NAME,
        kubeconfig=file,
        context=context,
        capabilities=frozenset(capabilities(_kept(name))),
        node_runner=partial(_run_on_node, asked),
    )


def _kept(name: str) -> ClusterConfig:
    return ClusterConfig.from_json(ClusterPaths.of(name).config.read_text(encoding="utf-8"))


def _answers(name: str) -> bool:
    try:
        cluster(name).request("GET", "/readyz", deadline=ANSWER_DEADLINE)
    except K8slabError:
        return False
    return True


def _config(name: str, wanted: Wanted) -> ClusterConfig:
    """Return the configuration: the kept one, which cannot change, or a new one."""
    families = [RANGES[version] for version in wanted.ip_versions]
    chosen = bool(wanted.ip_family)
    asked: dict[str, Any] = {
        "nodes": wanted.nodes,
        "pod_cidrs": wanted.cidrs("pod") if chosen or wanted.pod_cidr else None,
        "service_cidrs": wanted.cidrs("service") if chosen or wanted.service_cidr else None,
        "node_cidrs": [ranges.nodes for ranges in families] if chosen else None,
        "load_balancer": False if wanted.no_load_balancer else None,
        "load_balancer_cidrs": [r.load_balancers for r in families] if chosen else None,
    }
    asked = {key: value for key, value in asked.items() if value is not None}
    if not ClusterPaths.of(name).config.exists():
        return ClusterConfig(name=name, **asked)
    config = _kept(name)
    if chosen and list(wanted.ip_versions) == config.ip_versions:
        # Ranges of its own were chosen when it was made: the family alone is the same wish.
        kept = {"pod_cidrs": wanted.pod_cidr, "service_cidrs": wanted.service_cidr}
        asked = {key: value for key, value in asked.items() if kept.get(key, "given")}
    for key, value in asked.items():
        if value != getattr(config, key):
            raise UsageError(
                f"the cluster {name} was made with {key.replace('_', ' ')} {getattr(config, key)}, "
                f"not {value}",
                hint=f"start afresh with the new ones: k8slab down --delete --name {name}, then up",
            )
    return replace(config, name=name)


def _run_on_node(handle: Cluster, node: str, argv: Sequence[str], deadline: float) -> Completed:
    answer = handle.request(
        "POST",
        f"/apis/lab.k8slab.dev/v1/nodes/{node}/commands",
        {"argv": [*argv], "deadlineSeconds": deadline},
        deadline=deadline + 5,
    )
    return Completed(tuple(argv), answer["code"], answer["stdout"], answer["stderr"])
