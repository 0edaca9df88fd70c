"""The process that stays outside: start, stop and look at clusters; try the machine.

The names are imported when they are used: the supervisor itself is in this room, too,
and needs none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from k8slab.embedded.supervisor.control import ClusterStatus, Started, start, status, stop
    from k8slab.embedded.supervisor.trial import Check, preflight

__all__ = ["Check", "ClusterStatus", "Started", "preflight", "start", "status", "stop"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    module = "trial" if name in {"Check", "preflight"} else "control"
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
