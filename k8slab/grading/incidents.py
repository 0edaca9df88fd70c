"""A file about one disagreement of policies and kernel, to send to whoever mends k8slab.

It holds what decides about the flows and nothing else: names, labels, addresses, ports and
policies; no environment, no command line, no ConfigMap, no Secret. The same disagreement
gives the same file, so that checking again and again leaves one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from k8slab.embedded.config import state_home
from k8slab.objects import meta
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from k8slab.grading.context import Context
    from k8slab.grading.judged import Judged
    from k8slab.objects.meta import Object

DIRECTORY = "reports"


def write(context: Context, rows: Sequence[Judged]) -> Path:
    """Write what is known about these flows, and return the file (0600)."""
    flows = [
        {
            "flow": str(row.want.flow),
            "wanted": row.want.wish,
            "predicted": row.predicted,
            "reasons": row.verdict.explain() if row.verdict else "",
            "observed": asdict(row.seen) | {"flow": "", "outcome": row.seen.outcome.value},
        }
        for row in rows
    ]
    content = {
        "versions": {
            "k8slab": __version__,
            "python": platform.python_version(),
            "kernel": platform.release(),
        },
        "provider": context.cluster.provider,
        "capabilities": sorted(context.cluster.capabilities),
        "namespace": context.namespace,
        "flows": flows,
        "objects": [_plain(obj) for obj in context.policy_objects()],
    }
    digest = hashlib.sha256("\n".join(sorted(str(row.want.flow) for row in rows)).encode())
    path = state_home() / DIRECTORY / f"{context.namespace}-{digest.hexdigest()[:8]}.json"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    return path


_KEPT: dict[str, tuple[str, ...]] = {
    "Pod": ("nodeName", "hostNetwork"),
    "Node": (),
    "Namespace": (),
    "ReplicaSet": (),
}
"""Fields of `spec` that decide about flows, where not all of it does."""


def _plain(obj: Object) -> Object:
    spec = obj.get("spec") or {}
    kept = _KEPT.get(obj.get("kind", ""))
    found: dict[str, Any] = {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "metadata": {
            "name": meta.name_of(obj),
            "namespace": meta.namespace_of(obj),
            "labels": meta.labels_of(obj),
        },
        "spec": spec if kept is None else {name: spec[name] for name in kept if name in spec},
    }
    if "containers" in spec:
        found["spec"]["containers"] = [
            {"image": one.get("image"), "ports": one.get("ports")} for one in spec["containers"]
        ]
    status = obj.get("status") or {}
    told = ("phase", "podIP", "podIPs", "hostIP", "addresses")
    found["status"] = {name: status[name] for name in told if name in status}
    return found
