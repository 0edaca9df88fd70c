"""Try what clusters need, one thing after the other, and say what each lack needs.

What the embedded cluster needs of the kernel is done, not read: `supervisor.preflight`
makes the namespaces, the link and the table that a cluster will make.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from dataclasses import asdict, dataclass
from typing import Any

from k8slab import programs
from k8slab.clusters.providers import kind
from k8slab.embedded.config import state_home
from k8slab.errors import K8slabError

TOOLS = ("curl", "dig", "nslookup", "nc", "ping", "ss", "tcpdump")
"""What learners run inside pods: the machine's own programs."""

DISK_NEEDED = 512 * 2**20
"""Free bytes of the state directory: pods may write 64 MiB each, and logs stay."""

RECENT_KUBECTL = 30
"""The oldest minor version of kubectl with which all lab commands work as written
(`kubectl debug` profiles, `events`, `wait --for=create`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried."""

    what: str
    ok: bool
    required: bool = False
    """Whether the embedded cluster cannot run without it."""
    detail: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain values."""
        return asdict(self)


def examine() -> tuple[list[Finding], list[str]]:
    """Try everything; return the findings and the providers that can run here."""
    embedded = _embedded() if sys.platform == "linux" else [_no_linux()]
    kind_found = _kind()
    findings = [
        *embedded,
        _disk(),
        _loopback(),
        _kubectl(),
        *(_program(tool) for tool in TOOLS if sys.platform == "linux"),
        _program("dot"),
        kind_found,
    ]
    providers = []
    if not any(finding.required and not finding.ok for finding in findings):
        providers.append("embedded")
    if kind_found.ok:
        providers.append("kind")
    return findings, providers


def _embedded() -> list[Finding]:
    from k8slab.embedded import supervisor  # noqa: PLC0415

    needed = [_program(program, required=True) for program in ("ip", "nft")]
    if not all(finding.ok for finding in needed):
        return needed
    tried = [
        Finding(
            what=check.what, ok=check.ok, required=True, detail=check.detail, remedy=check.remedy
        )
        for check in supervisor.preflight()
    ]
    return [*needed, *tried]


def _no_linux() -> Finding:
    return Finding(
        what="Linux",
        ok=False,
        required=True,
        detail=f"this is {sys.platform}; the embedded cluster needs Linux",
        remedy="use kind with Docker (k8slab up --provider kind), or a Linux machine",
    )


def _program(program: str, *, required: bool = False) -> Finding:
    try:
        path = programs.find(program)
    except K8slabError as error:
        return Finding(
            what=program, ok=False, required=required, detail="not found", remedy=error.hint
        )
    return Finding(what=program, ok=True, required=required, detail=path)


def _disk() -> Finding:
    place = state_home()
    existing = next(way for way in (place, *place.parents) if os.access(way, os.F_OK))
    free = shutil.disk_usage(existing).free
    lack = "" if os.access(existing, os.W_OK) else ", which is not writable"
    if not existing.is_dir():
        lack = ", which is no directory"
    return Finding(
        what="disk",
        ok=free >= DISK_NEEDED and not lack,
        required=True,
        detail=f"{free / 2**30:.1f} GiB free in {existing}{lack}",
        remedy="free some space, or move the state directory: export K8SLAB_HOME=DIRECTORY",
    )


def _loopback() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
    except OSError as error:
        return Finding(what="loopback ports", ok=False, required=True, detail=str(error))
    return Finding(
        what="loopback ports", ok=True, required=True, detail=f"could listen on 127.0.0.1:{port}"
    )


def _kubectl() -> Finding:
    try:
        told = programs.run(["kubectl", "version", "--client"], deadline=20).stdout
    except K8slabError as error:
        remedy = error.hint or programs.how_to_install("kubectl")
        return Finding(what="kubectl", ok=False, detail=error.message, remedy=remedy)
    found = re.search(r"v1\.(\d+)\.[\w.+-]+", told)
    recent = found is not None and int(found[1]) >= RECENT_KUBECTL
    return Finding(
        what="kubectl",
        ok=recent,
        detail=found[0] + ("" if recent else ", which is old") if found else told.strip(),
        remedy=programs.how_to_install("kubectl"),
    )


def _kind() -> Finding:
    try:
        kind.preflight()
    except K8slabError as error:
        return Finding(what="kind with Docker", ok=False, detail=error.message, remedy=error.hint)
    return Finding(what="kind with Docker", ok=True, detail="Docker answers, kind is new enough")
