"""What the engine answers: allow or deny, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.policy.flow import Flow


class Action(Enum):
    """The two verdicts."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Miss:
    """One rule that did not admit the flow, and the first thing that did not match."""

    policy: str
    rule: int | None
    """Index in the policy's list; ``None`` when the policy has no rule in this direction."""
    why: str

    def __str__(self) -> str:
        rule = "" if self.rule is None else f" rule {self.rule + 1}"
        return f"{self.policy}{rule}: {self.why}"


@dataclass(frozen=True, slots=True)
class Reason:
    """What was decided on one side of the flow, in one direction.

    `isolated_by` names the policies of the deciding tier that select the subject; without any
    the side is open and `because` says so. `admitted_by` is the policy whose rule matched, if
    one did; `misses` has the rules before it, or all of them, that did not.
    """

    direction: str
    subject: str
    action: Action
    because: str
    isolated_by: tuple[str, ...] = ()
    admitted_by: str = ""
    misses: tuple[Miss, ...] = ()
    rule: int | None = None
    """Index of the rule that decided, in the policy's list for this direction."""
    peer: int | None = None
    """Index of the entry of that rule's ``from`` or ``to`` that matched; ``None`` for everyone."""
    decided_by: str = ""
    """`Policy.key` of the policy whose rule decided."""

    def lines(self) -> list[str]:
        """Return the walk through the rules, one sentence a line."""
        head = f"{self.direction} of {self.subject}: {self.action.value}, {self.because}"
        if self.action is Action.ALLOW:
            return [head]
        return [head, *(f"  {miss}" for miss in self.misses)]


@dataclass(frozen=True)
class Verdict:
    """The answer for one flow; for a Service or a workload `flow` stands for several pairs.

    The reasons are found when they are first asked for: most questions are never explained.
    """

    flow: Flow
    action: Action
    why: Callable[[], tuple[Reason, ...]] = field(repr=False, compare=False)

    @property
    def allowed(self) -> bool:
        """Say whether the policies let the flow through."""
        return self.action is Action.ALLOW

    @cached_property
    def reasons(self) -> tuple[Reason, ...]:
        """Return what was decided on each side, and why."""
        return self.why()

    def explain(self) -> str:
        """Return the whole walk as text for a learner."""
        lines = [line for reason in self.reasons for line in reason.lines()]
        return "\n".join([f"{self.flow}: {self.action.value}", *(f"  {line}" for line in lines)])
