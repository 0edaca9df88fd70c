"""The process that stays outside: start, stop and look at clusters."""

from k8slab.embedded.supervisor.control import ClusterStatus, Started, start, status, stop

__all__ = ["ClusterStatus", "Started", "start", "status", "stop"]
