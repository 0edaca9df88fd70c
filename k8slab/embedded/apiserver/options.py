"""What the query of a writing request says: dry run, field manager, field validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.api import Writer

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.http import Request

MANAGER_LIMIT = 128


def writer_of(request: Request) -> Writer:
    """Return who writes, from ``fieldManager`` or the program's name in ``User-Agent``."""
    dry_run = request.query.get("dryRun") or []
    if dry_run and dry_run != ["All"]:
        error = statuses.not_supported("dryRun", dry_run, ["All"])
        raise statuses.invalid_object("PatchOptions", "meta.k8s.io", "", [error])
    manager = request.parameter("fieldManager")
    if len(manager) > MANAGER_LIMIT:
        error = statuses.too_long("fieldManager", MANAGER_LIMIT)
        raise statuses.invalid_object("PatchOptions", "meta.k8s.io", "", [error])
    if not manager:
        manager = request.headers.get("user-agent", "").partition("/")[0][:MANAGER_LIMIT]
    return Writer(manager or "unknown", dry_run=bool(dry_run), user=request.user)


def validation_of(request: Request) -> str:
    """Return ``Strict``, ``Warn`` (the default) or ``Ignore``."""
    return request.parameter("fieldValidation") or "Warn"


def warnings_of(complaints: list[str]) -> list[tuple[str, str]]:
    """Return the ``Warning`` headers for what the strict decoder complained about."""
    return [
        ("Warning", '299 - "{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"')))
        for text in complaints
    ]
