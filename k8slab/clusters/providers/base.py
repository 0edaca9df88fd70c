"""What every provider can do, and how it describes a cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from k8slab.clusters.cluster import Cluster
    from k8slab.clusters.wanted import Wanted

RUNNING, STARTING, STOPPED, BROKEN = "running", "starting", "stopped", "broken"
CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One cluster at one moment."""

    name: str
    provider: str
    state: str
    """``running``; ``starting``; ``stopped`` (its objects are kept); ``broken`` (see `detail`);
    ``closed``, in lists (its directory cannot be looked into)."""
    kubeconfig: str
    detail: str = ""
    pid: int | None = None
    """The process that serves the API: the embedded cluster's daemon."""
    supervisor_pid: int | None = None
    nodes: list[str] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    memory_bytes: int | None = None
    """Memory of all its processes (proportional set size), pods included."""

    def to_json(self) -> dict[str, Any]:
        """Return the status as plain values."""
        return asdict(self)


class Provider(Protocol):
    """The functions of a provider's module."""

    NAME: str

    def up(self, name: str, wanted: Wanted, progress: Callable[[str], None]) -> None:
        """Make or start the cluster; return when nodes are Ready and names resolve."""
        ...

    def down(self, name: str) -> None:
        """Stop the cluster and keep its objects."""
        ...

    def delete(self, name: str) -> None:
        """Remove the cluster and everything that belongs to it."""
        ...

    def status(self, name: str) -> Status:
        """Describe the cluster; quick, and never an error because it is down."""
        ...

    def kubeconfig(self, name: str) -> Path:
        """Return the path of the file with the credentials."""
        ...

    def cluster(self, name: str) -> Cluster:
        """Return the handle; the cluster may be down."""
        ...
