"""StatefulSets: pods with names that stay, made and removed in order.

``OrderedReady`` makes pod N+1 when all before it are available, removes from the end, and
does one thing at a time; ``Parallel`` waits for nothing. An update goes from the last pod to the
first, down to ``partition``. Source: ``pkg/controller/statefulset``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers import claims, pods
from k8slab.embedded.controllers.children import Children
from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.revisions import HASH_LABEL, Revisions, revision_name
from k8slab.objects.meta import Object, is_deleting, labels_of, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.embedded.controllers.context import Context

RESOURCE = "statefulsets.apps"
COMPONENT = "statefulset-controller"
NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


class StatefulSets(Controller):
    """The loop over StatefulSets."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "statefulsets")
        self._pods = self._own(Children(context.api, RESOURCE, "pods", self.loop))
        self._revisions = self._own(Revisions(context.api))

    def _reconcile(self, key: str) -> float | None:
        namespace, name = key.split("/", 1)
        owner = self._context.api.get(RESOURCE, name, namespace)
        if owner is None:
            return None
        owned = self._pods.claim(owner)
        if not is_deleting(owner):
            status = owner.get("status") or {}
            self._revisions.note(
                owner,
                [
                    status.get("currentRevision", ""),
                    *(labels_of(pod).get(HASH_LABEL, "") for pod in owned),
                ],
            )
            self._advance(owner)
        return self._write_status(owner)

    def _advance(self, owner: Object) -> None:
        """Take the next step; with ``OrderedReady`` it is one at most."""
        spec = owner["spec"]
        ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        first = (spec.get("ordinals") or {}).get("start") or 0
        wanted = range(first, first + spec.get("replicas", 1))
        present = self._by_ordinal(owner)
        for ordinal in wanted:
            pod = present.get(ordinal)
            if pod is None:
                self._create(owner, ordinal)
            elif pods.is_finished(pod) and not is_deleting(pod):
                self._delete(owner, pod)
            elif self._is_up(owner, pod):
                continue
            if ordered:
                return
        spare = sorted((n for n in present if n not in wanted), reverse=True)
        for ordinal in spare:
            if not is_deleting(present[ordinal]):
                self._delete(owner, present[ordinal])
            if ordered:
                return
        self._update(owner, present, wanted)

    def _update(self, owner: Object, present: Mapping[int, Object], wanted: range) -> None:
        """Replace the last pod that has an old template, once all above it are up."""
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
        current = revision_name(owner)
        for ordinal in reversed(wanted):
            pod = present.get(ordinal)
            if pod is None or is_deleting(pod):
                return
            if ordinal >= partition and labels_of(pod).get(HASH_LABEL) != current:
                self._delete(owner, pod)
                return
            if not self._is_up(owner, pod):
                return

    def _is_up(self, owner: Object, pod: Object) -> bool:
        minimum = owner["spec"].get("minReadySeconds") or 0
        return not is_deleting(pod) and pods.is_available(pod, minimum)

    def _by_ordinal(self, owner: Object) -> dict[int, Object]:
        found = {}
        for pod in self._pods.of(owner):
            number = name_of(pod).removeprefix(f"{name_of(owner)}-")
            if number.isdigit():
                found[int(number)] = pod
        return found

    def _create(self, owner: Object, ordinal: int) -> None:
        revision, template = self._version(owner, ordinal)
        pod = pods.from_template(owner, template)
        name = f"{name_of(owner)}-{ordinal}"
        pod["metadata"]["name"] = name
        pod["metadata"]["labels"].update(
            {
                HASH_LABEL: revision,
                NAME_LABEL: name,
                INDEX_LABEL: str(ordinal),
            }
        )
        service = owner["spec"].get("serviceName")
        pod["spec"] = {**template["spec"], "hostname": name}
        if owner["spec"].get("volumeClaimTemplates"):
            self._claim(owner, ordinal, pod["spec"])
        if service:
            pod["spec"]["subdomain"] = service
        pods.create(self._context, owner, pod, component=COMPONENT)
        self._tell(
            owner,
            "SuccessfulCreate",
            f"create Pod {name} in StatefulSet {name_of(owner)} successful",
        )

    def _claim(self, owner: Object, ordinal: int, spec: Object) -> None:
        """Make the claims of a pod, which outlive it, and give the pod their volumes."""
        api = self._context.api
        for claim in claims.of_ordinal(owner, ordinal):
            if api.get(claims.RESOURCE, name_of(claim), namespace_of(owner)) is None:
                api.create(claims.RESOURCE, claim)
                text = f"create Claim {name_of(claim)} Pod {name_of(owner)}-{ordinal} in "
                self._tell(owner, "SuccessfulCreate", f"{text}StatefulSet {name_of(owner)} success")
        volumes = claims.volumes_of_ordinal(owner, ordinal)
        names = {volume["name"] for volume in volumes}
        others = [v for v in spec.get("volumes") or () if v["name"] not in names]
        spec["volumes"] = [*others, *volumes]

    def _version(self, owner: Object, ordinal: int) -> tuple[str, Object]:
        """Return revision and template for a pod: the old ones where the update has not come yet.

        Source: newVersionedStatefulSetPod.
        """
        spec, status = owner["spec"], owner.get("status") or {}
        first = (spec.get("ordinals") or {}).get("start") or 0
        strategy = spec.get("updateStrategy") or {}
        partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
        old = status.get("currentRevision", "")
        waiting = partition or status.get("currentReplicas", 0)
        if old and ordinal < first + waiting and strategy.get("type") != "OnDelete":
            template = self._revisions.template(owner, old)
            if template is not None:
                return old, template
        return revision_name(owner), spec["template"]

    def _delete(self, owner: Object, pod: Object) -> None:
        pods.delete(self._context, pod)
        text = f"delete Pod {name_of(pod)} in StatefulSet {name_of(owner)} successful"
        self._tell(owner, "SuccessfulDelete", text)

    def _tell(self, owner: Object, reason: str, text: str) -> None:
        self._context.events.record(owner, reason, text, component=COMPONENT)

    def _write_status(self, owner: Object) -> float | None:
        api = self._context.api
        latest = api.get(RESOURCE, name_of(owner), namespace_of(owner))
        if latest is None:
            return None
        minimum = latest["spec"].get("minReadySeconds") or 0
        living = [p for p in self._pods.of(latest) if pods.is_active(p)]
        ready = [p for p in living if pods.is_ready(p)]
        waits = [pods.available_in(p, minimum) for p in ready]
        update = revision_name(latest)
        updated = sum(1 for p in living if labels_of(p).get(HASH_LABEL) == update)
        before = latest.get("status") or {}
        done = updated == len(living) == latest["spec"].get("replicas", 1)
        current = update if done else before.get("currentRevision", update)
        counts = {
            "readyReplicas": len(ready),
            "currentReplicas": sum(1 for p in living if labels_of(p).get(HASH_LABEL) == current),
            "updatedReplicas": updated,
        }
        status: Object = {
            "observedGeneration": latest["metadata"].get("generation", 1),
            "replicas": len(living),
            **{field: count for field, count in counts.items() if count},
            "currentRevision": current,
            "updateRevision": update,
            "availableReplicas": sum(1 for wait in waits if wait <= 0),
            "collisionCount": 0,
        }
        if status != before:
            api.update_status(RESOURCE, {**latest, "status": status})
        return min((wait for wait in waits if wait > 0), default=None)
