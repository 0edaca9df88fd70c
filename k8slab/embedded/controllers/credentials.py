"""What pods carry to be trusted by the API and to trust it: a token and the CA."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.pki import Tokens
from k8slab.objects.meta import name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from pathlib import Path

    from k8slab.embedded.apiserver.api import Api
    from k8slab.objects.meta import Object


class PodCredentials:
    """Sign tokens bound to pods; `pki` is the directory that `apiserver.pki` filled."""

    def __init__(self, api: Api, pki: Path) -> None:
        self._api = api
        self._pki = pki
        self._tokens = Tokens(pki)

    @cached_property
    def ca_certificate(self) -> str:
        """Return the cluster's CA certificate, PEM."""
        return (self._pki / "ca.crt").read_text(encoding="ascii")

    def pod_token(self, pod: Object, *, audience: str, seconds: int) -> str:
        """Sign a token bound to `pod`, as the TokenRequest of its kubelet would give."""
        namespace = namespace_of(pod)
        account_name = pod["spec"].get("serviceAccountName") or "default"
        account = self._api.get("serviceaccounts", account_name, namespace)
        node_name = pod["spec"].get("nodeName", "")
        node = self._api.get("nodes", node_name)
        claims = {
            "node": {"name": node_name, **({"uid": uid_of(node)} if node else {})},
            "pod": {"name": name_of(pod), "uid": uid_of(pod)},
            "serviceaccount": {"name": account_name, "uid": uid_of(account) if account else ""},
        }
        return self._tokens.sign(
            namespace,
            account_name,
            claims,
            seconds=seconds,
            audiences=[audience] if audience else None,
        )

    def account_token(self, account: Object, secret: Object) -> str:
        """Sign a token without end, worth something as long as `secret` holds it."""
        return self._tokens.sign_for_secret(
            namespace_of(account), name_of(account), uid_of(account), name_of(secret)
        )
