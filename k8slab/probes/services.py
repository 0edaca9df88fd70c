"""A Service from its front to its endpoints, and the rules that a node has for it.

Addresses and ports come from the Service, endpoints from its EndpointSlices: every cluster has
both. Where commands run on nodes (capability ``nodes``) the table that kube-proxy writes in
nftables mode is read there, and what belongs to the Service is kept: elements of the verdict maps,
by address or chain, and the chains that have its name. Nothing is computed from the objects: an
endpoint is used where these rules lead to it, so traffic policies and hints need no knowledge here.

Source of the names of tables, maps and chains: pkg/proxy/nftables of Kubernetes, its README.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from k8slab.errors import K8slabError, ProbeError
from k8slab.objects import meta
from k8slab.objects.slices import SERVICE_NAME, SLICES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.objects.meta import Object
    from k8slab.policy import Party

READY, NOT_READY, TERMINATING = "ready", "not ready", "terminating, still serving"

_BLOCK = re.compile(r"^\s*(map|chain) (\S+) \{$")
_GOTO = re.compile(r"goto (\S+?)(?=,|\s|$)")
_DNAT = re.compile(r"dnat to (\S+)$")
_DOORS = ("map service-ips", "map service-nodeports")
_ELEMENT = re.compile(r"([^\s,{}][^,{}]*?) : ((?:goto \S+?|drop))(?=,|\s|$)")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place behind a Service."""

    address: str
    """With its port: ``10.244.1.3:8080``; the address alone where no port fits."""
    name: str
    """The pod, or what else the slice names; empty for an address made by hand."""
    node: str
    state: str
    used: bool
    """Whether the node's rules lead there. Without rules, whether its state allows to use it: the
    ready ones, else those that still serve (KEP-1669)."""
    only: str = ""
    """``inside`` or ``outside`` where only such connections get there: pods and nodes that ask the
    ClusterIP, or who comes by a node port or a load balancer."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One element of a map or one rule of a chain, as nft prints it."""

    place: str
    text: str


@dataclass(frozen=True)
class Front:
    """A Service as it can be reached, what is behind it, and how a node rewrites packets to it."""

    key: str
    kind: str
    addresses: tuple[str, ...]
    """In words: ``10.96.1.26 port 80/TCP``, ``every node, port 30080/TCP``."""
    endpoints: tuple[Endpoint, ...]
    node: str = ""
    """The node whose rules these are; empty where none could be read."""
    rules: tuple[Rule, ...] = ()
    note: str = ""
    """Why there are no rules, where there are none."""


def look(cluster: Any, party: Party, node: str = "") -> Front:
    """Return a Service with its endpoints, and the rules of one node where they can be read.

    Raises `ProbeError` when there is no such Service.
    """
    key = f"{party.namespace}/{party.name}"
    service = cluster.get("services", party.name, party.namespace)
    if service is None:
        raise ProbeError(
            f"there is no Service {key}", hint=f"kubectl -n {party.namespace} get services"
        )
    slices = slices_of(cluster, party.name, party.namespace)
    rules, note = _rules(cluster, service, node)
    endpoints = tuple(_endpoints(slices))
    if rules is not None:
        endpoints = _by_rules(endpoints, rules, service)
        note = note if rules else f"{node} has no rule for this Service"
    kind = service["spec"].get("type") or "ClusterIP"
    where = tuple(dict.fromkeys(_addresses(service)))
    read = "" if rules is None else node
    return Front(key, kind, where, endpoints, read, rules or (), note)


def slices_of(cluster: Any, name: str, namespace: str) -> list[Object]:
    """Return the EndpointSlices of a Service."""
    found: list[Object] = cluster.list(SLICES, namespace, selector=f"{SERVICE_NAME}={name}")
    return found


def _addresses(service: Object) -> Iterator[str]:
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        yield f"an alias (CNAME) of {spec.get('externalName')}"
        return
    headless = spec.get("clusterIP") == "None"
    if headless:
        yield "headless: its name gives the addresses of the endpoints"
    for port in spec.get("ports") or () if not headless else ():
        number = f"port {port['port']}/{port.get('protocol') or 'TCP'}"
        for address in [*_cluster_ips(service), *_balanced(service)]:
            yield f"{address} {number}"
        if port.get("nodePort"):
            yield f"every node, port {port['nodePort']}/{port.get('protocol') or 'TCP'}"
    if spec.get("type") == "LoadBalancer" and not _balanced(service):
        yield "external address: pending"


def _cluster_ips(service: Object) -> list[str]:
    spec = service["spec"]
    found = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [address for address in found if address not in (None, "", "None")]


def _balanced(service: Object) -> list[str]:
    entries = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [entry["ip"] for entry in entries if entry.get("ip")]


