"""Small estates made at random from a seed, with every construct that policies have.

Two engines that should agree are compared on many of them; the seed in a failure's message
makes the same estate again. Everything comes from a small world of words, so that selectors
meet labels and ranges meet addresses often.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.objects.meta import Object

T = TypeVar("T")

TEAMS, APPS, TIERS = ("red", "blue"), ("web", "db", "job"), ("front", "back")
NAMESPACES = ("one", "two", "three", "four")
PORTS = (8080, 9090)
CIDRS = (
    *("0.0.0.0/0", "10.244.0.0/16", "10.244.1.0/26", "10.244.2.1/32", "203.0.113.0/24"),
    *("172.18.0.0/16", "::/0", "fd00:10:244::/56", "fd00:10:244:1::/64", "2001:db8::/32"),
)
HOLES = {
    "0.0.0.0/0": ("10.244.1.0/26", "10.0.0.0/8", "203.0.113.8/29", "169.254.169.254/32"),
    "10.244.0.0/16": ("10.244.1.0/26", "10.244.2.2/32"),
    "::/0": ("fd00::/8", "2001:db8:113::/48"),
}


class Chance:
    """Random objects from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def one(self, words: Sequence[T]) -> T:
        """Return one of them."""
        return self.random.choice(words)

    def often(self, share: float) -> bool:
        """Say yes in this share of all cases."""
        return self.random.random() < share

    def some(self, make: Callable[[], T], most: int, least: int = 0) -> list[T]:
        """Return from `least` to `most` things."""
        return [make() for _ in range(self.random.randint(least, most))]

    # Who there is.

    def labels(self) -> dict[str, str]:
        """Return the labels of a pod; some have none."""
        found = {}
        if self.often(0.9):
            found["app"] = self.one(APPS)
        if self.often(0.5):
            found["tier"] = self.one(TIERS)
        return found

    def namespace(self, name: str) -> Object:
        """Return a namespace, most with a team."""
        labels = {"team": self.one(TEAMS)} if self.often(0.8) else {}
        return {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}

    # Selectors.

    def selector(self, key: str, values: Sequence[str]) -> Object:
        """Return a label selector over one key."""
        operator = self.one(("In", "NotIn", "Exists", "DoesNotExist"))
        expression: Object = {"key": key, "operator": operator}
        if operator in ("In", "NotIn"):
            size = self.random.randint(1, 2)
            expression["values"] = self.random.sample(values, min(size, len(values)))
        return self.one(
            (
                {},
                {"matchLabels": {key: self.one(values)}},
                {"matchLabels": {key: self.one(values)}},
                {"matchExpressions": [expression]},
            )
        )

    def pods(self) -> Object:
        """Return a selector of pods, sometimes over two keys."""
        found = self.selector("app", APPS)
        if self.often(0.2):
            found = {**found, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}
        return found

    def namespaces(self) -> Object:
        """Return a selector of namespaces, by team or by name."""
        if self.often(0.3):
            return {"matchLabels": {"kubernetes.io/metadata.name": self.one(NAMESPACES)}}
        return self.selector("team", TEAMS)

    def block(self) -> Object:
        """Return an ipBlock."""
        cidr = self.one(CIDRS)
        holes = HOLES.get(cidr, ())
        excepts = self.random.sample(holes, self.random.randint(0, min(2, len(holes))))
        return {"cidr": cidr, "except": excepts} if excepts else {"cidr": cidr}

    # networking.k8s.io/v1

    def network_policy(self, number: int) -> Object:
        """Return a NetworkPolicy."""
        spec: Object = {"podSelector": self.pods()}
        types = self.one((["Ingress"], ["Egress"], ["Ingress", "Egress"], None))
        if types:
            spec["policyTypes"] = types
        for section, side in (("ingress", "from"), ("egress", "to")):
            if self.often(0.7):
                spec[section] = self.some(partial(self.rule, side), 2)
        return _object("networking.k8s.io/v1", "NetworkPolicy", self.placed("np", number), spec)

    def placed(self, name: str, number: int) -> Object:
        """Return metadata in one of the namespaces."""
        return {"name": f"{name}{number}", "namespace": self.one(NAMESPACES)}

    def rule(self, side: str) -> Object:
        """Return a rule; an empty one is everything."""
        made: Object = {}
        if self.often(0.8):
            made[side] = self.some(self.peer, 2)
        if self.often(0.5):
            made["ports"] = self.some(self.port, 2)
        return made

    def peer(self) -> Object:
        """Return a peer of one of the four forms."""
        kind = self.random.randrange(4)
        if kind == 0:
            return {"ipBlock": self.block()}
        peer = {}
        if kind in (1, 3):
            peer["podSelector"] = self.pods()
        if kind in (2, 3):
            peer["namespaceSelector"] = self.namespaces()
        return peer

    def port(self) -> Object:
        """Return a port, a range, a name or a protocol."""
        return self.one(
            (
                *({"port": 8080}, {"port": 9090}, {"port": "http"}, {"protocol": "TCP"}),
                *({"port": 8000, "endPort": 8999}, {"protocol": "UDP", "port": 8080}),
                *({"protocol": "UDP", "port": "http"}, {"protocol": "SCTP", "port": 8080}, {}),
            )
        )

    # policy.networking.k8s.io/v1alpha2

    def cluster_policy(self, number: int) -> Object:
        """Return a ClusterNetworkPolicy."""
        subject = self.one(({"namespaces": self.namespaces()}, {"pods": self.both()}))
        spec = {
            "tier": self.one(("Admin", "Admin", "Baseline")),
            "priority": self.random.randrange(3),
            "subject": subject,
        }
        for section, side in (("ingress", "from"), ("egress", "to")):
            spec[section] = self.some(partial(self.cluster_rule, side), 2)
        api = "policy.networking.k8s.io/v1alpha2"
        return _object(api, "ClusterNetworkPolicy", {"name": f"cnp{number}"}, spec)

    def both(self) -> Object:
        """Return the selectors of namespaces and pods."""
        return {"namespaceSelector": self.namespaces(), "podSelector": self.pods()}

    def cluster_rule(self, side: str) -> Object:
        """Return an ordered rule with its action."""
        networks = side == "to" and self.often(0.3)
        made: Object = {"action": self.one(("Accept", "Deny", "Pass"))}
        if networks:
            made[side] = [{"networks": self.random.sample(CIDRS, 2)}]
        else:
            made[side] = self.some(
                lambda: self.one(({"namespaces": self.namespaces()}, {"pods": self.both()})), 2, 1
            )
        if self.often(0.5):
            made["protocols"] = [
                self.one(
                    (
                        {"tcp": {"destinationPort": {"number": 8080}}},
                        {"tcp": {"destinationPort": {"range": {"start": 9000, "end": 9999}}}},
                        {"udp": {"destinationPort": {"number": 8080}}},
                        *([] if networks else [{"destinationNamedPort": "http"}]),
                    )
                )
            ]
        return made

    # projectcalico.org/v3

    def calico_policy(self, number: int) -> Object:
        """Return a NetworkPolicy or GlobalNetworkPolicy of Calico."""
        spec: Object = {"selector": self.expression()}
        if self.often(0.7):
            spec["order"] = self.one((100, 1000, 2000))
        if self.often(0.5):
            spec["types"] = self.one((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
        if self.often(0.2):
            spec["serviceAccountSelector"] = "has(role)"
        for section in ("ingress", "egress"):
            if self.often(0.7):
                spec[section] = self.some(self.calico_rule, 3)
        kind, metadata = "NetworkPolicy", self.placed("calico", number)
        if self.often(0.5):
            kind, metadata = "GlobalNetworkPolicy", {"name": f"calico{number}"}
            if self.often(0.5):
                spec["namespaceSelector"] = self.space_expression()
        return _object("projectcalico.org/v3", kind, metadata, spec)

    def expression(self) -> str:
        """Return a selector expression over pods."""
        return self.one(
            (
                *(
                    "all()",
                    "app == 'web'",
                    "app != 'db'",
                    "has(tier)",
                    "!has(tier)",
                    "",
                    "global()",
                ),
                *("app in {'web', 'job'}", "app not in {'db'}", "app contains 'e'"),
                *("app starts with 'w' || tier == 'back'", "!(app == 'db' && has(tier))"),
                *("app ends with 'b' && tier == 'front'", "projectcalico.org/namespace == 'one'"),
            )
        )

    def space_expression(self) -> str:
        """Return a selector expression over namespaces."""
        return self.one(
            ("all()", "team == 'red'", "!has(team)", "projectcalico.org/name in {'one', 'two'}")
        )

    def calico_rule(self) -> Object:
        """Return a rule of Calico's."""
        made: Object = {"action": self.one(("Allow", "Allow", "Deny", "Pass", "Log"))}
        protocol = self.one((None, "TCP", "UDP", 6, "ICMP"))
        if protocol is not None:
            made["protocol"] = protocol
        elif self.often(0.2):
            made["notProtocol"] = "UDP"
        if protocol == "ICMP" and self.often(0.5):
            made["icmp"] = {"type": 8}
        if self.often(0.1):
            made["ipVersion"] = self.one((4, 6))
        for name in ("source", "destination"):
            if self.often(0.5):
                made[name] = self.entity()
        if protocol in ("TCP", "UDP", 6) and self.often(0.5):
            ports: list[Any] = [self.one((8080, "9000:9999", "http"))]
            made.setdefault("destination", {})[self.one(("ports", "notPorts"))] = ports
        return made

    def entity(self) -> Object:
        """Return who a rule of Calico's means."""
        made: Object = {}
        if self.often(0.5):
            made["selector"] = self.expression()
        if self.often(0.2):
            made["notSelector"] = self.one(("app == 'web'", "has(tier)"))
        if self.often(0.3):
            made["namespaceSelector"] = self.space_expression()
        if self.often(0.2):
            made["nets"] = self.random.sample(CIDRS, 2)
        if self.often(0.1):
            made["notNets"] = [self.one(CIDRS[1:])]
        if self.often(0.2):
            made["serviceAccounts"] = self.one(({"names": ["robot"]}, {"selector": "has(role)"}))
        return made


def _object(api: str, kind: str, metadata: Object, spec: Object) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}
