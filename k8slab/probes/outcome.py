"""What a probe can see: five outcomes, each with a sign and a word."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8slab.policy import Flow


class Outcome(Enum):
    """How an attempt to reach somebody ended. `FAILED` is no observation: it equals no wish."""

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"
    UNRESOLVED = "unresolved"
    FAILED = "failed"

    @property
    def sign(self) -> str:
        """Return one character for tables: colour is never the only sign."""
        return _SIGNS[self]

    @property
    def meaning(self) -> str:
        """Say in a few words what was seen, and what it can mean."""
        return _MEANINGS[self]


_SIGNS = {
    Outcome.OPEN: "+",
    Outcome.REFUSED: "x",
    Outcome.SILENT: ".",
    Outcome.UNRESOLVED: "?",
    Outcome.FAILED: "!",
}
_MEANINGS = {
    Outcome.OPEN: "something answered",
    Outcome.REFUSED: "a refusal came back: nobody listens, a rule rejects, or no way leads there",
    Outcome.SILENT: "no answer at all: dropped on the way there or back, or nobody answers there",
    Outcome.UNRESOLVED: "the name gave no address: it has none, or no DNS server answered",
    Outcome.FAILED: "the probe itself did not work: nothing is known",
}


@dataclass(frozen=True, slots=True)
class Observation:
    """One flow as it was observed.

    `address` is where the probe went, `denial` the policy (``namespace/name``) that was
    seen dropping the packet, both empty where unknown; `seconds` is how long it took.
    """

    flow: Flow
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0
    address: str = ""
    denial: str = ""

    def __str__(self) -> str:
        told = f" ({self.detail})" if self.detail else ""
        return f"{self.flow}: {self.outcome.value}{told}"
