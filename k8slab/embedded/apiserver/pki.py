"""The cluster's certificates and keys: made once, used for TLS and for service-account tokens.

``pki/`` holds ``ca.crt``, ``ca.key``, ``apiserver.crt/.key``, ``admin.crt/.key`` and
``sa.key/.pub`` (named as kubeadm names them). All keys are ECDSA P-256: they are made in a
millisecond. Files with keys are 0600. `cryptography` is imported where it is used, since a
restart only needs it once the first token is asked for.
"""

from __future__ import annotations

import base64
import os
import ssl
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.config import CLUSTER_DOMAIN

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from k8slab.embedded.config import ClusterConfig

YEARS = timedelta(days=3650)
ISSUER = f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}"
"""The issuer and the default audience of service-account tokens."""

SIGNATURE_HALF = 32
"""Bytes of r and of s in an ES256 signature (RFC 7518, 3.4)."""


def ensure_pki(directory: Path, config: ClusterConfig) -> None:
    """Make what is missing in `directory`; what is there stays, so that kubeconfigs stay valid."""
    if (directory / "sa.pub").exists():
        return
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    authority = _certificate(name, authority_key, name, authority_key, authority=True)
    _write_pair(directory, "ca", authority, authority_key)

    server_key = ec.generate_private_key(ec.SECP256R1())
    server_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kube-apiserver")])
    server = _certificate(server_name, server_key, name, authority_key, names=_server_names(config))
    _write_pair(directory, "apiserver", server, server_key)

    admin_key = ec.generate_private_key(ec.SECP256R1())
    admin_name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "system:masters"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes-admin"),
        ]
    )
    admin = _certificate(admin_name, admin_key, name, authority_key)
    _write_pair(directory, "admin", admin, admin_key)

    token_key = ec.generate_private_key(ec.SECP256R1())
    _write_private(directory / "sa.key", _key_text(token_key))
    # Last: its presence says that everything before it was written.
    _write_private(directory / "sa.pub", _public_text(token_key))


def _server_names(config: ClusterConfig) -> list[x509.GeneralName]:
    from cryptography import x509

    domain = f"svc.{CLUSTER_DOMAIN}"
    words = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    words += [f"kubernetes.default.{domain}", *config.node_names]
    addresses = {"127.0.0.1", "::1"}
    addresses |= {str(ip_network(cidr)[1]) for cidr in config.service_cidrs}
    for cidr in config.node_cidrs:
        # The switch has the first address, the nodes have those after it.
        network = ip_network(cidr)
        addresses |= {str(network[number]) for number in range(1, config.nodes + 2)}
    names: list[x509.GeneralName] = [x509.DNSName(word) for word in words]
    names += [x509.IPAddress(ip_address(text)) for text in sorted(addresses)]
    return names


def _certificate(
    subject: x509.Name,
    key: EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: EllipticCurvePrivateKey,
    *,
    authority: bool = False,
    names: list[x509.GeneralName] | None = None,
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    # An hour back, since clocks jump.
    begin = datetime.now(UTC) - timedelta(hours=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + YEARS)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_key_usage(authority=authority), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if authority:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    else:
        usage = (
            x509.ExtendedKeyUsageOID.SERVER_AUTH if names else x509.ExtendedKeyUsageOID.CLIENT_AUTH
        )
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _key_text(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_text(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _write_pair(
    directory: Path, name: str, certificate: x509.Certificate, key: EllipticCurvePrivateKey
) -> None:
    from cryptography.hazmat.primitives import serialization

    _write_private(directory / f"{name}.key", _key_text(key))
    _write_private(directory / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def kubeconfig_text(directory: Path, name: str, server: str) -> str:
    """Return a kubeconfig (JSON, which is YAML) for the administrator; `server` is a URL."""

    def embedded(file: str) -> str:
        return base64.b64encode((directory / file).read_bytes()).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server, "certificate-authority-data": embedded("ca.crt")},
            }
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": embedded("admin.crt"),
                    "client-key-data": embedded("admin.key"),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return orjson.dumps(config, option=orjson.OPT_INDENT_2).decode() + "\n"


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


# --- service-account tokens (RFC 7519, ES256)


class Tokens:
    """Sign and verify service-account tokens with the cluster's key."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # A token that was verified stays so until it expires; a signature costs 0.1 ms.
        self._verified = lru_cache(maxsize=512)(self._verify)

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
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        now = int(time.time())
        body = {
            "aud": audiences or [ISSUER],
            "exp": now + seconds,
            "iat": now,
            "iss": ISSUER,
            "kubernetes.io": {"namespace": namespace, **claims},
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{account}",
        }
        text = f"{_encode({'alg': 'ES256', 'typ': 'JWT'})}.{_encode(body)}"
        key = serialization.load_pem_private_key(
            (self._directory / "sa.key").read_bytes(), password=None
        )
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(SIGNATURE_HALF, "big") + s.to_bytes(SIGNATURE_HALF, "big")
        return f"{text}.{_base64(signature)}"

    def verify(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a valid token that has not expired, else ``None``."""
        claims = self._verified(token)
        if claims is None or not claims.get("nbf", 0) <= time.time() + 60:
            return None
        return claims if claims.get("exp", 0) > time.time() else None

    def _verify(self, token: str) -> dict[str, Any] | None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        key = serialization.load_pem_public_key((self._directory / "sa.pub").read_bytes())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        try:
            head, body, signature = token.split(".")
            if orjson.loads(_decode(head)).get("alg") != "ES256":
                return None
            raw = _decode(signature)
            if len(raw) != 2 * SIGNATURE_HALF:
                return None
            half = SIGNATURE_HALF
            r, s = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
            der = encode_dss_signature(r, s)
            key.verify(der, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
            claims = orjson.loads(_decode(body))
        except (ValueError, AttributeError, InvalidSignature):
            return None
        return claims if isinstance(claims, dict) and claims.get("iss") == ISSUER else None


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encode(value: Any) -> str:
    return _base64(orjson.dumps(value))


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
