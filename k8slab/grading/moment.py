"""What time it is on the cluster: what its time stamps are to be compared with.

The machine's own clock may be another one: it was set, or the cluster is elsewhere. The API
tells its time in what it would create: a ConfigMap that is created with ``dryRun=All`` is given
its ``creationTimestamp`` and never stored (Kubernetes, "API concepts", dry-run).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from k8slab.grading.context import Context


def now(context: Context) -> datetime:
    """Return the time of the cluster's API, in whole seconds as its time stamps are.

    Where somebody may create nothing there, the machine's own clock has to do.
    """
    path = f"/api/v1/namespaces/{context.namespace}/configmaps?dryRun=All"
    metadata = {"generateName": "k8slab-time-"}
    empty = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    try:
        made = context.cluster.request("POST", path, empty)
    except ApiStatusError:
        return datetime.now(UTC)
    return datetime.fromisoformat(made["metadata"]["creationTimestamp"])
