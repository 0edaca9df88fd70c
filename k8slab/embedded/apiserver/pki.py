"""The cluster's certificates and keys: made once, used for TLS and for service-account tokens.

``pki/`` holds ``ca.crt``, ``ca.key``, ``apiserver.crt/.key``, ``admin.crt/.key`` and
``sa.key/.pub`` (named as kubeadm names them), and ``SHA256SUMS`` of these files. All keys are
ECDSA P-256: they are made in a millisecond. Every file is 0600. `cryptography` is imported
only when something is made or signed, since a restart needs neither before the first token is
asked for.
"""

from __future__ import annotations

import hashlib
import math
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from k8slab.embedded import clock, credentials
from k8slab.embedded.config import CLUSTER_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from k8slab.embedded.apiserver.signing import Signer
    from k8slab.embedded.config import ClusterConfig

ISSUER = f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}"
"""The issuer and the default audience of service-account tokens."""

SECRET_ISSUER = "kubernetes/serviceaccount"  # noqa: S105  - a name
"""The issuer of tokens that are kept in Secrets, and the prefix of their claims."""

CLOCK_SKEW = 60

SIGNING = "k8slab.embedded.apiserver.signing"
"""The module that signs: 40 ms to import, which who knows of a good moment may do before."""

SUMS = "SHA256SUMS"
"""Checksums of all other files, as sha256sum(1) writes and checks them. Made last."""


def ensure_pki(directory: Path, config: ClusterConfig) -> bool:
    """Make certificates and keys; those that are there stay, so that kubeconfigs stay valid.

    When any of them is damaged all are made anew. Tells whether that was so: the credentials
    that others hold are of no use then.
    """
    if is_intact(directory):
        return False
    from k8slab.embedded.apiserver.certificates import make_pki  # noqa: PLC0415  heavy

    damaged = (directory / SUMS).exists()
    make_pki(directory, config)
    return damaged


def is_intact(directory: Path) -> bool:
    """Tell whether every file is there as it was made."""
    try:
        lines = (directory / SUMS).read_text(encoding="ascii").splitlines()
        return bool(lines) and all(
            hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest
            for digest, name in (line.split() for line in lines)
        )
    except (FileNotFoundError, ValueError):
        return False


def kubeconfig_text(directory: Path, name: str, server: str) -> str:
    """Return a kubeconfig (JSON, which is YAML) for the administrator; `server` is a URL."""
    return credentials.compose(
        name,
        server,
        ca=(directory / "ca.crt").read_bytes(),
        certificate=(directory / "admin.crt").read_bytes(),
        key=(directory / "admin.key").read_bytes(),
    )


def server_context(directory: Path) -> ssl.SSLContext:
    """Return the TLS settings of the API server: a client may show a certificate of our CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(directory / "apiserver.crt", directory / "apiserver.key")
    context.load_verify_locations(directory / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def client_context(directory: Path) -> ssl.SSLContext:
    """Return the TLS settings of the administrator's client."""
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / "admin.crt", directory / "admin.key")
    return context


# --- service-account tokens (RFC 7519)


class Tokens:
    """Sign and verify service-account tokens with the cluster's key."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # A token that was verified stays so until it expires; a signature costs 0.1 ms.
        self._claims = lru_cache(maxsize=512)(self._verify)
        self._loaded: Signer | None = None

    @property
    def _signer(self) -> Signer:
        if self._loaded is None:
            from k8slab.embedded.apiserver.signing import Signer  # noqa: PLC0415  heavy

            self._loaded = Signer(self._directory)
        return self._loaded

    def sign(
        self,
        namespace: str,
        account: str,
        claims: dict[str, Any],
        *,
        seconds: int,
        audiences: list[str] | None = None,
    ) -> str:
        """Return a token for a service account; `claims` go below ``kubernetes.io``."""
        now = int(clock.now())
        return self._signer.sign(
            {
                "aud": audiences or [ISSUER],
                "exp": now + seconds,
                "iat": now,
                "iss": ISSUER,
                "jti": str(uuid4()),
                "kubernetes.io": {"namespace": namespace, **claims},
                "nbf": now,
                "sub": f"system:serviceaccount:{namespace}:{account}",
            }
        )

    def sign_for_secret(self, namespace: str, account: str, uid: str, secret: str) -> str:
        """Return a token without end that is kept in a Secret (the form before 1.24)."""
        return self._signer.sign(
            {
                "iss": SECRET_ISSUER,
                f"{SECRET_ISSUER}/namespace": namespace,
                f"{SECRET_ISSUER}/secret.name": secret,
                f"{SECRET_ISSUER}/service-account.name": account,
                f"{SECRET_ISSUER}/service-account.uid": uid,
                "sub": f"system:serviceaccount:{namespace}:{account}",
            }
        )

    def verify(self, token: str, audiences: Sequence[str] = ()) -> dict[str, Any] | None:
        """Return the claims of a valid token that has not expired, else ``None``.

        It must be meant for one of `audiences`; by default, for this API.
        """
        claims = self._claims(token)
        if claims is None or claims["nbf"] > clock.now() + CLOCK_SKEW:
            return None
        # Not by the time of day: a token must not die because somebody set the clock.
        if clock.elapsed(claims["iat"]) >= claims["exp"] - claims["iat"]:
            return None
        meant = claims["aud"]
        return claims if any(one in meant for one in audiences or (ISSUER,)) else None

    def _verify(self, token: str) -> dict[str, Any] | None:
        claims = self._signer.claims(token)
        if claims is not None and claims.get("iss") == SECRET_ISSUER:
            return _from_secret(claims)
        return claims if claims is not None and claims.get("iss") == ISSUER else None


def _from_secret(claims: dict[str, Any]) -> dict[str, Any]:
    """Return the claims of a Secret's token in the form of the others; the Secret has no UID."""
    own = {key.removeprefix(f"{SECRET_ISSUER}/"): value for key, value in claims.items()}
    return {
        "aud": [ISSUER],
        "exp": math.inf,
        "iat": 0,
        "nbf": 0,
        "kubernetes.io": {
            "namespace": own["namespace"],
            "secret": {"name": own["secret.name"]},
            "serviceaccount": {
                "name": own["service-account.name"],
                "uid": own["service-account.uid"],
            },
        },
    }
