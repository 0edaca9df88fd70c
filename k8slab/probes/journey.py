"""The packet's journey: one real packet followed to its destination and back, hop by hop.

A provider with the capability ``trace`` sends the packet and says what its kernel did with it.
Elsewhere no kernel can be asked: then captures in the pods at both ends make a coarser journey
(`captured`), and where not even these are possible, the flow is only tried. The journey's note says
what is missing. Beside it stands what the policy engine predicts.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from k8slab import policy
from k8slab.clusters.inventory import inventory
from k8slab.errors import ApiStatusError, ManifestError, ProbeError, UsageError
from k8slab.objects.packets import LEAST_TRACED, MOST_DATAGRAM, MOST_PORT
from k8slab.policy.flow import WORKLOADS, Flow, Party
from k8slab.probes.observe import DEADLINE, observe
from k8slab.probes.outcome import Outcome
from k8slab.probes.steps import POLICY_TABLE, Frame, Journey, Place, Step, packet_text
from k8slab.probes.targets import Snapshot, expand, one_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAPABILITY", "POLICY_TABLE", "Frame", "Journey", "Packet", "Place", "Step", "journey"]

CAPABILITY = "trace"
_TRACES = "/apis/lab.k8slab.dev/v1/traces"


@dataclass(frozen=True, slots=True)
class Packet:
    """What may be wanted of the packet itself; raises `UsageError` for what cannot be sent."""

    from_port: int = 0
    """The source's port, which a program there may have; 0 for any free one."""
    size: int = 0
    """Bytes that a datagram carries, which must not be cut on its way; 0 for a few."""

    def __post_init__(self) -> None:
        if not 0 <= self.from_port <= MOST_PORT:
            raise UsageError(
                f"there is no port {self.from_port}", hint=f"ports are 1 to {MOST_PORT}"
            )
        if self.size and not LEAST_TRACED <= self.size <= MOST_DATAGRAM:
            raise UsageError(
                f"a packet of a journey cannot carry {self.size} bytes",
                hint=f"it carries {LEAST_TRACED} to {MOST_DATAGRAM}; "
                "a link of 1,500 bytes takes 1,472",
            )

    def of(self, flow: Flow) -> Packet:
        """Return it, if a flow can have it; raises `UsageError`."""
        if self.size and flow.protocol != "UDP":
            raise UsageError(
                f"only datagrams can have a size: the first packet of {flow.protocol} is empty",
                hint="send a datagram, to PORT/UDP; a port where nobody listens will do",
            )
        return self


def journey(
    cluster: Any,
    flow: Flow,
    *,
    packet: Packet = Packet(),
    predict: bool = True,
    deadline: float = DEADLINE,
    debug_image: str = "",
) -> Journey:
    """Send one packet and follow it; a workload as the source is its first pod.

    `predict` also asks the policy engine, which reads everything that has to do with policies.
    Where no kernel can be asked, `debug_image` allows to capture with containers of this image:
    ephemeral ones in pods without python3, and pods on the nodes (see `watching`).
    Raises `ProbeError` when the flow cannot be sent, `UsageError` for a party that nobody knows.
    """
    source = one_pod(cluster, flow.source)
    (one, *_rest) = expand(cluster, [Flow(source, flow.destination, flow.port, flow.protocol)])
    if CAPABILITY in cluster.capabilities:
        found = _followed(cluster, one, packet.of(one), deadline)
    else:
        found = _without_kernel(cluster, one, packet.of(one), deadline, debug_image)
    return _predicted(cluster, found) if predict else found


def _without_kernel(
    cluster: Any, flow: Flow, packet: Packet, deadline: float, image: str
) -> Journey:
    from k8slab.probes.captured import captured  # noqa: PLC0415  few clusters need it

    try:
        target = Snapshot(cluster).target(flow)
        sent = packet.from_port, packet.size
        return captured(cluster, flow, target, *sent, deadline=deadline, image=image)
    except (ProbeError, ApiStatusError) as error:
        if packet != Packet():
            raise ProbeError(f"such a packet cannot be sent: {error.message}") from error
        return _tried(cluster, flow, deadline, error.message)


def _followed(cluster: Any, flow: Flow, packet: Packet, deadline: float) -> Journey:
    if flow.protocol == "SCTP":
        raise ProbeError("a journey is sent by TCP or UDP, not by SCTP")
    if flow.destination.kind in WORKLOADS:
        raise ProbeError(f"{flow.destination} has no pod")
    target = Snapshot(cluster).target(flow)
    asked = {
        "from": _origin(flow),
        "to": target.host,
        "port": target.port,
        "protocol": target.protocol,
        "fromPort": packet.from_port,
        "bytes": packet.size,
    }
    body = {"flow": asked, "deadlineSeconds": deadline}
    try:
        answer = cluster.request("POST", _TRACES, body, deadline=30 + 2 * deadline)
    except ApiStatusError as error:
        if error.code != 400:
            raise
        raise ProbeError(error.message) from error
    return _read(flow, answer)


def _origin(flow: Flow) -> dict[str, str]:
    source = flow.source
    if source.kind == "pod":
        return {"namespace": source.namespace, "pod": source.name}
    if source.kind not in ("node", "world"):
        raise ProbeError(f"{source} cannot be the source of a packet")
    return {source.kind: source.name}


def _predicted(cluster: Any, found: Journey) -> Journey:
    """Add what the policy engine says about the addresses that the packet really had."""
    flow = found.flow
    if flow.source.kind == "world" and found.sent_from:
        flow = replace(flow, source=Party("ip", found.sent_from))
    if flow.destination.kind == "name" and found.address:
        flow = replace(flow, destination=Party("ip", found.address))
    try:
        verdict = policy.compile(inventory(cluster)).decide(flow)
    except (UsageError, ManifestError) as error:
        return replace(found, unpredicted=error.args[0])
    return replace(found, predicted=verdict)


def _tried(cluster: Any, flow: Flow, deadline: float, why: str) -> Journey:
    (seen,) = observe(cluster, [flow], deadline)
    note = (
        f"the provider {cluster.provider} cannot follow a packet through its kernel (capability"
        f" {CAPABILITY}), and it could not be captured ({why}): it was only tried, so hops and"
        " rules are missing here"
    )
    return Journey(flow, seen.outcome, seen.detail, seen.seconds, note=note, address=seen.address)


def _read(flow: Flow, answer: Mapping[str, Any]) -> Journey:
    missed = answer.get("missed") or 0
    note = f"{missed} messages of the kernel were missed: steps may be missing" if missed else ""
    steps = answer["steps"]
    first: Mapping[str, Any] = next((s["packet"] for s in steps if "packet" in s), {})
    return Journey(
        flow,
        Outcome(answer["outcome"]),
        answer["detail"],
        answer["seconds"],
        tuple(_step(step) for step in steps),
        _step(answer["lost"]) if answer["lost"] else None,
        tuple(_frame(frame) for frame in answer["frames"]),
        note,
        first.get("source", ""),
        answer["address"],
    )


def _step(found: Mapping[str, Any]) -> Step:
    return Step(
        found["leg"],
        Place(**found["place"]),
        found["kind"],
        found["text"],
        packet_text(found["packet"]) if "packet" in found else "",
        found.get("seconds"),
        found.get("rule") or {},
        found.get("facts") or {},
    )


def _frame(found: Mapping[str, Any]) -> Frame:
    data = base64.b64decode(found["data"])
    place = Place(**found["place"])
    return Frame(found["nanoseconds"], place, found["interface"], found["leaving"], data)
