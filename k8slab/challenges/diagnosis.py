"""Judge a diagnosis: object, field and evidence, as people write them.

An object is ``services/web``, ``svc/web``, ``Service web`` or ``Deployment.apps/web``; a field is a
path, in which positions in lists, quotes and a missing beginning count for nothing, and whoever
goes one step deeper means the same: ``spec.selector``, ``.spec.selector.app``, ``selector``.
Evidence is what a command printed: it must hold what shows the fault (a regular expression of the
recipe). Everything is compared, nothing is understood: an honest line is easy to write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8slab.challenges.recipe import Case

SHORT = {
    "svc": "service",
    "deploy": "deployment",
    "ds": "daemonset",
    "sts": "statefulset",
    "cm": "configmap",
    "netpol": "networkpolicy",
    "po": "pod",
    "no": "node",
    "ns": "namespace",
    "eps": "endpointslice",
}
"""kubectl's short names, and the usual ones of learners."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which parts of a diagnosis are right."""

    object: bool
    field: bool
    evidence: bool

    @property
    def right(self) -> bool:
        """Say whether the cause was named; evidence gives its own point."""
        return self.object and self.field


def judge(case: Case, object_: str, field: str, evidence: str) -> Verdict:
    """Compare a diagnosis with the accepted causes; the field counts with its object only."""
    named = [cause for cause in case.causes if same_object(cause.object, object_)]
    shown = any(re.search(one, evidence, re.IGNORECASE) for one in case.evidence)
    fits = any(same_field(cause.field, field) for cause in named)
    return Verdict(bool(named), fits, shown)


def same_object(cause: str, told: str) -> bool:
    """Say whether a text names the object of a cause."""
    return _identity(cause) == _identity(told)


def _identity(text: str) -> tuple[str, str]:
    kind, _, name = text.strip().replace(" ", "/").rpartition("/")
    return _kind(kind.rpartition("/")[2]), name


def _kind(word: str) -> str:
    plain = word.lower().partition(".")[0]
    if plain in SHORT:
        return SHORT[plain]
    if plain.endswith("ies"):
        return f"{plain[:-3]}y"
    return plain.removesuffix("s")


def same_field(cause: str, told: str) -> bool:
    """Say whether a text names the field of a cause: the same, deeper, or its end alone."""
    wanted, found = _parts(cause), _parts(told)
    if not found:
        return False
    return found[: len(wanted)] == wanted or wanted[-len(found) :] == found


def _parts(path: str) -> list[str]:
    plain = re.sub(r"\[[^\]]*\]", "", path)
    words = re.split(r"[.\s/]+", plain.strip().strip("."))
    return [word.strip("\"'").lower() for word in words if word]
