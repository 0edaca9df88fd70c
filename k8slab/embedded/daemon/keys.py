"""Make a new cluster's keys in a child, while the daemon imports everything else.

What builds certificates takes 40 ms to import, as long again to work, and 2 MB for good; a
cluster needs it once in its life. What is missing or damaged afterwards the daemon makes itself.
"""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from k8slab.embedded.config import ClusterConfig


def begin(inside: Path, config: ClusterConfig) -> int:
    """Fork the child where there are no keys yet; return its pid, else 0.

    The caller has one thread, and reaps the child before it looks at the keys.
    """
    if (inside / "pki").exists():
        return 0
    if pid := os.fork():
        return pid
    code = 1
    try:
        _make(inside, config)
        code = 0
    except BaseException:  # noqa: BLE001 - the end of a process: told, then it ends
        traceback.print_exc()
    finally:
        os._exit(code)


def _make(inside: Path, config: ClusterConfig) -> None:
    from k8slab.embedded.apiserver.certificates import make_pki  # noqa: PLC0415  heavy
    from k8slab.embedded.apps import world_certificates  # noqa: PLC0415

    make_pki(inside / "pki", config)
    world_certificates.make_world_certificates(inside / "world")
