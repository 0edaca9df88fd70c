"""Clusters: one handle, three providers.

    up(name)        start a cluster, making it where it is not there yet
    attach(name)    the handle on a running cluster
    down, delete    stop it and keep its objects; remove it
    status, names   what there is

Every function takes the name of a cluster; empty means ``$K8SLAB_CLUSTER``, else ``k8slab``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.clusters import homes, records
from k8slab.clusters.cluster import Cluster
from k8slab.clusters.providers import provider as _provider
from k8slab.clusters.providers.base import BROKEN, RUNNING, Status
from k8slab.clusters.wanted import Wanted
from k8slab.errors import ClusterNotReadyError, EnvironmentLacksError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.clusters.providers.base import Provider

__all__ = [
    "Cluster",
    "Status",
    "Wanted",
    "attach",
    "delete",
    "down",
    "kubeconfig_of",
    "names",
    "status",
    "up",
]

names = records.names


def up(
    name: str = "",
    *,
    provider: str = "",
    wanted: Wanted | None = None,
    progress: Callable[[str], None] = lambda _text: None,
) -> Cluster:
    """Start a cluster, making it where it is not there yet; return when it is ready.

    Ready means that nodes are Ready and names resolve. Doing it twice is fine. Without a
    provider: the one it was made with, else embedded on Linux, else kind where Docker answers.
    """
    name = records.chosen_name(name)
    homes.sweep()
    with records.locked(name, waiting=progress):
        made_by = records.provider_of(name)
        if made_by and provider and made_by != provider:
            raise UsageError(
                f"the cluster {name} was made with the provider {made_by}, not {provider}",
                hint=f"take another --name, or remove it: k8slab down --delete --name {name}",
            )
        chosen = _provider(made_by or provider or _default_provider())
        chosen.up(name, wanted or Wanted(), progress)
        return chosen.cluster(name)


def attach(name: str = "", *, kubeconfig: str | Path = "", context: str = "") -> Cluster:
    """Return the handle on a running cluster, or on any cluster by its kubeconfig.

    Raises `ClusterNotFoundError` when there is none of this name, `ClusterNotReadyError`
    when it does not run.
    """
    if kubeconfig:
        from k8slab.clusters.providers import existing  # noqa: PLC0415

        file = Path(kubeconfig).expanduser().absolute()
        handle = Cluster(name or file.stem, provider="existing", kubeconfig=file, context=context)
        handle.capabilities = existing.detect_capabilities(handle)
        return handle
    found = status(name)
    if found.state != RUNNING:
        raise ClusterNotReadyError(
            f"the cluster {found.name} is {found.state}"
            + (f": {found.detail}" * bool(found.detail)),
            hint=f"start it: k8slab up --name {found.name}",
        )
    handle = _provider(found.provider).cluster(found.name)
    handle.capabilities = frozenset(found.capabilities)
    return handle


def down(name: str = "", *, progress: Callable[[str], None] = lambda _text: None) -> None:
    """Stop a cluster and keep its objects."""
    name = records.chosen_name(name)
    with records.locked(name, waiting=progress):
        _provider_of(name).down(name)


def delete(name: str = "", *, progress: Callable[[str], None] = lambda _text: None) -> None:
    """Stop a cluster and remove everything that belongs to it."""
    name = records.chosen_name(name)
    with records.locked(name, waiting=progress):
        _provider_of(name).delete(name)


def status(name: str = "") -> Status:
    """Describe a cluster, running or not; one whose files are damaged is broken."""
    name = records.chosen_name(name)
    try:
        found = _provider_of(name)
    except UsageError as error:
        detail = f"{error.message} ({error.hint})"
        return Status(name=name, provider="", state=BROKEN, kubeconfig="", detail=detail)
    try:
        return found.status(name)
    except UsageError as error:
        file = str(found.kubeconfig(name))
        return Status(
            name=name, provider=found.NAME, state=BROKEN, kubeconfig=file, detail=error.message
        )


def kubeconfig_of(name: str = "") -> Path:
    """Return the path of a cluster's kubeconfig."""
    name = records.chosen_name(name)
    return _provider_of(name).kubeconfig(name)


def _provider_of(name: str) -> Provider:
    made_by = records.provider_of(name)
    if not made_by:
        raise records.no_cluster(name)
    return _provider(made_by)


def _default_provider() -> str:
    """Choose for a new cluster: embedded on Linux, elsewhere kind when Docker is there."""
    if sys.platform == "linux":
        return "embedded"
    from k8slab.clusters.providers import kind  # noqa: PLC0415

    try:
        kind.preflight()
    except EnvironmentLacksError as error:
        raise EnvironmentLacksError(
            f"this machine can run no cluster yet: {error.message}",
            hint="outside Linux a cluster runs in kind: install Docker, kind and kubectl; "
            "or use a Linux machine, where nothing else is needed",
        ) from error
    return "kind"
