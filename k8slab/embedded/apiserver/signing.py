"""Sign and verify with the service-account key: ES256 of RFC 7518.

Importing this imports `cryptography`; `pki.Tokens` does so when the first token is asked for.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE_HALF = 32
"""Bytes of r and of s in an ES256 signature (RFC 7518, 3.4)."""


class Signer:
    """Holds the cluster's service-account key pair."""

    def __init__(self, directory: Path) -> None:
        private = serialization.load_pem_private_key(
            (directory / "sa.key").read_bytes(), password=None
        )
        public = serialization.load_pem_public_key((directory / "sa.pub").read_bytes())
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        self._private, self._public = private, public

    def sign(self, claims: dict[str, Any]) -> str:
        """Return the JSON Web Token of these claims."""
        text = f"{_encode({'alg': 'ES256', 'typ': 'JWT'})}.{_encode(claims)}"
        r, s = decode_dss_signature(self._private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(SIGNATURE_HALF, "big") + s.to_bytes(SIGNATURE_HALF, "big")
        return f"{text}.{_base64(signature)}"

    def claims(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a token that this key signed, else ``None``."""
        try:
            head, body, signature = token.split(".")
            raw = _decode(signature)
            if orjson.loads(_decode(head)).get("alg") != "ES256" or len(raw) != 2 * SIGNATURE_HALF:
                return None
            r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
            self._public.verify(
                encode_dss_signature(r, s), f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256())
            )
            claims = orjson.loads(_decode(body))
        except (ValueError, AttributeError, InvalidSignature):
            return None
        return claims if isinstance(claims, dict) else None


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encode(value: Any) -> str:
    return _base64(orjson.dumps(value))


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
