"""The daemon: everything of the cluster in one process, apart from what runs in pods."""

from k8slab.embedded.daemon.main import run

__all__ = ["run"]
