"""Put one question to all the webhooks that it concerns.

Mutating webhooks are asked one after the other, each about what the ones before have made of the
object; validating ones all at once, about the object as it is to be stored. Source:
``plugin/webhook/{mutating,validating}/dispatcher.go`` of k8s.io/apiserver.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import bodies, patches, statuses
from k8slab.embedded.apiserver.objectmeta import copy
from k8slab.embedded.apiserver.webhooks import calling, reviews
from k8slab.embedded.apiserver.webhooks.matching import wants
from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.apiserver.store import Store
    from k8slab.embedded.apiserver.webhooks.calling import Dial
    from k8slab.embedded.apiserver.webhooks.configured import Concerned
    from k8slab.embedded.apiserver.webhooks.reviews import Subject, Verdict
    from k8slab.objects.meta import Object

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Asking:
    """One question under way; `warnings` is what the webhooks want the client to be told."""

    store: Store
    dial: Dial
    subject: Subject
    warnings: list[str] = field(default_factory=list)

    async def mutate(self, concerned: Sequence[Concerned], new: Object | None) -> Object | None:
        """Return the object as the webhooks changed it; raises what refuses it.

        When one changes it, those before it whose ``reinvocationPolicy`` says so are asked once
        more, but no webhook a third time.
        """
        asked: list[Concerned] = []
        again: list[Concerned] = []
        for one in concerned:
            before = new
            new = await self._mutate_by(one, new)
            if new != before:
                again += [other for other in asked if other not in again]
            if one.webhook.spec.get("reinvocationPolicy") == "IfNeeded":
                asked.append(one)
        for one in concerned:
            if one in again:
                new = await self._mutate_by(one, new)
        return new

    async def _mutate_by(self, one: Concerned, new: Object | None) -> Object | None:
        if not wants(self.store, one, self.subject, new):
            return new
        verdict = await self._ask(one, new, mutating=True)
        if verdict is None or not verdict.patch:
            return new
        if new is None:
            raise statuses.internal_error(
                f'admission webhook "{one.webhook.name}" attempted to modify the object, which is '
                "not supported for this operation"
            )
        return self._patched(one, new, verdict.patch)

    def _patched(self, one: Concerned, new: Object, patch: list[Object]) -> Object:
        kind = self.subject.kind
        shown = self.subject.seen(copy(new), one.kind)
        try:
            made = patches.json_patch(shown, patch)
            if not isinstance(made, dict) or not isinstance(made.get("metadata"), dict):
                raise statuses.bad_request("the patch leaves no object with metadata")
            bodies.check_depth(made)
            made = copy(made) | {key: new[key] for key in ("apiVersion", "kind") if key in new}
            form = self.subject.body or kind
            bodies.decode_object(bodies.Body(made), made, form, validation="Ignore")
        except ApiStatusError as error:
            raise statuses.internal_error(str(error)) from error
        return dict(made)

    async def validate(self, concerned: Sequence[Concerned], new: Object | None) -> None:
        """Return when all webhooks agree; raises the refusal that came first."""
        chosen = [one for one in concerned if wants(self.store, one, self.subject, new)]
        found = await asyncio.gather(
            *(self._ask(one, new, mutating=False) for one in chosen), return_exceptions=True
        )
        for result in found:
            if isinstance(result, BaseException):
                raise result

    async def _ask(self, one: Concerned, new: Object | None, *, mutating: bool) -> Verdict | None:
        """Ask one webhook; ``None`` when it cannot be asked and its failures are ignored."""
        webhook = one.webhook
        uid = str(uuid.uuid4())
        body = reviews.request_body(self.subject, one.kind, new, uid)
        try:
            answer = await calling.call(webhook, body, self.store, self.dial)
            verdict = self._read(answer, uid, mutating=mutating)
        except calling.CallError as error:
            why = f'failed calling webhook "{webhook.name}": {error}'
            if not webhook.ignores_failures:
                raise statuses.internal_error(why) from error
            log.warning("failing open: %s", why)
            return None
        self.warnings += verdict.warnings
        if not verdict.allowed:
            raise reviews.denied(webhook.name, verdict.status)
        return verdict

    def _read(self, answer: bytes, uid: str, *, mutating: bool) -> Verdict:
        try:
            return reviews.read_response(answer, uid, mutating=mutating)
        except reviews.ResponseError as error:
            raise calling.CallError(f"received invalid webhook response: {error}") from error
