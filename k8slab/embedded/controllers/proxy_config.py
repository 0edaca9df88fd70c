"""The configuration of kube-proxy: the ConfigMap kube-system/kube-proxy, as kubeadm writes it.

Its ``config.conf`` is a KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1), which a
kube-proxy reads when it starts. Of it ``nftables.minSyncPeriod`` counts here. Without a ConfigMap,
as a cluster begins, that is 0: changed Services are in the kernel before a request is answered.
Upstream takes 0 for its default, which is one second.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api

PLACE = ("configmaps", "kube-proxy", "kube-system")
LONGEST = 300.0
"""Seconds: what waits longer is a mistake."""
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")


def min_sync_period(api: Api) -> float:
    """Return how many seconds pass between two writes; `UsageError` for what is no duration."""
    found = api.get(*PLACE)
    text = ((found or {}).get("data") or {}).get("config.conf", "")
    return seconds_in(text) if text else 0.0


def seconds_in(text: str) -> float:
    """Return ``nftables.minSyncPeriod`` of a config.conf in seconds; 0 when it is not there."""
    # Most clusters have no such ConfigMap: imported by those that do.
    import yaml  # noqa: PLC0415

    try:
        config: Any = yaml.safe_load(text)
        given = ((config or {}).get("nftables") or {}).get("minSyncPeriod") or "0s"
    except (yaml.YAMLError, AttributeError) as error:
        raise UsageError(f"config.conf of kube-proxy cannot be read: {error}") from error
    if not re.fullmatch(f"(?:{_PART.pattern})+", str(given)):
        raise UsageError(
            f"config.conf of kube-proxy: nftables.minSyncPeriod {given!r} is no duration",
            hint="1s, 500ms or 1m30s",
        )
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(str(given)))
    if seconds > LONGEST:
        raise UsageError(
            f"config.conf of kube-proxy: nftables.minSyncPeriod {given} is above {LONGEST:g} s"
        )
    return seconds
