"""Who an app is: its pod, namespace and node, from the downward API or from what it finds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


@dataclass(frozen=True, slots=True)
class Identity:
    """Pod, namespace, node and address; empty where nothing tells."""

    pod: str
    namespace: str = ""
    node: str = ""
    address: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Identity:
        """Read POD_NAME, POD_NAMESPACE, NODE_NAME and POD_IP; else hostname and token directory."""
        return cls(
            pod=environment.get("POD_NAME") or environment.get("HOSTNAME") or os.uname().nodename,
            namespace=environment.get("POD_NAMESPACE") or _mounted_namespace(),
            node=environment.get("NODE_NAME", ""),
            address=environment.get("POD_IP", ""),
        )


def _mounted_namespace() -> str:
    # Not by pathlib: its text layers would make 0.2 MB of shared memory each pod's own.
    try:
        descriptor = os.open(_NAMESPACE_FILE, os.O_RDONLY)
    except OSError:  # no service account is mounted: the namespace stays unknown
        return ""
    try:
        return os.read(descriptor, 256).decode().strip()
    finally:
        os.close(descriptor)
