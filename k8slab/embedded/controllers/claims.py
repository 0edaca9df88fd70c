"""PersistentVolumeClaims: nothing here can fulfil one, and its events say why it is Pending.

That is what a cluster without volumes and without a provisioner does. Source: ``syncUnboundClaim``
of ``pkg/controller/volume/persistentvolume``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers.controller import Controller
from k8slab.objects.meta import name_of, namespace_of

if TYPE_CHECKING:
    from k8slab.embedded.controllers.context import Context
    from k8slab.objects.meta import Object

RESOURCE = "persistentvolumeclaims"
KIND = "PersistentVolumeClaim"
CLASSES = "storageclasses.storage.k8s.io"
COMPONENT = "persistentvolume-controller"
AGAIN_SECONDS = 15.0
"""``--pvclaimbinder-sync-period``."""


def of_ordinal(owner: Object, ordinal: int) -> list[Object]:
    """Return the claims of one pod of a StatefulSet, by its ``volumeClaimTemplates``."""
    labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
    made = []
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        metadata = template.get("metadata") or {}
        head = {
            "name": f"{name_of(template)}-{name_of(owner)}-{ordinal}",
            "namespace": namespace_of(owner),
            "labels": {**(metadata.get("labels") or {}), **labels},
            "annotations": dict(metadata.get("annotations") or {}),
        }
        spec = template.get("spec") or {}
        made.append({"apiVersion": "v1", "kind": KIND, "metadata": head, "spec": spec})
    return made


def volumes_of_ordinal(owner: Object, ordinal: int) -> list[Object]:
    """Return the volumes through which that pod sees its claims."""
    return [
        {
            "name": name_of(template),
            "persistentVolumeClaim": {
                "claimName": f"{name_of(template)}-{name_of(owner)}-{ordinal}"
            },
        }
        for template in owner["spec"].get("volumeClaimTemplates") or ()
    ]


class Claims(Controller):
    """The loop over claims."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "claims")
        self._look_at(RESOURCE)

    def _reconcile(self, key: str) -> float | None:
        namespace, name = key.split("/", 1)
        claim = self._context.api.get(RESOURCE, name, namespace)
        if claim is None:
            return None
        reason, text, warning = self._why_pending(claim)
        self._context.events.record(claim, reason, text, component=COMPONENT, warning=warning)
        return AGAIN_SECONDS

    def _why_pending(self, claim: Object) -> tuple[str, str, bool]:
        wanted = claim["spec"].get("storageClassName")
        if not wanted:
            text = "no persistent volumes available for this claim and no storage class is set"
            return "FailedBinding", text, False
        found = self._context.api.get(CLASSES, wanted)
        if found is None:
            text = f'storageclass.storage.k8s.io "{wanted}" not found'
            return "ProvisioningFailed", text, True
        if found.get("volumeBindingMode") == "WaitForFirstConsumer":
            text = "waiting for first consumer to be created before binding"
            return "WaitForFirstConsumer", text, False
        text = (
            "Waiting for a volume to be created either by the external provisioner "
            f"'{found.get('provisioner', '')}' or manually by the system administrator. If volume "
            "creation is delayed, please verify that the provisioner is running and correctly "
            "registered."
        )
        return "ExternalProvisioning", text, False
