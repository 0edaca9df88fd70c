"""Which zone each node is in: its label ``topology.kubernetes.io/zone``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers.slice_values import ZONE
from k8slab.objects.meta import labels_of, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.store import Event


class Zones:
    """The zones of the nodes, kept right by the API's events."""

    def __init__(self, api: Api, changed: Callable[[], None]) -> None:
        """Call `changed` after each change; nodes come and get labels seldom."""
        self.of: dict[str, str] = {}
        """By node; one without the label is left out."""
        self._changed = changed
        for node in api.list("nodes"):
            self._put(name_of(node), labels_of(node).get(ZONE, ""))
        self.close = api.subscribe("nodes", self._event)

    def _event(self, event: Event) -> None:
        name = name_of(event.object)
        zone = labels_of(event.object).get(ZONE, "") if event.type != "DELETED" else ""
        if zone != self.of.get(name, ""):
            self._put(name, zone)
            self._changed()

    def _put(self, name: str, zone: str) -> None:
        if zone:
            self.of[name] = zone
        else:
            self.of.pop(name, None)
