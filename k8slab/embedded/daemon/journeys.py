"""One packet followed through the cluster, for ``POST traces``: whom to watch, and the JSON.

Watched are the source, every node, the switch, the world outside, and the pods that the packet
may be sent to: those with the address, behind a Service with it, or with the host port. How is
in `network.following`.
"""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from k8slab.embedded.network.sending import Place, Question
from k8slab.objects.meta import key_of, name_of, namespace_of
from k8slab.objects.slices import SLICES, service_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import ExitStack

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.network.capture import Packet
    from k8slab.embedded.network.following import Sight
    from k8slab.embedded.network.journey import Journey, Step
    from k8slab.embedded.network.network import Network
    from k8slab.objects.meta import Object


def origin(api: Api, flow: Object, netns: int) -> Place:
    """Return where a packet starts; a pod with ``hostNetwork`` is its node."""
    where = flow["from"]
    if name := where.get("pod"):
        namespace = where.get("namespace") or "default"
        pod = api.get("pods", name, namespace)
        if pod and pod["spec"].get("hostNetwork"):
            return Place("node", pod["spec"]["nodeName"], netns)
        return Place("pod", f"{namespace}/{name}", netns)
    ((kind, name),) = ((kind, where[kind]) for kind in ("node", "world") if where.get(kind))
    return Place(kind, name, netns)


def watched(
    api: Api,
    network: Network,
    pod_netns: Callable[[Object], int | None],
    question: Question,
    held: ExitStack,
) -> list[Place]:
    """Return the places to watch, the source first; their descriptors are copies that `held` has.

    A pod or node that goes meanwhile closes its own.
    """
    known = {place: place for place in network.places()}
    source = known.pop(question.source, question.source)  # a node's place has its addresses
    found = {source: source, **known}
    addresses = _receivers(api, question.address, question.port)
    for pod in api.list("pods"):
        own = {entry["ip"] for entry in pod.get("status", {}).get("podIPs") or ()}
        meant = own & addresses or question.port in _host_ports(pod)
        if meant and not pod["spec"].get("hostNetwork"):
            netns = pod_netns(pod)
            if netns is not None:
                place = Place("pod", key_of(pod), netns)
                found.setdefault(place, place)
    copies = []
    for place in found.values():
        copy = os.dup(place.netns)
        held.callback(os.close, copy)
        copies.append(replace(place, netns=copy))
    return copies


def _receivers(api: Api, address: str, port: int) -> set[str]:
    """Return the addresses that a packet to an address and port may be sent to by a Service."""
    found = {address}
    chosen = {
        (namespace_of(service), name_of(service))
        for service in api.list("services")
        if address in _addresses(service) or port in _node_ports(service)
    }
    for one in api.list(SLICES) if chosen else ():
        if (namespace_of(one), service_of(one)) in chosen:
            for endpoint in one.get("endpoints") or ():
                found.update(endpoint.get("addresses") or ())
    return found


def _addresses(service: Object) -> Iterator[str]:
    spec = service.get("spec") or {}
    yield from spec.get("clusterIPs") or ()
    yield from spec.get("externalIPs") or ()
    balancer = service.get("status", {}).get("loadBalancer") or {}
    for entry in balancer.get("ingress") or ():
        yield entry.get("ip") or ""


def _node_ports(service: Object) -> Iterable[int]:
    return (entry.get("nodePort") or 0 for entry in service.get("spec", {}).get("ports") or ())


def _host_ports(pod: Object) -> Iterator[int]:
    for container in pod["spec"]["containers"]:
        for entry in container.get("ports") or ():
            yield entry.get("hostPort") or 0


def as_json(journey: Journey) -> Object:
    """Return a journey as ``POST traces`` answers it."""
    record = journey.record
    return {
        "outcome": record.outcome,
        "detail": record.detail,
        "seconds": round(record.seconds, 6),
        "address": record.question.address,
        "port": record.question.port,
        "protocol": record.question.protocol,
        "steps": [_step(step) for step in journey.steps],
        "lost": _step(journey.lost) if journey.lost else None,
        "frames": [_frame(sight) for sight in journey.frames],
        "missed": record.lost,
    }


def _step(step: Step) -> Object:
    found: dict[str, Any] = {
        "leg": step.leg,
        "place": {"kind": step.place.kind, "name": step.place.name},
        "kind": step.kind,
        "text": step.text,
    }
    if step.packet:
        found["packet"] = _packet(step.packet)
    if step.interface:
        found["interface"] = step.interface
    if step.kind in ("enters", "leaves"):
        found["seconds"] = step.time / 1e9
    if step.met:
        met = step.met
        found["rule"] = {
            "family": met.family,
            "table": met.table,
            "chain": met.chain,
            "handle": met.handle,
            "verdict": met.verdict,
            "target": met.target,
            "text": step.rule,
        }
    if step.facts:
        found["facts"] = dict(step.facts)
    return found


def _packet(packet: Packet) -> Object:
    return {
        "protocol": packet.protocol,
        "source": packet.source,
        "sourcePort": packet.source_port,
        "destination": packet.destination,
        "destinationPort": packet.destination_port,
        "flags": packet.flags,
        "size": packet.size,
    }


def _frame(sight: Sight) -> Object:
    return {
        "nanoseconds": sight.seen.time,
        "place": {"kind": sight.place.kind, "name": sight.place.name},
        "interface": sight.seen.interface,
        "leaving": sight.seen.leaving,
        "data": base64.b64encode(sight.seen.frame).decode(),
    }
