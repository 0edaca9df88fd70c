"""What the query of a writing request says: dry run, field manager, field validation.

Source: ``metav1/validation`` (ValidateCreateOptions, ...) and apiserver's filter for warnings.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.api import Writer

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.statuses import FieldError
    from k8slab.objects.meta import Object

MANAGER_LIMIT = 128
VALIDATIONS = ("", "Ignore", "Strict", "Warn")

WARNINGS_LIMIT, WARNING_LIMIT = 4096, 256
"""Characters of all warnings of an answer; beyond, each is cut to the second length."""

WARNINGS_MOST = 1000
"""Of more complaints the rest is not looked at: it would be cut anyway."""

_OPTIONS = {"POST": "CreateOptions", "PUT": "UpdateOptions", "DELETE": "DeleteOptions"}


def writer_of(request: Request) -> Writer:
    """Return who writes, from ``fieldManager`` or the program's name in ``User-Agent``."""
    dry_run = request.query.get("dryRun") or []
    manager = request.parameter("fieldManager")
    _refuse(request, [*dry_run_errors(dry_run), *_manager_errors(manager)])
    if not manager:
        agent = request.headers.get("user-agent", "").partition("/")[0][:MANAGER_LIMIT]
        manager = "".join(letter for letter in agent if letter.isprintable())
    return Writer(
        manager or "unknown", dry_run=bool(dry_run), user=request.user, ledger=request.ledger
    )


def deleter_of(request: Request, options: Object) -> Writer:
    """Return who deletes; `options` are the request's ``DeleteOptions``."""
    return Writer(dry_run=bool(options.get("dryRun")), user=request.user, ledger=request.ledger)


def validation_of(request: Request) -> str:
    """Return ``Strict``, ``Warn`` (the default) or ``Ignore``; 422 for another word."""
    word = request.parameter("fieldValidation")
    if word not in VALIDATIONS:
        _refuse(request, [statuses.not_supported("fieldValidation", word, VALIDATIONS)])
    return word or "Warn"


def dry_run_errors(asked: object) -> list[FieldError]:
    """Return what is wrong with ``dryRun``: ``All`` is the only word."""
    right = isinstance(asked, list) and all(word == "All" for word in asked)
    return [] if right else [statuses.not_supported("dryRun", asked, ["All"])]


def _manager_errors(manager: str) -> list[FieldError]:
    errors = []
    if len(manager.encode("utf-8", "replace")) > MANAGER_LIMIT:
        errors.append(statuses.too_long("fieldManager", MANAGER_LIMIT))
    errors += [
        statuses.invalid(
            "fieldManager", manager, f"invalid character U+{ord(letter):04X} (at position {place})"
        )
        for place, letter in enumerate(manager)
        if not letter.isprintable()
    ]
    return errors


def _refuse(request: Request, errors: list[FieldError]) -> None:
    if errors:
        kind = _OPTIONS.get(request.method, "PatchOptions")
        raise statuses.invalid_object(kind, "meta.k8s.io", "", errors)


def warnings_of(complaints: list[str]) -> list[tuple[str, str]]:
    """Return the ``Warning`` headers for what is to be said beside the answer.

    A text with a control character is not sent, as a header cannot carry it, and none twice.
    """
    texts = [
        text
        for text in dict.fromkeys(complaints[:WARNINGS_MOST])
        if not any(unicodedata.category(letter) == "Cc" for letter in text)
    ]
    if sum(map(len, texts)) > WARNINGS_LIMIT:
        short = [text[:WARNING_LIMIT] for text in texts]
        texts = short[: WARNINGS_LIMIT // WARNING_LIMIT]
    return [
        ("Warning", '299 - "{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"')))
        for text in texts
    ]
