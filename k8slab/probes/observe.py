"""Observe flows: who really reaches whom, with real packets.

Where the provider has the capability ``probe``, all flows go to the cluster in one request
(``POST /apis/lab.k8slab.dev/v1/probes``): an agent enters each source's network namespace,
and a packet that a policy drops is reported by the kernel instead of waited for. Elsewhere
one exec for each source pod carries all its flows (`agents`), and silence is a time-out.

A probe that could not be made is `Outcome.FAILED` with the reason. It never counts as
"blocked".
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from k8slab.errors import ApiStatusError, ProbeError
from k8slab.policy.flow import WORKLOADS
from k8slab.probes.agents import Job, run_agents
from k8slab.probes.outcome import Observation, Outcome
from k8slab.probes.targets import Snapshot, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.policy import Flow, Party

PROBES = "/apis/lab.k8slab.dev/v1/probes"
DEADLINE = 1.0
"""Seconds until silence is believed; a SYN is sent again after one second (RFC 6298)."""

CHUNK = 2000
"""Flows in one request: each holds a descriptor in the cluster for its whole life."""


def observe(
    cluster: Any,
    flows: Sequence[Flow],
    deadline: float = DEADLINE,
    *,
    snapshot: Snapshot | None = None,
) -> list[Observation]:
    """Try every flow and return what was seen, in the same order.

    `deadline` is in seconds for each flow. Workloads must be expanded before
    (`targets.expand`); one that has no pod gives `FAILED`. Whoever has read pods and Services
    just now gives the `snapshot`, so that they are not read again.
    """
    snapshot = snapshot or Snapshot(cluster)
    jobs: list[Job] = []
    seen: dict[int, Observation] = {}
    # A matrix asks the same few questions thousands of times.
    check = cache(partial(_check_source, snapshot))
    for index, flow in enumerate(flows):
        try:
            check(flow.source)
            jobs.append(Job(index, flow, snapshot.target(flow)))
        except (ProbeError, ApiStatusError) as error:
            seen[index] = Observation(flow, Outcome.FAILED, error.args[0])
    run = _ask_cluster if "probe" in cluster.capabilities else run_agents
    for start in range(0, len(jobs), CHUNK):
        seen |= run(cluster, jobs[start : start + CHUNK], deadline)
    return [seen[index] for index in range(len(flows))]


def _check_source(snapshot: Snapshot, source: Party) -> None:
    if source.kind in WORKLOADS:
        raise ProbeError(f"{source} has no pod")
    if source.kind == "pod":
        pod = snapshot.pod(source)
        if pod.get("status", {}).get("phase") != "Running":
            raise ProbeError(f"the pod {source} is not running")
    elif source.kind not in ("node", "world"):
        raise ProbeError(f"{source} cannot be the source of a probe")


def _ask_cluster(cluster: Any, jobs: list[Job], deadline: float) -> dict[int, Observation]:
    body = {
        "flows": [_question(job.flow.source, job.target) for job in jobs],
        "deadlineSeconds": deadline,
    }
    # Flows run side by side; the allowance on top is for the request itself.
    answer = cluster.request("POST", PROBES, body, deadline=30 + 2 * deadline)
    results = answer.get("results") or []
    if len(results) != len(jobs):
        raise ProbeError(f"{len(jobs)} flows were asked, {len(results)} were answered")
    return {
        job.index: _observation(job.flow, result) for job, result in zip(jobs, results, strict=True)
    }


def _question(source: Party, target: Target) -> dict:
    if source.kind == "pod":
        origin = {"namespace": source.namespace, "pod": source.name}
    else:
        origin = {source.kind: source.name}
    return {
        "from": origin,
        "to": target.host,
        "port": target.port,
        "protocol": target.protocol,
    }


def _observation(flow: Flow, result: dict) -> Observation:
    denial = result.get("denial") or ""
    if isinstance(denial, dict):
        denial = denial.get("policy") or denial.get("direction") or "a policy"
    return Observation(
        flow,
        Outcome(result.get("outcome", "failed")),
        result.get("detail") or "",
        float(result.get("seconds") or 0.0),
        result.get("address") or "",
        denial,
    )
