"""Learn Kubernetes networking by experiment: labs, real packets, honest grading.

In a notebook::

    from k8slab import lab
    lab.start()

The root holds nothing itself; the names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = {
    "lab": "k8slab.notebook",
    "journey": "k8slab.notebook.pictures",
    "policies": "k8slab.notebook.pictures",
    "service": "k8slab.notebook.pictures",
    "Flow": "k8slab.policy",
    "Outcome": "k8slab.probes",
    "K8slabError": "k8slab.errors",
    "__version__": "k8slab.version",
}
__all__ = [
    "Flow",
    "K8slabError",
    "Outcome",
    "__version__",
    "journey",
    "lab",
    "policies",
    "service",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'k8slab' has no attribute {name!r}")
    return getattr(import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_NAMES)
