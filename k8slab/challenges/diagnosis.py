"""Judge a diagnosis: object, field and evidence, as people write them.

An object is ``services/web``, ``svc/web``, ``Service web`` or ``Deployment.apps/web``; a field is a
path, in which positions in lists, quotes and a missing beginning count for nothing, and whoever
goes deeper means the same: ``spec.selector``, ``.spec.selector.app``, ``selector["app"]``,
``selector``. A word that many fields end in (``ports``) is no answer alone.
Evidence is what a command printed: it must hold what shows the fault (a regular expression of the
recipe). Everything is compared, nothing is understood: an honest line is easy to write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.probes.steps import is_place

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


VAGUE = frozenset(
    {"data", "metadata", "name", "port", "ports", "spec", "status", "template", "value"}
)
"""Words that are steps of so many fields that one of them alone says nothing."""


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
    # A line of longer output ends where a pattern's $ stands.
    shown = any(re.search(one, evidence, re.IGNORECASE | re.MULTILINE) for one in case.evidence)
    fits = any(same_field(cause.field, field) for cause in named)
    return Verdict(bool(named), fits, shown)


def same_object(cause: str, told: str) -> bool:
    """Say whether a text names the object of a cause; a node's by the end of its name, too."""
    (kind, name), (said_kind, said) = _identity(cause), _identity(told)
    if kind != said_kind:
        return False
    return is_place(said, name) if kind == "node" else said == name


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
    """Say whether a text names the field of a cause: the same, deeper, with or without its start.

    Of what is wanted the text must begin with the last words, at least one, or be the last words.
    """
    wanted, found = _parts(cause), _parts(told)
    if found in ([], wanted):
        return bool(found)
    if len(found) == 1 and found[0] in VAGUE:
        return False
    ends = [wanted[at:] for at in range(len(wanted))]
    return found in ends or any(found[: len(end)] == end for end in ends)


def _parts(path: str) -> list[str]:
    keys = re.sub(r"""\[(["'])(.*?)\1\]""", r".\2", path)
    plain = re.sub(r"\[[^\]]*\]", "", keys)
    words = (word.strip("\"'{}$").lower() for word in re.split(r"[.\s/]+", plain))
    return [word for word in words if word and not word.isdigit()]
