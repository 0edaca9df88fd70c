"""Secrets of type ``kubernetes.io/service-account-token``: filled for their account, gone with it.

Such a token has no end of its own; it is worth something as long as Secret and account are there.
Source: ``pkg/controller/serviceaccount/tokens_controller.go``.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.index import Index
from k8slab.objects.meta import (
    Object,
    annotations_of,
    is_deleting,
    key_of,
    namespace_of,
    uid_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context

TYPE = "kubernetes.io/service-account-token"
ACCOUNT = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"


class TokenSecrets(Controller):
    """The loop over these Secrets."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "tokensecrets")
        self._of_account = self._own(Index(self._api, "secrets", _account))
        self._follow("secrets", self._secret_event)
        self._follow("serviceaccounts", self._account_event)
        self._api.before_answer("secrets", self._answer)
        for secret in self._api.list("secrets"):
            if _account(secret):
                self.loop.add(key_of(secret))

    def _answer(self, secret: Object) -> Awaitable[None] | None:
        return self.loop.settle(key_of(secret)) if _account(secret) else None

    def _secret_event(self, event: Event) -> None:
        if _account(event.object):
            self.loop.add(key_of(event.object))

    def _account_event(self, event: Event) -> None:
        for secret in self._of_account.get(key_of(event.object)):
            self.loop.add(key_of(secret))

    def _reconcile(self, key: str) -> None:
        namespace, name = key.split("/", 1)
        secret = self._api.get("secrets", name, namespace)
        if secret is None or is_deleting(secret) or not _account(secret):
            return
        account = self._api.get("serviceaccounts", annotations_of(secret)[ACCOUNT], namespace)
        bound = annotations_of(secret).get(ACCOUNT_UID)
        if account is None or bound not in (None, uid_of(account)):
            self._api.delete("secrets", name, namespace, uid=uid_of(secret))
            return
        credentials, data = self._context.credentials, secret.get("data") or {}
        wanted = {
            "ca.crt": _encoded(credentials.ca_certificate),
            "namespace": _encoded(namespace),
            "token": data.get("token") or _encoded(credentials.account_token(account, secret)),
        }
        if bound and wanted.items() <= data.items():
            return
        annotations = {**annotations_of(secret), ACCOUNT_UID: uid_of(account)}
        metadata = {**secret["metadata"], "annotations": annotations}
        self._api.update("secrets", {**secret, "metadata": metadata, "data": {**data, **wanted}})


def _account(secret: Object) -> list[str]:
    """Return the account of a Secret as ``namespace/name``: an index key."""
    name = annotations_of(secret).get(ACCOUNT)
    return [f"{namespace_of(secret)}/{name}"] if secret.get("type") == TYPE and name else []


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
