"""Calico's own policies: this machine has no schema for them, so the engine's reader judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.audit.catalogue import CHECKS
from k8slab.errors import ManifestError
from k8slab.policy import calico
from k8slab.policy.inventory import Kinds

if TYPE_CHECKING:
    from k8slab.audit.finding import Finding
    from k8slab.audit.source import Source


def not_understood(source: Source) -> list[Finding]:
    """Say what is wrong with one of Calico's policies, or what the engine does not know of it."""
    try:
        Kinds().read(source.object, calico.read)
    except ManifestError as error:
        told = error.message.removeprefix(f"{error.place}: ")
        path, colon, why = told.partition(": ")
        if not colon or not path.startswith("spec"):
            path, why = "", told
        return [source.finding(CHECKS["not-understood"], why, path)]
    return []
