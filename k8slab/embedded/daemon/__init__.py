"""The daemon: everything of the cluster in one process, apart from what runs in pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.config import INSIDE
from k8slab.embedded.daemon import keys

if TYPE_CHECKING:
    import socket

    from k8slab.embedded.config import ClusterConfig

__all__ = ["run"]


def run(
    config: ClusterConfig,
    *,
    api_sockets: list[socket.socket],
    zygote: socket.socket,
    progress: int,
    stop: int,
) -> int:
    """Be the daemon until `stop` is closed or SIGTERM comes; return the exit code.

    Everything of the cluster is below `INSIDE`. `progress` gets JSON lines: steps, then
    ``{"ready": true, ...}`` or ``{"error": ...}``.
    """
    maker = keys.begin(INSIDE, config)
    from k8slab.embedded.daemon import main  # noqa: PLC0415  200 ms, beside the maker of keys

    daemon = main.Daemon(config, zygote, main.Progress(progress), keys_maker=maker)
    return main.run(daemon, api_sockets, stop)
