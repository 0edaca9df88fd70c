r"""A user's own rules: annotations that policies must carry, and findings to suppress.

    title: Payment cards
    annotations:
      - key: pci-dss/reviewed
        namespaces: pci-dss/scope=cde      # a label selector; left out: every namespace
        requirement: PCI DSS v4 1.2.7
        text: reviewed at least every six months
        max_age_days: 183                  # the value is a date
      - key: pci-dss/approved-by
        matches: '.+@example\\.com'         # a regular expression for the whole value
        severity: error
    suppressions:
      - check: no-default-deny
        subject: Namespace legacy-*        # a pattern as in file names
        reason: moves to the new cluster in May
        until: 2027-05-31

A suppression needs a reason and a date. After the date it hides nothing and is a finding
itself; so it is when nothing is left for it to hide.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.audit.catalogue import CHECKS
from k8slab.audit.finding import Finding, Severity
from k8slab.errors import ManifestError, UsageError
from k8slab.objects import selectors
from k8slab.objects.manifests import load_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from k8slab.objects.selectors import Selector

SHIPPED = Path(__file__).with_name("rulefiles")
"""Rule files that come with the library, to be named without a path."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation that policies must carry."""

    key: str
    namespaces: Selector
    requirement: str = ""
    text: str = ""
    severity: Severity = Severity.WARNING
    matches: str = ""
    max_age_days: int = 0


@dataclass(frozen=True, slots=True)
class Suppression:
    """Findings that are not to be shown until a date."""

    check: str
    subject: str
    reason: str
    until: dt.date

    def hides(self, finding: Finding) -> bool:
        """Say whether this finding is meant, whatever the date."""
        return self.check in ("*", finding.check.name) and fnmatchcase(
            finding.subject, self.subject
        )


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What one rule file says."""

    source: str = ""
    title: str = ""
    annotations: tuple[Annotation, ...] = ()
    suppressions: tuple[Suppression, ...] = ()


def shipped() -> dict[str, Path]:
    """Return the rule files that come with the library, by their names."""
    return {file.stem: file for file in SHIPPED.glob("*.yaml")}


def load(name: str) -> RuleFile:
    """Read a rule file, by path or by the name of one that is shipped; raises `ManifestError`.

    The name of a shipped one means that one, whatever lies in the current directory: exercises
    are graded by it. A file of the own that is called so is named with a directory, ./NAME.
    """
    path = shipped().get(name, Path(name))
    try:
        values = load_values(path.read_bytes(), name)
    except OSError as error:
        hint = f"give a path, or one of those that are shipped: {', '.join(sorted(shipped()))}"
        raise ManifestError(f"cannot read it: {error.strerror}", place=name, hint=hint) from error
    if len(values) != 1:
        raise ManifestError("a rule file is one YAML document", place=name)
    return _read(values[0], name)


def _read(value: Any, source: str) -> RuleFile:
    try:
        _known(value, "the file", {"title", "annotations", "suppressions"})
        return RuleFile(
            source,
            _text(value, "title", "title"),
            tuple(
                _annotation(entry, f"annotations[{number}]")
                for number, entry in enumerate(_list(value, "annotations"))
            ),
            tuple(
                _suppression(entry, f"suppressions[{number}]")
                for number, entry in enumerate(_list(value, "suppressions"))
            ),
        )
    except UsageError as error:
        raise ManifestError(error.message, place=source, hint=error.hint) from error


def _annotation(entry: Any, path: str) -> Annotation:
    _known(
        entry,
        path,
        {"key", "namespaces", "requirement", "text", "severity", "matches", "max_age_days"},
    )
    age = entry.get("max_age_days") or 0
    if not isinstance(age, int) or isinstance(age, bool) or age < 0:
        raise UsageError(f"{path}.max_age_days: {age!r} is not a number of days")
    pattern = _text(entry, "matches", f"{path}.matches")
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{path}.matches: not a regular expression: {error}") from error
    word = _text(entry, "severity", f"{path}.severity") or "warning"
    if word not in {severity.value for severity in Severity}:
        raise UsageError(f"{path}.severity: {word!r} is not error, warning or note")
    return Annotation(
        _needed(entry, "key", path),
        selectors.from_text(_text(entry, "namespaces", f"{path}.namespaces")),
        _text(entry, "requirement", f"{path}.requirement"),
        _text(entry, "text", f"{path}.text"),
        Severity(word),
        pattern,
        age,
    )


def _suppression(entry: Any, path: str) -> Suppression:
    _known(entry, path, {"check", "subject", "reason", "until"})
    check = _needed(entry, "check", path)
    if check != "*" and check not in CHECKS:
        raise UsageError(
            f"{path}.check: there is no check {check!r}", hint=f"there are: {', '.join(CHECKS)}"
        )
    date = read_date(_needed(entry, "until", path))
    if date is None:
        raise UsageError(f"{path}.until: {entry['until']!r} is not a date", hint="as in 2027-05-31")
    return Suppression(check, _needed(entry, "subject", path), _needed(entry, "reason", path), date)


def read_date(text: str) -> dt.date | None:
    """Read a date as ``2027-05-31``; ``None`` when it is none."""
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError:
        return None


def _known(value: Any, path: str, keys: set[str]) -> None:
    if not isinstance(value, dict):
        raise UsageError(f"{path}: a mapping is needed")
    if unknown := sorted(set(value) - keys):
        raise UsageError(
            f"{path}: unknown field {unknown[0]}", hint=f"known are {', '.join(sorted(keys))}"
        )


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    found = value.get(key) or []
    if not isinstance(found, list):
        raise UsageError(f"{key}: a list is needed")
    return found


def _text(value: Mapping[str, Any], key: str, path: str) -> str:
    found = value.get(key) or ""
    if not isinstance(found, str):
        raise UsageError(f"{path}: text is needed, not {found!r}")
    return found


def _needed(value: Mapping[str, Any], key: str, path: str) -> str:
    if not (found := _text(value, key, f"{path}.{key}")):
        raise UsageError(f"{path}: {key} is missing")
    return found


def sift(
    findings: Iterable[Finding], rules: RuleFile, today: dt.date
) -> tuple[list[Finding], list[tuple[Finding, Suppression]]]:
    """Part findings into those to show and those that are suppressed.

    Suppressions that have expired, or that hide nothing, are findings themselves.
    """
    shown, hidden, used = [], [], set()
    for finding in findings:
        found = [s for s in rules.suppressions if s.hides(finding)]
        used.update(found)
        valid = next((s for s in found if s.until >= today), None)
        if valid:
            hidden.append((finding, valid))
        else:
            shown.append(finding)
    for number, suppression in enumerate(rules.suppressions):
        subject = f"{rules.source} suppressions[{number}]"
        about = f"{suppression.check} of {suppression.subject}"
        if suppression not in used:
            told = f"nothing found is {about}"
            shown.append(Finding(CHECKS["suppression-unused"], subject, told))
        elif suppression.until < today:
            told = f"{about} was suppressed until {suppression.until}: {suppression.reason}"
            shown.append(Finding(CHECKS["suppression-expired"], subject, told))
    return shown, hidden
