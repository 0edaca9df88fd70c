"""The administrator's kubeconfig: written by the daemon, taken over by the supervisor.

A kubeconfig is more than data: its ``exec`` names a program that every client runs, and its
paths name files that every client reads. What lies in the directory that the cluster can write
to may come from a privileged pod. So the supervisor takes three texts out of it, whose form is
checked, and composes what the host's clients read from these alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 65_536
"""Bytes of a kubeconfig that is taken over; ours has some 3,000."""
_BLOCK = rb"-----BEGIN (%s)-----\n[A-Za-z0-9+/=\n]+-----END \1-----\n"
_CERTIFICATE = re.compile(_BLOCK % b"CERTIFICATE")
_KEY = re.compile(_BLOCK % b"(?:EC |RSA )?PRIVATE KEY")
"""Textual encodings of RFC 7468, without headers: an encrypted key would ask for a password."""


def compose(name: str, server: str, *, ca: bytes, certificate: bytes, key: bytes) -> str:
    """Return a kubeconfig (JSON, which is YAML) with these PEM texts; `server` is a URL."""
    cluster = {"server": server, "certificate-authority-data": _text(ca)}
    user = {"client-certificate-data": _text(certificate), "client-key-data": _text(key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(content, indent=2) + "\n"


def write(path: Path, text: str) -> None:
    """Put a kubeconfig, 0600, in the place of whatever lies at `path`.

    That may be a link or a pipe of somebody else: none is opened. A directory stays, and is an
    `OSError` (`linux.set_aside`).
    """
    new = path.with_suffix(".new")
    linux.set_aside(new)
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.rename(path)


def take_over(path: Path, name: str, server: str) -> str:
    """Return a kubeconfig with nothing of the one at `path` but its certificates and its key.

    Raises `FileNotFoundError` when there is none, `ClusterError` when it is none of ours.
    """
    try:
        content = json.loads(linux.read_regular(path, LIMIT))
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        return compose(
            name,
            server,
            ca=_checked(cluster["certificate-authority-data"], _CERTIFICATE),
            certificate=_checked(user["client-certificate-data"], _CERTIFICATE),
            key=_checked(user["client-key-data"], _KEY),
        )
    except FileNotFoundError:
        raise
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ClusterError(
            f"the credentials that the cluster left are not those of its daemon: {error}",
            hint=f"something in the cluster changed {path}, a privileged pod perhaps; "
            "look at its pods, or begin anew: k8slab reset",
        ) from error


def _text(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def _checked(data: str, form: re.Pattern[bytes]) -> bytes:
    try:
        pem = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError(f"what is no base64: {error}") from error
    if not form.fullmatch(pem):
        raise ValueError("a certificate or key is no PEM of one block")
    return pem
