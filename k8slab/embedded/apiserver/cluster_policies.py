"""The types of policy.networking.k8s.io/v1alpha2, which the `kubernetes` package has no models of.

Source: ``apis/v1alpha2/clusternetworkpolicy_types.go`` of kubernetes-sigs/network-policy-api, the
experimental channel's fields included; what of it is refused says `validation.cluster_policies`.
"""

from __future__ import annotations

from typing import Any

GROUP = "policy.networking.k8s.io"
_PACKAGE = "io.k8s.api.policy.v1alpha2"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_SELECTOR = f"{_META}.LabelSelector"
_POLICY = "ClusterNetworkPolicy"

_RULE = {
    "name": ["string", "Name of the rule, at most 100 characters, for people and messages."],
    "action": ["string", "Accept, Deny (both final), or Pass to the next tier."],
    "protocols": ["[Protocol", "What is matched of the packet; everything where it is missing."],
}
_PODS = {
    "namespaces": [_SELECTOR, "All pods of the namespaces with these labels."],
    "pods": ["NamespacedPod", "The pods with these labels, in the namespaces with these labels."],
}
_DESTINATION = {"destinationPort": ["Port", "The port or the range of ports."]}

_TYPES: dict[str, tuple[str, dict[str, list[str]], list[str]]] = {
    "": (
        "ClusterNetworkPolicy is a cluster-wide network policy, in the tier Admin or Baseline.",
        {
            "apiVersion": ["string", "Version of the schema of this object."],
            "kind": ["string", "Kind of this object."],
            "metadata": [f"{_META}.ObjectMeta", "Standard object metadata."],
            "spec": ["Spec", "The desired behaviour."],
            "status": ["Status", "What the implementation says."],
        },
        ["metadata", "spec"],
    ),
    "Spec": (
        "Subject, tier, priority and ordered rules.",
        {
            "tier": ["string", "Admin comes before NetworkPolicy, Baseline after it."],
            "priority": ["integer", "0 to 1000 within the tier; lower values are asked first."],
            "subject": ["Subject", "The pods to which the policy applies."],
            "ingress": ["[IngressRule", "Up to 25 rules in order, for packets to the subject."],
            "egress": ["[EgressRule", "Up to 25 rules in order, for packets from the subject."],
        },
        ["tier", "priority", "subject"],
    ),
    "Status": (
        "The observed state.",
        {"conditions": [f"[{_META}.Condition", "Conditions of the policy."]},
        ["conditions"],
    ),
    "Subject": ("Exactly one of its fields must be set.", _PODS, []),
    "IngressRule": (
        "What to do with certain packets to the subject.",
        {**_RULE, "from": ["[IngressPeer", "The sources; one to 25."]},
        ["action", "from"],
    ),
    "EgressRule": (
        "What to do with certain packets from the subject.",
        {**_RULE, "to": ["[EgressPeer", "The destinations; one to 25."]},
        ["action", "to"],
    ),
    "IngressPeer": ("Exactly one of its fields must be set.", _PODS, []),
    "EgressPeer": (
        "Exactly one of its fields must be set.",
        {
            **_PODS,
            "networks": ["[string", "Address ranges; they match pods too."],
            "nodes": [_SELECTOR, "Nodes by their labels (experimental; not supported here)."],
            "domainNames": ["[string", "Names (experimental; not supported here)."],
        },
        [],
    ),
    "NamespacedPod": (
        "Pods by the labels of their namespaces and their own; an empty selector is all.",
        {
            "namespaceSelector": [_SELECTOR, "The namespaces."],
            "podSelector": [_SELECTOR, "The pods in them."],
        },
        ["namespaceSelector", "podSelector"],
    ),
    "Protocol": (
        "Exactly one of its fields must be set.",
        {
            "tcp": ["ProtocolTCP", "TCP."],
            "udp": ["ProtocolUDP", "UDP."],
            "sctp": ["ProtocolSCTP", "SCTP."],
            "destinationNamedPort": ["string", "The name of a container port (experimental)."],
        },
        [],
    ),
    "ProtocolTCP": ("Attributes of TCP.", _DESTINATION, []),
    "ProtocolUDP": ("Attributes of UDP.", _DESTINATION, []),
    "ProtocolSCTP": ("Attributes of SCTP.", _DESTINATION, []),
    "Port": (
        "Exactly one of its fields must be set.",
        {
            "number": ["integer", "One port."],
            "range": ["PortRange", "Ports from start to end."],
        },
        [],
    ),
    "PortRange": (
        "Both ends belong to it; start is less than end.",
        {"start": ["integer", "The first port."], "end": ["integer", "The last port."]},
        ["end", "start"],
    ),
}
_SHARED = ("NamespacedPod", "Port", "PortRange")


def _name(word: str) -> str:
    return f"{_PACKAGE}.{word if word in _SHARED else _POLICY + word}"


def types() -> dict[str, Any]:
    """Return these types as rows with their texts (see `schema_build`)."""
    table: dict[str, Any] = {}
    for word, (description, fields, required) in _TYPES.items():
        spelled = {name: [_spell(kind), text] for name, (kind, text) in sorted(fields.items())}
        table[_name(word)] = {"d": description, "f": spelled}
        if required:
            table[_name(word)]["r"] = required
    return table


def _spell(kind: str) -> str:
    shape, word = ("[", kind[1:]) if kind.startswith("[") else ("", kind)
    return shape + (_name(word) if word in _TYPES else word)
