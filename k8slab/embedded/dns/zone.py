"""What Services, EndpointSlices and pods mean as names.

Source: Kubernetes DNS-Based Service Discovery, schema version 1.1.0, and where that leaves
a choice, what CoreDNS' kubernetes plugin does. Pure: objects go in, records come out.

    NAME.NS.svc.ZONE                 A/AAAA  cluster addresses, or each ready endpoint (headless)
    _PORT._PROTO.NAME.NS.svc.ZONE    SRV     port and target of the same
    HOST.NAME.NS.svc.ZONE            A/AAAA  one endpoint: its hostname, or its address with dashes
    NAME.NS.svc.ZONE                 CNAME   of an ExternalName Service
    A-B-C-D.NS.pod.ZONE              A       the address itself (`pods insecure`)
    D.C.B.A.in-addr.arpa             PTR     the Service's or endpoint's name
    dns-version.ZONE                 TXT     1.1.0
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from k8slab.embedded.wire import (
    AAAA,
    CNAME,
    NOERROR,
    NS,
    NXDOMAIN,
    PTR,
    SOA,
    SRV,
    TXT,
    A,
    Record,
)

if TYPE_CHECKING:
    from k8slab.embedded.dns.catalogue import Catalogue, Port

SCHEMA_VERSION = b"1.1.0"
REVERSE_ZONES = ("in-addr.arpa.", "ip6.arpa.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The kubernetes plugin's options in a Corefile, with its defaults."""

    zones: tuple[str, ...] = ("cluster.local.",)
    pods: str = "disabled"
    """``disabled``, ``insecure`` or ``verified``."""
    ttl: int = 5
    namespaces: frozenset[str] = frozenset()
    """The only namespaces with names; empty is all."""
    endpoint_pod_names: bool = False
    no_endpoints: bool = False
    ignore_empty_service: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the zone knows about one question."""

    rcode: int = NOERROR
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    follow: str = ""
    """The target of a CNAME which the asked-for address has to be looked up under."""


class _Found(NamedTuple):
    """One place that a name leads to; `port` is -1 when it has none."""

    target: str
    address: str
    port: int


class Zone:
    """Answers questions about the zones of one kubernetes plugin from a `Catalogue`."""

    def __init__(self, catalogue: Catalogue, options: Options) -> None:
        self.catalogue = catalogue
        self.options = options
        self._primary = next(
            (zone for zone in options.zones if zone not in REVERSE_ZONES), "cluster.local."
        )

    def match(self, name: str) -> str:
        """Return the longest of our zones that `name` lies in, or an empty text."""
        return max(
            (zone for zone in self.options.zones if in_zone(name, zone)), key=len, default=""
        )

    def lookup(self, name: str, kind: int) -> Answer | None:
        """Answer the question, or return ``None`` when the name lies in none of the zones."""
        zone = self.match(name)
        if not zone:
            return None
        address = _reverse_address(name)
        if address is not None:
            return self._pointers(name, kind, zone, address)
        base = name[: -len(zone)].rstrip(".") if zone != "." else name.rstrip(".")
        special = self._special(name, kind, zone, base)
        if special is not None:
            return special
        found = self._find(base, zone)
        if found is None:
            return self._negative(zone, NXDOMAIN)
        return self._answer(name, kind, zone, found)

    def _special(self, name: str, kind: int, zone: str, base: str) -> Answer | None:
        """Answer for the apex, its name server, and the schema version."""
        ttl = self.options.ttl
        server = f"ns.dns.{zone}"
        if base == "":
            if kind == SOA:
                return Answer(answers=(self._soa(zone),))
            if kind == NS:
                extra = tuple(
                    self._server_addresses(server, A) + self._server_addresses(server, AAAA)
                )
                return Answer(answers=(Record(name, NS, ttl, server),), additional=extra)
            return self._negative(zone, NOERROR)
        if name == server:
            return self._positive(zone, self._server_addresses(server, kind))
        if base == "dns-version":
            version = [Record(name, TXT, ttl, (SCHEMA_VERSION,))] if kind == TXT else []
            return self._positive(zone, version)
        return None

    def _find(self, base: str, zone: str) -> list[_Found] | str | None:
        """Return the places that a name leads to, a CNAME's target, or ``None`` for NXDOMAIN."""
        parts = base.split(".")
        group = parts.pop()
        if group not in ("svc", "pod"):
            return None
        if not parts:
            return []
        namespace = parts.pop()
        allowed = self.options.namespaces
        if namespace not in self.catalogue.namespaces or (allowed and namespace not in allowed):
            return None
        if group == "pod" and self.options.pods == "disabled":
            return None
        if not parts:
            return []
        if group == "pod":
            return self._find_pod(parts, namespace, f"{base}.{zone}")
        return self._find_service(parts, namespace, zone)

    def _find_pod(self, parts: list[str], namespace: str, name: str) -> list[_Found] | None:
        if len(parts) != 1:
            return None
        text = parts[0]
        v4 = text.count("-") == 3 and "--" not in text
        try:
            address = str(ipaddress.ip_address(text.replace("-", "." if v4 else ":")))
        except ValueError:
            return None
        if self.options.pods == "verified" and not any(
            key[0] == namespace and address in addresses
            for key, addresses in self.catalogue.pods.items()
        ):
            return None
        return [_Found(name, address, -1)]

    def _find_service(
        self, parts: list[str], namespace: str, zone: str
    ) -> list[_Found] | str | None:
        key = (namespace, parts.pop())
        service = self.catalogue.services.get(key)
        if service is None or len(parts) > 2:
            return None
        endpoint = parts[0] if len(parts) == 1 else ""
        protocol, port = "", ""
        if len(parts) == 2:
            port, protocol = (part.removeprefix("_") for part in parts)
        if service.kind == "ExternalName":
            return None if endpoint or not service.external_name else service.external_name
        name = f"{key[1]}.{namespace}.svc.{zone}"
        if endpoint or service.headless:
            found = self._find_endpoints(key, name, endpoint, (port, protocol))
        elif self.options.ignore_empty_service and not any(self.catalogue.endpoints(key)):
            found = []
        else:
            found = [
                _Found(name, address, number)
                for number in _matching(service.ports, port, protocol)
                for address in service.addresses
            ]
        return found or None

    def _find_endpoints(
        self, key: tuple[str, str], name: str, wanted: str, port: tuple[str, str]
    ) -> list[_Found]:
        if self.options.no_endpoints:
            return []
        found = []
        for endpoint in self.catalogue.endpoints(key):
            label = self._label(endpoint.address, endpoint.hostname, endpoint.pod)
            if wanted in ("", label):
                found += [
                    _Found(f"{label}.{name}", endpoint.address, number)
                    for number in _matching(endpoint.ports, *port)
                ]
        return found

    def _label(self, address: str, hostname: str, pod: str) -> str:
        if hostname:
            return hostname.lower()
        if self.options.endpoint_pod_names and pod:
            return pod.lower()
        return address.replace(".", "-").replace(":", "-")

    def _answer(self, name: str, kind: int, zone: str, found: list[_Found] | str) -> Answer:
        ttl = self.options.ttl
        if isinstance(found, str):
            alias = Record(name, CNAME, ttl, found)
            if kind == CNAME:
                return Answer(answers=(alias,))
            if kind in (A, AAAA):
                return Answer(answers=(alias,), follow=found)
            return self._negative(zone, NOERROR)
        if kind == SRV:
            return self._services(name, zone, found)
        return self._positive(zone, _addresses(name, kind, ttl, [each.address for each in found]))

    def _services(self, name: str, zone: str, found: list[_Found]) -> Answer:
        """Build SRV records; weights share 100 evenly, as CoreDNS gives them."""
        targets = dict.fromkeys((each.port, each.target) for each in found if each.port > 0)
        weight = 100 // max(1, len(targets))
        ttl = self.options.ttl
        records = [Record(name, SRV, ttl, (0, weight, port, to)) for port, to in targets]
        extra = dict.fromkeys(
            record
            for each in found
            for kind in (A, AAAA)
            for record in _addresses(each.target, kind, ttl, [each.address])
        )
        if not records:
            return self._negative(zone, NOERROR)
        return Answer(answers=tuple(records), additional=tuple(extra))

    def _pointers(self, name: str, kind: int, zone: str, address: str) -> Answer:
        names = []
        for namespace, service, *endpoint in self.catalogue.reverse(address):
            if self.options.namespaces and namespace not in self.options.namespaces:
                continue
            full = f"{service}.{namespace}.svc.{self._primary}"
            names.append(f"{self._label(address, *endpoint)}.{full}" if endpoint else full)
        if not names:
            return self._negative(zone, NXDOMAIN)
        if kind != PTR:
            return self._negative(zone, NOERROR)
        return Answer(
            answers=tuple(Record(name, PTR, self.options.ttl, each) for each in sorted(names))
        )

    def _server_addresses(self, name: str, kind: int) -> list[Record]:
        service = self.catalogue.services.get(("kube-system", "kube-dns"))
        addresses = service.addresses if service and not service.headless else ()
        return _addresses(name, kind, self.options.ttl, addresses)

    def _positive(self, zone: str, records: list[Record]) -> Answer:
        return Answer(answers=tuple(records)) if records else self._negative(zone, NOERROR)

    def _negative(self, zone: str, rcode: int) -> Answer:
        return Answer(rcode=rcode, authority=(self._soa(zone),))

    def _soa(self, zone: str) -> Record:
        # Refresh, retry and expire as CoreDNS; the last is how long a "no" may be kept.
        ttl = self.options.ttl
        times = (self.catalogue.changed, 7200, 1800, 86400, ttl)
        return Record(zone, SOA, ttl, (f"ns.dns.{zone}", f"hostmaster.{zone}", *times))


