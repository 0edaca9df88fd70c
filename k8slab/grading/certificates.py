"""What an HTTPS server's certificate says, as curl in a pod met it.

curl writes the chain with ``%{certs}`` (its manual page; since 7.88). With ``trusted: false`` the
pod accepts any certificate, so that a wrong one can be looked at; else a request to a server
that the pod does not trust fails as it would for any program there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.grading.fields import Field, Fields, text

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS: Fields = {
    "subject": text("the subject's common name, or a part of it as RFC 4514 writes it"),
    "issuer": text("the issuer's common name, or a part of it as RFC 4514 writes it"),
    "names": Field((list,), "DNS names and addresses that it must be valid for (SAN)"),
    "trusted": Field((bool,), "false: whether the pod trusts it does not matter"),
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate: subject and issuer as RFC 4514 writes them, alternative names."""

    subject: str
    issuer: str
    names: tuple[str, ...]


def parse(pem: str) -> Certificate | None:
    """Read the first certificate of a chain; ``None`` where there is none."""
    from cryptography import x509  # noqa: PLC0415  seldom needed, and slow to import

    head, mark, rest = pem.partition("-----BEGIN CERTIFICATE-----")
    del head
    body, end, _ = rest.partition("-----END CERTIFICATE-----")
    if not end:
        return None
    found = x509.load_pem_x509_certificate(f"{mark}{body}{end}\n".encode())
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternatives: tuple[str, ...] = ()
    else:
        alternatives = (
            *names.get_values_for_type(x509.DNSName),
            *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        )
    return Certificate(found.subject.rfc4514_string(), found.issuer.rfc4514_string(), alternatives)


def misses(found: Certificate | None, wanted: Mapping[str, Any]) -> list[str]:
    """Return in words what a certificate lacks of what is wanted."""
    if found is None:
        return ["a certificate"]
    missed = [
        f"a certificate whose {part} is {wanted[part]}"
        for part, text_ in (("subject", found.subject), ("issuer", found.issuer))
        if part in wanted and not _is(wanted[part], text_)
    ]
    lacking = [name for name in wanted.get("names") or () if str(name) not in found.names]
    return missed + [f"a certificate for {name}" for name in lacking]


def _is(wanted: str, name: str) -> bool:
    """Compare a common name, or whole parts of a name such as ``O=Shop,C=DE``."""
    parts = name.split(",")
    return f"CN={wanted}" in parts or set(wanted.split(",")) <= set(parts)
