"""The providers: each makes, stops, forgets and describes clusters of its kind.

A provider is a module with the functions of `base.Provider`. They are imported when they are
used, since one command needs one of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from k8slab.errors import UsageError

if TYPE_CHECKING:
    from k8slab.clusters.providers.base import Provider

NAMES = ("embedded", "kind", "existing")


def provider(name: str) -> Provider:
    """Return a provider by its name."""
    if name not in NAMES:
        raise UsageError(f"there is no provider {name!r}", hint=f"providers are {', '.join(NAMES)}")
    return cast("Provider", import_module(f"k8slab.clusters.providers.{name}"))
