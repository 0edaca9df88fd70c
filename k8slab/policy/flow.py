"""A flow: who wants to reach whom, on which port, by which protocol.

The same value is predicted by `policy`, observed by `probes` and compared by `grading`.
Parties are written as text, so that exercises, commands and messages share one form:

    shop/web                    the pod web in the namespace shop (web alone: default namespace)
    shop/deployment/web         the pods of a workload
    svc:shop/web                a Service, by its cluster address
    node:k8slab-worker          a node
    ip:203.0.113.10             an address
    name:web.shop               a name, resolved where the flow starts
    world:internet              a host outside the cluster (sources only)
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from k8slab.errors import UsageError

WORKLOADS = (
    *("deployment", "statefulset", "daemonset", "replicaset", "job", "cronjob"),
    "replicationcontroller",
)
PREFIXES = ("pod", "svc", "node", "ip", "name", "world")
PROTOCOLS = ("TCP", "UDP", "SCTP")


@dataclass(frozen=True, slots=True, order=True)
class Party:
    """One end of a flow. `kind` is a prefix, or a workload's word; see the module."""

    kind: str
    name: str
    namespace: str = ""

    @classmethod
    def parse(cls, text: str, namespace: str = "default") -> Party:
        """Read a party; `namespace` holds where the text names none. Raises `UsageError`."""
        prefix, colon, rest = text.partition(":")
        if not colon or prefix not in PREFIXES:
            prefix, rest = "pod", text
        if not rest:
            raise UsageError(f"{text!r} names nobody", hint=_HINT)
        if prefix == "ip":
            return cls("ip", _address(rest))
        if prefix in ("node", "name", "world"):
            return cls(prefix, rest)
        return _namespaced(prefix, rest, namespace)

    def __str__(self) -> str:
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        if self.kind in WORKLOADS:
            return f"{self.namespace}/{self.kind}/{self.name}"
        return path if self.kind == "pod" else f"{self.kind}:{path}"


_HINT = (
    "write NAMESPACE/POD, NAMESPACE/deployment/NAME, svc:NAMESPACE/NAME, node:NAME, ip:ADDRESS, "
    "name:HOST or world:HOST"
)


def _namespaced(prefix: str, rest: str, namespace: str) -> Party:
    parts = rest.split("/")
    if not all(parts):
        raise UsageError(f"{rest!r} has an empty part", hint=_HINT)
    match parts:
        case [name]:
            return Party(prefix, name, namespace)
        case [workload, name] if workload in WORKLOADS and prefix == "pod":
            return Party(workload, name, namespace)
        case [space, name]:
            return Party(prefix, name, space)
        case [space, workload, name] if workload in WORKLOADS and prefix == "pod":
            return Party(workload, name, space)
    raise UsageError(f"cannot read {rest!r} as a party of a flow", hint=_HINT)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise UsageError(f"{text!r} is not an IP address") from error


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """One question: may `source` reach `destination` on `port`.

    `port` is a number, or the name of a port of the destination pod or Service.
    """

    source: Party
    destination: Party
    port: int | str
    protocol: str = "TCP"

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UsageError(
                f"unknown protocol {self.protocol!r}", hint=f"use one of {', '.join(PROTOCOLS)}"
            )
        if isinstance(self.port, int) and not 1 <= self.port <= 65535:
            raise UsageError(f"port {self.port} is not between 1 and 65535")

    @classmethod
    def of(
        cls, source: str, destination: str, port: int | str, protocol: str = "TCP", *,
        namespace: str = "default",
    ) -> Flow:  # fmt: skip
        """Make a flow of texts; see the module for the form of a party."""
        return cls(
            Party.parse(source, namespace),
            Party.parse(destination, namespace),
            port,
            protocol.upper(),
        )

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination} port {self.port}/{self.protocol}"
