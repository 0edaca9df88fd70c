"""A report as SARIF 2.1.0 (OASIS), which code hosts and editors show beside the lines.

A finding without a file (from a live cluster) has only a logical location. Suppressed
findings are there too, with their justification: SARIF wants them marked and not left out.
Fingerprints name check, subject and field, so that a finding is the same one after lines moved.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from k8slab.audit.catalogue import CHECKS
from k8slab.version import __version__

if TYPE_CHECKING:
    from k8slab.audit.engine import Report
    from k8slab.audit.finding import Finding
    from k8slab.audit.rulefile import Suppression

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif(report: Report) -> dict[str, Any]:
    """Return the report as a SARIF log with one run."""
    results = [_result(finding) for finding in report.findings]
    results += [_result(finding, by) for finding, by in report.suppressed]
    driver = {
        "name": "k8slab policy audit",
        "version": __version__,
        "rules": [_rule(name) for name in CHECKS],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(name: str) -> dict[str, Any]:
    check = CHECKS[name]
    return {
        "id": check.name,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.why},
        "help": {"text": check.remedy},
        "defaultConfiguration": {"level": check.severity.value},
    }


_NUMBERS = {name: number for number, name in enumerate(CHECKS)}


def _result(finding: Finding, by: Suppression | None = None) -> dict[str, Any]:
    identity = f"{finding.check.name}\n{finding.subject}\n{finding.field}"
    found = {
        "ruleId": finding.check.name,
        "ruleIndex": _NUMBERS[finding.check.name],
        "level": finding.severity.value,
        "message": {"text": f"{finding.subject}: {finding.message}. {_sentence(finding.advice)}"},
        "locations": [_location(finding)],
        "partialFingerprints": {"k8slab/v1": sha256(identity.encode()).hexdigest()[:32]},
    }
    if by is not None:
        why = f"{by.reason} (until {by.until})"
        found["suppressions"] = [{"kind": "external", "justification": why}]
    return found


def _sentence(text: str) -> str:
    """Return a text with a capital and a full stop, as SARIF asks of messages (3.11.3)."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


def _location(finding: Finding) -> dict[str, Any]:
    name = f"{finding.subject} {finding.field}".strip()
    found: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": name, "kind": "resource"}]}
    if finding.place:
        file, _, line = finding.place.rpartition(":")
        found["physicalLocation"] = {
            "artifactLocation": {"uri": _uri(file)},
            "region": {"startLine": int(line)},
        }
    return found


def _uri(file: str) -> str:
    """Return a file's name as a URI reference; relative ones stay so (RFC 3986)."""
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
