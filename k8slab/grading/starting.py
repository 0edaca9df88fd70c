"""Pods that have just started: whether they may be about to answer.

A pod without a readiness probe is Ready before its program listens. So where a flow was refused,
the pods that have just started are asked whether they listen already; only a program that says
nothing about its ports, and listens nowhere, gets the benefit of the doubt for a while. One with
a readiness probe that has not succeeded yet listens for its Services in vain until it has.

A Service follows its pods a moment later, by its EndpointSlices: until these have caught up, a
refusal of the Service says nothing about what will be.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from k8slab.errors import K8slabError
from k8slab.grading.collateral import ports_of
from k8slab.objects import meta, slices
from k8slab.probes import Flow, Outcome, Party, observe
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object

STARTING = timedelta(seconds=4)
"""How long a program may take from its start until it listens; the API gives whole seconds."""


def may_listen_soon(context: Context, there: Snapshot | None = None) -> bool:
    """Say whether a program of the exercise's namespaces has started and does not listen yet.

    `there` was read just now, if it is given.
    """
    young = [
        pod
        for pod in context.listed(there or Snapshot(context.cluster), "pods")
        if not meta.is_deleting(pod) and just_started(pod) and not _says_ready(pod)
        if _party(pod) not in context.askers.values()  # the grader's own asks, and never listens
    ]
    if any(_awaits_probe(pod) for pod in young):
        return True
    telling = [pod for pod in young if _ports(pod)]
    return not _all_listen(context, telling) or any(
        not _listens_somewhere(context, pod) for pod in young if not _ports(pod)
    )


def slices_lag(context: Context, there: Snapshot) -> bool:
    """Say whether a Service of the exercise's namespaces lacks a pod that is ready.

    The endpoints of a Service are the ready pods of its selector (discovery/v1,
    EndpointConditions); its controller writes them after it has seen the pods.
    """
    return any(
        ready - _listed(there, service)
        for space in context.namespaces
        for service in there.objects("services", space).values()
        if (ready := _ready_behind(there, service))
    )


def _ready_behind(there: Snapshot, service: Object) -> set[str]:
    """Return the names of the ready pods that a Service selects; none where it has no slices."""
    spec = service.get("spec") or {}
    selector = spec.get("selector")
    if not selector or spec.get("type") == "ExternalName":
        return set()
    pods = there.objects("pods", meta.namespace_of(service))
    return {
        name
        for name, pod in pods.items()
        if selector.items() <= meta.labels_of(pod).items()
        if is_ready(pod) and pod["status"].get("podIP")
    }


def _listed(there: Snapshot, service: Object) -> set[str]:
    every = there.objects(slices.SLICES, meta.namespace_of(service)).values()
    return {
        (endpoint.get("targetRef") or {}).get("name", "")
        for one in every
        if slices.service_of(one) == meta.name_of(service)
        for endpoint in one.get("endpoints") or ()
        if slices.is_ready(endpoint)
    }


def runs_since(status: Object) -> datetime | None:
    """Return since when a container runs, from its status; ``None`` while it does not."""
    running = (status.get("state") or {}).get("running") or {}
    return datetime.fromisoformat(running["startedAt"]) if running.get("startedAt") else None


def just_started(pod: Object) -> bool:
    """Say whether a container of a pod runs since a moment ago."""
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    now = datetime.now(UTC)
    return any(now - since < STARTING for one in containers if (since := runs_since(one)))


def may_be_ready(pod: Object, now: datetime, most: timedelta) -> bool:
    """Say whether a container of a pod runs since so short a time that the pod may become ready.

    `now` is the cluster's time; no readiness probe is given longer than `most`.
    """
    probes = {one["name"]: one.get("readinessProbe") for one in pod["spec"].get("containers") or ()}
    return any(
        now - since < max(STARTING, min(_probing(probes.get(one.get("name"))), most))
        for one in (pod.get("status") or {}).get("containerStatuses") or ()
        if (since := runs_since(one))
    )


def _probing(probe: Object | None) -> timedelta:
    """Return until when a readiness probe has spoken of what was well by the second time it asked.

    Its worker waits for up to a period before it asks first (``pkg/kubelet/prober``), not before
    initialDelaySeconds; its defaults are those of core/v1 Probe.
    """
    if probe is None:
        return timedelta()
    times = 2 * (probe.get("periodSeconds") or 10) + (probe.get("timeoutSeconds") or 1)
    return timedelta(seconds=(probe.get("initialDelaySeconds") or 0) + times)


def _says_ready(pod: Object) -> bool:
    """Say whether every container has a readiness probe, and it succeeds."""
    return is_ready(pod) and all(one.get("readinessProbe") for one in pod["spec"]["containers"])


def _awaits_probe(pod: Object) -> bool:
    """Say whether a pod is not ready, and a readiness probe of it may still succeed."""
    probed = any(one.get("readinessProbe") for one in pod["spec"]["containers"])
    return probed and not is_ready(pod)


def is_ready(pod: Object) -> bool:
    """Say whether a pod is Ready and not on its way out."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return not meta.is_deleting(pod) and any(
        one.get("type") == "Ready" and one.get("status") == "True" for one in conditions
    )


def _ports(pod: Object) -> list[int]:
    return [number for number, protocol in ports_of(pod) if protocol == "TCP"]


def _all_listen(context: Context, pods: Sequence[Object]) -> bool:
    """Ask each pod from its own inside, where no policy applies, on the ports that it declares."""
    parties = [(_party(pod), pod) for pod in pods]
    flows = [Flow(party, party, port) for party, pod in parties for port in _ports(pod)]
    seen = observe(context.cluster, flows) if flows else []
    return all(one.outcome is Outcome.OPEN for one in seen)


def _party(pod: Object) -> Party:
    return Party("pod", meta.name_of(pod), meta.namespace_of(pod))


def _listens_somewhere(context: Context, pod: Object) -> bool:
    """Look for a listening socket in the pod's own network (proc(5): state 0A of /proc/net/tcp)."""
    if pod["spec"].get("hostNetwork"):
        return False
    argv = ["cat", "/proc/net/tcp", "/proc/net/tcp6"]
    try:
        done = context.cluster.exec(meta.namespace_of(pod), meta.name_of(pod), argv)
    except K8slabError:
        return False  # it cannot be looked into: the benefit of the doubt
    rows = (line.split() for line in done.stdout.splitlines())
    return any(len(row) > 3 and row[3] == "0A" for row in rows)
