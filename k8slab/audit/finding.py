"""What an audit says: a check, where it struck, and what to do about it."""

from __future__ import annotations

import dataclasses
import re
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8slab.objects.manifests import Manifest

_STEP = re.compile(r'\[(\d+)\]|\["([^"]*)"\]|([^.\[\]]+)')


class Severity(Enum):
    """How bad it is; the words are SARIF's levels."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """Return 0 for the worst."""
        return list(Severity).index(self)


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that an audit looks for; `name` is what suppressions and reports call it."""

    name: str
    severity: Severity
    title: str
    why: str
    """What goes wrong when nothing is done."""
    remedy: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """One check that struck; `field` is the path in the object, as ``spec.ingress[0].from``."""

    check: Check
    subject: str
    """Kind and name: ``NetworkPolicy shop/web``, ``Namespace shop``."""
    message: str
    field: str = ""
    remedy: str = ""
    """What to do in this case, where that is more than the check's own remedy."""
    manifest: Manifest | None = dataclasses.field(default=None, repr=False, compare=False)
    rated: Severity | None = None
    """Another severity than the check's own, where a rule says so."""

    @property
    def severity(self) -> Severity:
        """Return how bad it is."""
        return self.rated or self.check.severity

    @property
    def advice(self) -> str:
        """Return what to do."""
        return self.remedy or self.check.remedy

    @cached_property
    def place(self) -> str:
        """Return ``file:line``; empty when the object came from a live cluster."""
        return self.manifest.place_of(*steps(self.field)) if self.manifest else ""

    @property
    def namespace(self) -> str:
        """Return the namespace that it is about; empty for what belongs to the whole cluster."""
        kind, _, name = self.subject.partition(" ")
        space, slash, _ = name.partition("/")
        return space if slash or kind == "Namespace" else ""

    @property
    def order(self) -> tuple[int, str, str, str]:
        """Return what sorts findings: the worst first, then by subject."""
        return (self.severity.rank, self.subject, self.check.name, self.field)

    def to_json(self) -> dict[str, str]:
        """Return the finding as plain values; parts without content are left out."""
        found = {
            "check": self.check.name,
            "severity": self.severity.value,
            "subject": self.subject,
            "message": self.message,
            "field": self.field,
            "place": self.place,
            "remedy": self.advice,
        }
        return {key: value for key, value in found.items() if value}


def steps(path: str) -> tuple[str | int, ...]:
    """Split ``spec.ingress[0].from`` into keys and indexes; keys with dots stand in ["…"]."""
    return tuple(
        int(index) if index else quoted or name for index, quoted, name in _STEP.findall(path)
    )
