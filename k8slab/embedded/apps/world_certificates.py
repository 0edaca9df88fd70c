"""A certificate authority for the world outside, and its web servers' certificate.

Made once for each cluster. Pods trust the authority, so that ``curl https://example.com``
works as it does on a real machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CA, CERTIFICATE, KEY = "world-ca.crt", "world.crt", "world.key"


def make_world_certificates(directory: Path) -> dict[str, bytes]:
    """Return the PEM files of `CA`, `CERTIFICATE` and `KEY`; make those that are missing.

    The key file is 0600.
    """
    paths = {name: directory / name for name in (CA, CERTIFICATE, KEY)}
    if not all(path.exists() for path in paths.values()):
        from k8slab.embedded.apps import world_authority  # noqa: PLC0415  heavy

        directory.mkdir(parents=True, exist_ok=True)
        for name, data in world_authority.sign().items():
            paths[name].touch(mode=0o600 if name == KEY else 0o644)
            paths[name].write_bytes(data)
    return {name: path.read_bytes() for name, path in paths.items()}
