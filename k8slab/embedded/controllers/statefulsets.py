"""StatefulSets: pods with names that stay, made and removed in order.

What comes and goes next is `stateful_plan`'s to say; here it is done, one pod after the other, and
told in the status. Source: ``pkg/controller/statefulset``.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import claims, pods, stateful_plan
from k8slab.embedded.controllers.children import Children, while_unchanged
from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.loop import each_in_turn, try_each_in_turn
from k8slab.embedded.controllers.revisions import HASH_LABEL, Revisions, revision_name
from k8slab.errors import ApiStatusError
from k8slab.objects.meta import Object, is_deleting, labels_of, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from k8slab.embedded.controllers.context import Context
    from k8slab.embedded.controllers.stateful_plan import Plan

RESOURCE = "statefulsets.apps"
COMPONENT = "statefulset-controller"
NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


class StatefulSets(Controller):
    """The loop over StatefulSets."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "statefulsets")
        self._pods = self._own(
            Children(context.api, RESOURCE, "pods", self.loop, belongs=_is_member)
        )
        self._revisions = self._own(Revisions(context.api))

    def _reconcile(self, key: str) -> Awaitable[float | None] | float | None:
        namespace, name = key.split("/", 1)
        owner = self._context.api.get(RESOURCE, name, namespace)
        if owner is None:
            return None
        owned = self._pods.claim(owner)
        if is_deleting(owner):
            return self._write_status(owner)
        status = owner.get("status") or {}
        in_use = [status.get("currentRevision", "")]
        self._revisions.note(owner, [*in_use, *(_revision(pod) for pod in owned)])
        return self._advance(
            owner, stateful_plan.plan(owner, self._by_ordinal(owner), revision_name(owner))
        )

    async def _advance(self, owner: Object, plan: Plan) -> float | None:
        due = partial(while_unchanged, self._context.api, RESOURCE, owner)
        going, coming = due(plan.deletions), due(plan.creations)
        refused = await try_each_in_turn(going, lambda pod: self._delete(owner, pod))
        try:
            await each_in_turn(coming, lambda ordinal: self._create(owner, ordinal))
        except ApiStatusError as error:
            refused = refused or error
        wait = self._write_status(owner)
        if refused:
            raise refused
        return wait

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
        pod["metadata"]["generateName"] = f"{name_of(owner)}-"  # as all that are made of a template
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
        strategy = owner["spec"].get("updateStrategy") or {}
        rolling = stateful_plan.rolling(owner)
        waiting = 0
        if rolling is not None:
            waiting = rolling.get("partition") or 0
        elif strategy.get("type") == "RollingUpdate":
            waiting = (owner.get("status") or {}).get("currentReplicas", 0)
        old = self._current(owner)
        if ordinal < stateful_plan.ordinals(owner).start + waiting and old != revision_name(owner):
            template = self._revisions.template(owner, old)
            if template is not None:
                return old, template
        return revision_name(owner), owner["spec"]["template"]

    def _current(self, owner: Object) -> str:
        """Return the revision that was complete last; the present one if it is forgotten."""
        name = str((owner.get("status") or {}).get("currentRevision", ""))
        known = bool(name) and self._revisions.template(owner, name) is not None
        return name if known else revision_name(owner)

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
        owned = self._pods.of(latest)
        ready = [p for p in owned if pods.is_ready(p)]
        waits = [pods.available_in(p, minimum) for p in ready]
        status: Object = {
            "observedGeneration": latest["metadata"].get("generation", 1),
            "replicas": len(owned),
            **{k: v for k, v in self._counts(latest, owned, len(ready)).items() if v},
            "availableReplicas": sum(1 for wait in waits if wait <= 0),
            "collisionCount": 0,
        }
        if status != (latest.get("status") or {}):
            api.update_status(RESOURCE, {**latest, "status": status})
        return min((wait for wait in waits if wait > 0), default=None)

    def _counts(self, owner: Object, owned: Sequence[Object], ready: int) -> Object:
        """Return the revisions, and how many pods have them; a complete update ends the old one.

        With ``OnDelete`` none is complete (completeRollingUpdate).
        """
        staying = Counter(_revision(pod) for pod in owned if not is_deleting(pod))
        current, update = self._current(owner), revision_name(owner)
        strategy = (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
        complete = staying[update] == ready == len(owned) == owner["spec"].get("replicas", 1)
        if complete and strategy == "RollingUpdate":
            current = update
        return {
            "readyReplicas": ready,
            "currentReplicas": staying[current],
            "updatedReplicas": staying[update],
            "currentRevision": current,
            "updateRevision": update,
        }


def _is_member(owner: Object, pod: Object) -> bool:
    """Say whether a pod has a name of the set, SET-ORDINAL; others it neither adopts nor keeps.

    Source: isMemberOf, by which getPodsForStatefulSet filters.
    """
    return bool(re.fullmatch(f"{re.escape(name_of(owner))}-[0-9]+", name_of(pod)))


def _revision(pod: Object) -> str:
    return labels_of(pod).get(HASH_LABEL, "")
