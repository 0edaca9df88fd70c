"""Large estates of realistic shape, made from a seed: to practise audits, for benchmarks and tests.

Teams own namespaces; in each live some applications with tiers (front, api, worker, store),
every tier a Deployment with replicas that carry the labels which controllers add. Shared
namespaces (names, monitoring, ingress, messaging) serve all. Policies are what teams write:
default deny and DNS in most namespaces, each tier's callers by label, monitoring by
namespace, public fronts, egress to partners by ipBlock, ports by number, range and name.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.objects.meta import Object

TIERS = {"front": 8080, "api": 9000, "worker": 9100, "store": 5432}
CALLERS = {"front": (), "api": ("front",), "worker": ("api",), "store": ("api", "worker")}
SHARED = {
    "kube-system": ("coredns", {"k8s-app": "kube-dns"}, 53),
    "monitoring": ("prometheus", {"app": "prometheus"}, 9090),
    "ingress": ("gateway", {"app": "gateway"}, 8443),
    "messaging": ("broker", {"app": "broker"}, 5672),
}
PARTNERS = 40
"""Address ranges outside that some policy names."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large an estate is to be; numbers are reached as near as whole Deployments allow."""

    pods: int
    policies: int
    namespaces: int

    @property
    def replicas(self) -> int:
        """Return the pods of a Deployment: more in larger estates, as in life."""
        return 4 if self.pods <= 2000 else 10


def realistic(size: Size, seed: int = 1) -> list[Object]:
    """Return the objects of an estate: namespaces, nodes, workloads, pods, Services, policies."""
    return list(_Maker(size, random.Random(seed)).objects())


