"""ClusterRoles that gather the rules of others (``aggregationRule``).

Source: ``pkg/controller/clusterroleaggregation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import rbac
from k8slab.embedded.controllers.controller import Controller
from k8slab.objects.meta import name_of

if TYPE_CHECKING:
    from k8slab.embedded.controllers.context import Context

RESOURCE = f"clusterroles.{rbac.GROUP}"


class ClusterRoles(Controller):
    """The loop over aggregating ClusterRoles."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "clusterroles")
        self._follow(RESOURCE, self._changed)
        self._changed()

    def _changed(self, _: object = None) -> None:
        for role in self._api.list(RESOURCE):
            if role.get("aggregationRule"):
                self.loop.add(name_of(role))

    def _reconcile(self, name: str) -> None:
        role = self._api.get(RESOURCE, name)
        if role is None or not role.get("aggregationRule"):
            return
        rules = rbac.aggregated(role, self._api.list(RESOURCE))
        if rules != (role.get("rules") or []):
            self._api.update(RESOURCE, {**role, "rules": rules})
