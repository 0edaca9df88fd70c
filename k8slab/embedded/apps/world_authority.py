"""Sign the certificates of the world outside. Importing this imports `cryptography`."""

from __future__ import annotations

import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from k8slab.embedded.apps.world_certificates import CA, CERTIFICATE, KEY
from k8slab.embedded.config import WORLD_HOSTS

_YEARS = 10


def sign() -> dict[str, bytes]:
    """Return new PEM files of `CA`, `CERTIFICATE` and `KEY`."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _sign("k8slab world CA", ca_key, ca_key, None)
    leaf = _sign("example.com", key, ca_key, authority)
    pem = serialization.Encoding.PEM
    return {
        CA: authority.public_bytes(pem),
        CERTIFICATE: leaf.public_bytes(pem) + authority.public_bytes(pem),
        KEY: key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
) -> x509.Certificate:
    """Sign a certificate; without `issuer` it is the authority itself."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    # The clock of a virtual machine may lag behind: valid since yesterday.
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    if issuer is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(_names()), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _names() -> list[x509.GeneralName]:
    hosts = [host for host in WORLD_HOSTS if host.role == "web"]
    names: list[x509.GeneralName] = [x509.DNSName(name) for host in hosts for name in host.names]
    return names + [x509.IPAddress(ipaddress.ip_address(host.address)) for host in hosts]