@dataclass
class _Maker:
    size: Size
    random: random.Random
    pods: int = 0
    policies: list[Object] = field(default_factory=list)

    def objects(self) -> Iterator[Object]:
        for name in SHARED:
            yield _thing("v1", "Namespace", name, "", {"kind": "shared"})
        for name, (app, labels, port) in SHARED.items():
            yield from self.deployment(name, app, labels, port)
        teams = [f"team-{n}" for n in range(max(1, self.size.namespaces - len(SHARED)))]
        for number, name in enumerate(teams):
            labels = {"team": name, "stage": ("prod", "test")[number % 2]}
            yield _thing("v1", "Namespace", name, "", labels)
        apps = self._apps(len(teams))
        for number, name in enumerate(teams):
            for app in apps[number]:
                for tier, port in TIERS.items():
                    if self.pods < self.size.pods:
                        labels = {"app": app, "tier": tier}
                        yield from self.deployment(name, f"{app}-{tier}", labels, port)
        yield from self.all_policies(teams, apps)

    def _apps(self, teams: int) -> list[list[str]]:
        """Return the applications of each team: enough for all pods."""
        each = self.size.pods / self.size.replicas / len(TIERS) / teams
        found, owed = [], 0.0
        for number in range(teams):
            owed += each
            found.append([f"app-{number}-{n}" for n in range(max(1, round(owed)))])
            owed -= len(found[-1])
        return found

    def deployment(
        self, namespace: str, name: str, labels: dict[str, str], port: int
    ) -> Iterator[Object]:
        container = {"name": "main", "ports": [{"name": "main", "containerPort": port}]}
        spec = {"containers": [container], "serviceAccountName": name}
        template = {"metadata": {"labels": labels}, "spec": spec}
        body = {"replicas": self.size.replicas, "template": template}
        yield _thing("apps/v1", "Deployment", name, namespace, labels, spec=body)
        mark = f"{self.random.getrandbits(36):09x}"
        sets = {**labels, "pod-template-hash": mark}
        owner = {"kind": "Deployment", "name": name, "controller": True}
        made = _thing("apps/v1", "ReplicaSet", f"{name}-{mark}", namespace, sets, spec=body)
        made["metadata"]["ownerReferences"] = [owner]
        yield made
        for _ in range(self.size.replicas):
            yield self.pod(namespace, f"{name}-{mark}", sets, spec)
        ports = [{"name": "main", "port": 80, "targetPort": "main"}]
        service = {"selector": labels, "ports": ports}
        yield _thing("v1", "Service", name, namespace, {}, spec=service)

    def pod(self, namespace: str, owner: str, labels: dict[str, str], spec: Object) -> Object:
        number = self.pods
        self.pods += 1
        node = number % 250
        pod = _thing(
            "v1", "Pod", f"{owner}-{number:05x}", namespace, labels,
            spec={**spec, "nodeName": f"node-{node}"},
        )  # fmt: skip
        reference = {"kind": "ReplicaSet", "name": owner, "controller": True}
        pod["metadata"]["ownerReferences"] = [reference]
        address = f"10.{64 + number // 62500}.{node}.{number // 250 % 250 + 1}"
        ready = {"type": "Ready", "status": "True"}
        pod["status"] = {"phase": "Running", "podIPs": [{"ip": address}], "conditions": [ready]}
        return pod

    def all_policies(self, teams: list[str], apps: list[list[str]]) -> Iterator[Object]:
        """Yield policies round by round over all teams, until there are enough."""
        plans = [self.plan(name, apps[number]) for number, name in enumerate(teams)]
        wanted = self.size.policies
        while plans and wanted:
            alive = []
            for plan in plans:
                made = next(plan, None)
                if made is not None and wanted:
                    wanted -= 1
                    alive.append(plan)
                    yield made
            plans = alive

    def plan(self, namespace: str, apps: list[str]) -> Iterator[Object]:
        """Yield what one team writes, the most usual first."""
        if self.random.random() < 0.9:
            spec: Object = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
            yield _policy(namespace, "default-deny", spec)
            yield _policy(namespace, "dns", _egress({}, [_DNS], [_port(53, "UDP"), _port(53)]))
            yield _policy(
                namespace, "metrics", _ingress({}, [_space("monitoring")], [_port("main")])
            )
        for app in apps:
            for tier in TIERS:
                yield self.tier(namespace, app, tier)
        for app in apps:
            for tier in TIERS:
                yield self.calls(namespace, app, tier)
        for number in range(1000):
            app = self.random.choice(apps)
            yield self.special(namespace, app, f"{app}-{number}")

    def tier(self, namespace: str, app: str, tier: str) -> Object:
        """Admit a tier's callers."""
        labels, port = {"app": app, "tier": tier}, _port(TIERS[tier])
        if tier == "front":
            peers = [_space("ingress")]
            if self.random.random() < 0.3:
                peers = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]
            return _policy(namespace, f"{app}-{tier}", _ingress(labels, peers, [port]))
        peers = [_pods({"app": app, "tier": caller}) for caller in CALLERS[tier]]
        if self.random.random() < 0.3:
            port = _port("main")
        return _policy(namespace, f"{app}-{tier}", _ingress(labels, peers, [port]))

    def calls(self, namespace: str, app: str, tier: str) -> Object:
        """Admit what a tier calls, and sometimes a partner or the broker."""
        called = [name for name, callers in CALLERS.items() if tier in callers]
        rules = [
            {"to": [_pods({"app": app, "tier": name})], "ports": [_port(TIERS[name])]}
            for name in called
        ]
        if self.random.random() < 0.4:
            block = {"ipBlock": {"cidr": f"198.18.{self.random.randrange(PARTNERS)}.0/24"}}
            rules.append({"to": [block], "ports": [_port(443)]})
        if self.random.random() < 0.4:
            rules.append({"to": [_space("messaging")], "ports": [_port(5672)]})
        spec = {"podSelector": _match({"app": app, "tier": tier}), "policyTypes": ["Egress"]}
        return _policy(namespace, f"{app}-{tier}-calls", {**spec, "egress": rules})

    def special(self, namespace: str, app: str, name: str) -> Object:
        """Admit one thing more: another team, a range of ports, whoever is not in test."""
        labels = {"app": app, "tier": self.random.choice([*TIERS])}
        other = f"team-{self.random.randrange(max(1, self.size.namespaces - len(SHARED)))}"
        expression = {"key": "stage", "operator": "NotIn", "values": ["test"]}
        peer = self.random.choice(
            (
                {**_team(other), "podSelector": _match({"tier": "api"})},
                {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}},
                {
                    "namespaceSelector": {"matchExpressions": [expression]},
                    **_pods({"tier": "front"}),
                },
            )
        )
        ports = [{"port": 9000, "endPort": 9999}] if self.random.random() < 0.3 else [_port(9000)]
        return _policy(namespace, name, _ingress(labels, [peer], ports))


def _thing(
    api: str, kind: str, name: str, namespace: str, labels: dict[str, str], **more: Any
) -> Object:
    metadata: Object = {"name": name, "labels": labels}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **more}


def _policy(namespace: str, name: str, spec: Object) -> Object:
    return _thing("networking.k8s.io/v1", "NetworkPolicy", name, namespace, {}, spec=spec)


def _match(labels: dict[str, str]) -> Object:
    return {"matchLabels": labels} if labels else {}


def _pods(labels: dict[str, str]) -> Object:
    return {"podSelector": _match(labels)}


def _space(name: str) -> Object:
    return {"namespaceSelector": _match({"kubernetes.io/metadata.name": name})}


def _team(name: str) -> Object:
    return {"namespaceSelector": _match({"team": name})}


def _port(port: int | str, protocol: str = "TCP") -> Object:
    return {"port": port, "protocol": protocol}


def _ingress(labels: dict[str, str], peers: list[Object], ports: list[Object]) -> Object:
    rule = {"from": peers, "ports": ports}
    return {"podSelector": _match(labels), "policyTypes": ["Ingress"], "ingress": [rule]}


def _egress(labels: dict[str, str], peers: list[Object], ports: list[Object]) -> Object:
    rule = {"to": peers, "ports": ports}
    return {"podSelector": _match(labels), "policyTypes": ["Egress"], "egress": [rule]}


_DNS = {**_space("kube-system"), **_pods({"k8s-app": "kube-dns"})}
