"""Make the cluster's certificates and keys (see `pki`). Importing this imports `cryptography`."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from k8slab.embedded.apiserver.pki import SUMS
from k8slab.embedded.config import CLUSTER_DOMAIN

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from k8slab.embedded.config import ClusterConfig

YEARS = timedelta(days=3650)


def make_pki(directory: Path, config: ClusterConfig) -> None:
    """Write all certificates and keys into `directory`."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    authority = _certificate(name, authority_key, name, authority_key, authority=True)
    _write_pair(directory, "ca", authority, authority_key)

    server_key = ec.generate_private_key(ec.SECP256R1())
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    server = _certificate(server_name, server_key, name, authority_key, names=_server_names(config))
    _write_pair(directory, "apiserver", server, server_key)

    admin_key = ec.generate_private_key(ec.SECP256R1())
    admin_name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
            x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes-admin"),
        ]
    )
    admin = _certificate(admin_name, admin_key, name, authority_key)
    _write_pair(directory, "admin", admin, admin_key)

    token_key = ec.generate_private_key(ec.SECP256R1())
    _write_private(directory / "sa.key", _key_text(token_key))
    _write_private(directory / "sa.pub", _public_text(token_key))
    made = sorted(path for path in directory.iterdir() if path.name != SUMS)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made]
    # Last: its presence says that everything before it was written.
    _write_private(directory / SUMS, "".join(sums).encode())


def _server_names(config: ClusterConfig) -> list[x509.GeneralName]:
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
    # A year back: TLS goes by the time of day, and somebody may set the clock.
    begin = datetime.now(UTC) - timedelta(days=365)
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
        usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _key_usage(*, authority: bool) -> x509.KeyUsage:
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
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_text(key: EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _write_pair(
    directory: Path, name: str, certificate: x509.Certificate, key: EllipticCurvePrivateKey
) -> None:
    _write_private(directory / f"{name}.key", _key_text(key))
    _write_private(directory / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
