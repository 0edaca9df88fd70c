"""Certificates of a scene, made for the challenge: an authority, and a server that it vouches for.

They follow from the seed, like all else of a challenge, so that whoever reads the case again finds
what the cluster has; nothing of it is stored or committed. That makes the keys no secret: they
protect a server of a lab.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from base64 import b64encode

WORDS = ("authority", "certificate", "key")
"""What a scene may name: PEM in base64, as Secrets and ``caBundle`` have it."""

_BEGIN, _END = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
"""Fixed: a certificate must be the same whenever it is made."""


def certificate_words(seed: str, name: str) -> dict[str, str]:
    """Return `WORDS` for a server of this DNS name."""
    # Few scenes have a certificate, and the library is slow to import.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    def key_of(role: str) -> Ed25519PrivateKey:
        digest = hashlib.sha256(f"certificate/{seed}/{name}/{role}".encode())
        return Ed25519PrivateKey.from_private_bytes(digest.digest())

    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def builder(role: str, subject: str) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(called(subject))
            .issuer_name(called("challenge CA"))
            .public_key(key_of(role).public_key())
            .serial_number(int(seed) * 2 + 1 + (role == "server"))
            .not_valid_before(_BEGIN)
            .not_valid_after(_END)
            .add_extension(x509.BasicConstraints(role == "authority", None), critical=True)
        )

    signer = key_of("authority")
    authority = builder("authority", "challenge CA").sign(signer, None)
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    # A common name has at most 64 letters (RFC 5280, ub-common-name): the whole is in the SAN.
    leaf = builder("server", name.partition(".")[0]).add_extension(names, critical=False)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    made = (
        authority.public_bytes(pem),
        leaf.sign(signer, None).public_bytes(pem),
        key_of("server").private_bytes(pem, form, serialization.NoEncryption()),
    )
    return {word: b64encode(data).decode() for word, data in zip(WORDS, made, strict=True)}
