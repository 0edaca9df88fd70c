"""What a write meets: is there a question, and is it answered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver.auth import ACCOUNTS, AUTHENTICATED, User
from k8slab.embedded.apiserver.roles import account_user
from k8slab.embedded.apiserver.webhooks.asking import Asking
from k8slab.embedded.apiserver.webhooks.configured import Configured
from k8slab.embedded.apiserver.webhooks.gate import MUTATING, VALIDATING
from k8slab.embedded.apiserver.webhooks.matching import wants
from k8slab.embedded.apiserver.webhooks.reviews import Subject
from k8slab.errors import ApiStatusError, ReviewPendingError
from k8slab.objects.meta import controller_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Writer
    from k8slab.embedded.apiserver.kinds import Kind, KindTable
    from k8slab.embedded.apiserver.store import Store
    from k8slab.embedded.apiserver.webhooks.calling import Dial
    from k8slab.embedded.apiserver.webhooks.configured import Concerned
    from k8slab.objects.meta import Object

MOST_KEPT = 1000
"""Answers that are kept for controllers; of one who has gone nobody fetches them."""


@dataclass(slots=True)
class Ledger:
    """The answers to the questions of one request, by question, and what the client is to hear."""

    answers: dict[bytes, bytes | ApiStatusError] = field(default_factory=dict)
    """The object as JSON, as it was changed or agreed to; or the refusal."""
    warnings: list[str] = field(default_factory=list)


class Reviews:
    """Makes the review of each write that webhooks may want to see."""

    def __init__(self, store: Store, kinds: KindTable, dial: Dial) -> None:
        self.store, self.dial = store, dial
        self.configured = Configured(store, kinds)
        self._controllers, self._changes = Ledger(), 0

    def about(
        self,
        operation: str,
        kind: Kind,
        obj: Object,
        writer: Writer,
        *,
        subresource: str,
        body: tuple[str, str, str] | None,
    ) -> Review | None:
        """Return the review of a write, or ``None``; see `gate.Webhooks`."""
        mutating = self.configured.concerned(MUTATING, operation, kind, subresource)
        validating = self.configured.concerned(VALIDATING, operation, kind, subresource)
        if not (mutating or validating):
            return None
        metadata = obj.get("metadata") or {}
        subject = Subject(
            operation=operation,
            kind=kind,
            namespace=metadata.get("namespace") or "" if kind.namespaced else "",
            name=metadata.get("name") or "",
            user=writer.user or _controller(obj),
            subresource=subresource,
            body=body,
            manager=writer.manager,
            dry_run=writer.dry_run,
        )
        ledger = writer.ledger if writer.user else self._ledger_of_controllers()
        return Review(self, subject, mutating, validating, ledger or Ledger())

    def _ledger_of_controllers(self) -> Ledger:
        kept = self._controllers
        kept.warnings.clear()
        if len(kept.answers) > MOST_KEPT or self._changes != self.configured.changes:
            kept.answers.clear()
            self._changes = self.configured.changes
        return kept


@dataclass(slots=True)
class Review:
    """One write's way past the webhooks: `mutated` first, then `validated`.

    Both raise `ReviewPendingError` while the answer is not there, and the refusal when it is one.
    """

    reviews: Reviews
    subject: Subject
    mutating: tuple[Concerned, ...]
    validating: tuple[Concerned, ...]
    ledger: Ledger
    _questions: list[bytes] = field(default_factory=list)
    _written: bytes = b""

    def mutated(self, new: Object, old: Object | None, sent: bytes = b"") -> Object:
        """Return what is to be written as the mutating webhooks changed it.

        `new` is what was sent, with its defaults; its metadata is not complete yet. `sent` is the
        same in each run of the write, where defaults are drawn (a pod's volume for its token).
        """
        self.subject = replace(self.subject, old=old)
        self._written = sent or orjson.dumps(new)
        made = self._answered(MUTATING, self.mutating, self._written, new)
        if made is None:
            return new
        self._written = orjson.dumps(made)
        return made

    def validated(self, new: Object) -> Object:
        """Return the object to which the validating webhooks agreed.

        It is the very one that was shown to them, of the run of this write in which they were
        asked: a name that the server draws, a UID and times would be others in this run.
        """
        made = self._answered(VALIDATING, self.validating, self._written, new) or new
        self._forget()
        return made

    def check_deletion(self, old: Object) -> None:
        """Raise what webhooks say against the deletion of an object."""
        self.subject = replace(self.subject, old=old)
        self._answered(MUTATING, self.mutating, b"", None)
        self._answered(VALIDATING, self.validating, b"", None)
        self._forget()

    def _forget(self) -> None:
        """Let the next write ask anew: a controller may create another object that is alike."""
        for question in self._questions:
            self.ledger.answers.pop(question, None)

    def _answered(
        self, resource: str, concerned: tuple[Concerned, ...], written: bytes, shown: Object | None
    ) -> Object | None:
        """Return the answer to one question, ``None`` where nobody wants to be asked.

        `written` tells the question from others; `shown` is what the webhooks get to see.
        """
        if not any(wants(self.reviews.store, one, self.subject, shown) for one in concerned):
            return None
        question = self._question(resource, written)
        answer = self.ledger.answers.get(question)
        if answer is None:
            raise ReviewPendingError(self.ledger, lambda: self._ask(resource, question, shown))
        self._questions.append(question)
        if isinstance(answer, ApiStatusError):
            self._forget()
            raise answer
        made: Object | None = orjson.loads(answer)
        return made

    def _question(self, resource: str, written: bytes) -> bytes:
        subject, old = self.subject, self.subject.old
        version = old["metadata"].get("resourceVersion", "") if old else ""
        place = (subject.kind.api_version, subject.kind.plural, subject.namespace, subject.name)
        done = (resource, subject.operation, subject.subresource, version)
        return orjson.dumps([*done, *place]) + written

    async def _ask(self, resource: str, question: bytes, new: Object | None) -> None:
        asking = Asking(self.reviews.store, self.reviews.dial, self.subject)
        answer: bytes | ApiStatusError
        try:
            if resource == MUTATING:
                answer = orjson.dumps(await asking.mutate(self.mutating, new))
            else:
                await asking.validate(self.validating, new)
                answer = orjson.dumps(new)
        except ApiStatusError as error:
            answer = error
        self.ledger.answers[question] = answer
        self.ledger.warnings += asking.warnings


def _controller(obj: Object) -> User:
    owner = controller_of(obj) or {}
    name = account_user("kube-system", _CONTROLLERS.get(owner.get("kind", ""), "controller"))
    return User(name, (ACCOUNTS, f"{ACCOUNTS}:kube-system", AUTHENTICATED))


_CONTROLLERS = {
    "CronJob": "cronjob-controller",
    "DaemonSet": "daemon-set-controller",
    "Deployment": "deployment-controller",
    "Job": "job-controller",
    "ReplicaSet": "replicaset-controller",
    "ReplicationController": "replication-controller",
    "StatefulSet": "statefulset-controller",
}
"""Service accounts in kube-system by the kind of the owner (kubeadm gives each its own)."""