def in_zone(name: str, zone: str) -> bool:
    """Tell whether `name` is `zone` or below it; both end with a dot."""
    return zone in (".", name) or name.endswith("." + zone)


def _addresses(name: str, kind: int, ttl: int, addresses: Any) -> list[Record]:
    if kind not in (A, AAAA):
        return []
    wants_v6 = kind == AAAA
    fitting = (each for each in addresses if (":" in each) == wants_v6 and each != "None")
    return [Record(name, kind, ttl, each) for each in dict.fromkeys(fitting)]


def _matching(ports: tuple[Port, ...], port: str, protocol: str) -> list[int]:
    return [
        number
        for name, transport, number in ports
        if port in ("", name) and protocol in ("", transport)
    ]


def _reverse_address(name: str) -> str | None:
    """Return the address that a reverse name stands for, or ``None``."""
    try:
        if name.endswith(".in-addr.arpa."):
            parts = name.removesuffix(".in-addr.arpa.").split(".")
            return str(ipaddress.IPv4Address(".".join(reversed(parts))))
        if name.endswith(".ip6.arpa."):
            digits = "".join(reversed(name.removesuffix(".ip6.arpa.").split(".")))
            return str(ipaddress.IPv6Address(int(digits, 16))) if len(digits) == 32 else None
    except ValueError:
        return None
    return None
