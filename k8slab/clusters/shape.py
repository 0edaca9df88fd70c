"""The shape of a cluster, as its nodes show it on every provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from k8slab.objects.meta import Object


def workers(nodes: Sequence[Object]) -> list[str]:
    """Return the names of the nodes that take pods of their own accord, or all where none does.

    A taint PreferNoSchedule keeps no pod away (core/v1 TaintEffect).
    """
    free = [node for node in nodes if not any(map(_repels, _taints(node)))]
    return sorted(map(meta.name_of, free or nodes))


def node_named(said: str, names: Collection[str]) -> str:
    """Return the full name of a node that may be called by its end: ``worker2``; else what it is.

    So in labs, whose clusters have names of their own.
    """
    ending = [name for name in names if name.endswith(f"-{said}")]
    return ending[0] if said not in names and len(ending) == 1 else said


def _taints(node: Object) -> Sequence[Object]:
    return (node.get("spec") or {}).get("taints") or ()


def _repels(taint: Object) -> bool:
    return bool(taint.get("effect") != "PreferNoSchedule")


def ipv4_first(nodes: Sequence[Object]) -> bool:
    """Say whether IPv4 is the family, or the first of two; so it is where nodes tell no address.

    Nodes' and pods' first addresses, and the only one of most Services, are of the first family
    (KEP-563).
    """
    found = ((node.get("status") or {}).get("addresses") or () for node in nodes)
    first = (next((a for a in one if a["type"] == "InternalIP"), None) for one in found)
    return all(one is None or ":" not in one["address"] for one in first)