def _endpoints(slices: Iterable[Object]) -> Iterator[Endpoint]:
    found = {}
    for one in slices:
        ports = [port["port"] for port in one.get("ports") or () if port.get("port")]
        for entry in one.get("endpoints") or ():
            address = entry["addresses"][0]
            bare = f"[{address}]" if ":" in address else address
            for place in [f"{bare}:{port}" for port in ports] or [address]:
                found[place] = (entry, _state(entry.get("conditions") or {}))
    states = {state for _, state in found.values()}
    wanted = READY if READY in states else TERMINATING
    for place, (entry, state) in sorted(found.items()):
        name = (entry.get("targetRef") or {}).get("name") or ""
        yield Endpoint(place, name, entry.get("nodeName") or "", state, state == wanted)


def _state(conditions: Object) -> str:
    """Return the state in words; a condition that is absent counts as true (discovery/v1)."""
    if conditions.get("ready") is not False:
        return READY
    serving = conditions.get("terminating") and conditions.get("serving") is not False
    return TERMINATING if serving else NOT_READY


def _rules(cluster: Any, service: Object, node: str) -> tuple[tuple[Rule, ...] | None, str]:
    """Return what belongs to the Service in a node's tables, or why that is not known."""
    addresses = _cluster_ips(service)
    if not addresses:
        return None, "without an address of its own no node has a rule for it"
    if not node or "nodes" not in cluster.capabilities:
        return (
            None,
            f"the provider {cluster.provider} runs no commands on nodes: no rules are shown",
        )
    families = dict.fromkeys("ip6" if ":" in address else "ip" for address in addresses)
    found: list[Rule] = []
    for family in families:
        argv = ["nft", "list", "table", family, "kube-proxy"]
        try:
            done = cluster.node_run(node, argv)
        except K8slabError as error:
            return None, f"the rules of {node} cannot be read: {error.args[0]}"
        if done.code:
            return None, f"{node} has no table of kube-proxy in nftables mode"
        found += belonging(done.stdout, service)
    return tuple(sorted(found, key=_order)), ""


_WAY = ("map", "chain firewall", "chain external", "chain service", "chain local")


def _order(rule: Rule) -> int:
    """Return when a packet meets a rule: maps, the Service's chains, the endpoints' chains."""
    return next((n for n, word in enumerate(_WAY) if rule.place.startswith(word)), len(_WAY))


def _by_rules(
    endpoints: Iterable[Endpoint], rules: Iterable[Rule], service: Object
) -> tuple[Endpoint, ...]:
    """Return the endpoints as these rules use them, from inside and from outside."""
    rules = [*rules]
    clusters = tuple(f"{address} . " for address in _cluster_ips(service))
    inside = [r for r in rules if r.place == "map service-ips" and r.text.startswith(clusters)]
    doors = [r for r in rules if r.place in _DOORS and r not in inside]
    ways = {"inside": _rewritten(rules, inside), "outside": _rewritten(rules, doors)}
    found = []
    for one in endpoints:
        told = [way for way, places in ways.items() if one.address in places]
        only = told[0] if len(told) == 1 and doors else ""
        found.append(replace(one, used=bool(told), only=only))
    return tuple(found)


def _rewritten(rules: Iterable[Rule], first: Iterable[Rule]) -> set[str]:
    """Return what the destination becomes, ``10.244.1.3:8080``, when packets begin at some rules.

    In a chain for what comes from outside a condition before ``goto`` is about others: pods and
    the node itself.
    """
    chains: dict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        chains[rule.place.removeprefix("chain ")].append(rule)
    found: set[str] = set()
    seen: set[str] = set()
    left = [*first]
    while left:
        rule = left.pop()
        if target := _DNAT.search(rule.text):
            found.add(target[1])
        if rule.place.startswith("chain external-") and not rule.text.startswith("goto"):
            continue
        new = {*_GOTO.findall(rule.text)} - seen
        seen |= new
        left += [each for chain in new for each in chains[chain]]
    return found


def belonging(listing: str, service: Object) -> Iterator[Rule]:
    """Yield what belongs to a Service in what ``nft list table`` printed, maps and chains."""
    mark = f"-{meta.namespace_of(service)}/{meta.name_of(service)}/"
    keys = {f"{a} . {p} . {n}" for a, p, n, _ in _numbers(service)}
    keys |= {f"{p} . {node_port}" for _, p, _, node_port in _numbers(service) if node_port}
    kind = place = ""
    for line in listing.splitlines():
        text = line.strip()
        if block := _BLOCK.match(line):
            kind, place = block[1], block[2]
        elif text == "}":
            kind = ""
        elif kind == "map":
            for found in _ELEMENT.finditer(text):
                if found[1] in keys or mark in found[2]:
                    yield Rule(f"map {place}", f"{found[1]} : {found[2]}")
        elif kind == "chain" and mark in place:
            yield Rule(f"chain {place}", text)


def _numbers(service: Object) -> Iterator[tuple[str, str, int, int]]:
    for port in service["spec"].get("ports") or ():
        protocol = (port.get("protocol") or "TCP").lower()
        for address in [*_cluster_ips(service), *_balanced(service)]:
            yield address, protocol, port["port"], port.get("nodePort") or 0
