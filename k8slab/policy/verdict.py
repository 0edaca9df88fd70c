"""What the engine answers: allow or deny, and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k8slab.policy.flow import Flow


class Action(Enum):
    """The two verdicts."""

    ALLOW = "allow"
    DENY = "deny"


def path_of(direction: str, index: int) -> str:
    """Return the name of a rule, the field that the API's own messages name: spec.ingress[0]."""
    return f"spec.{direction}[{index}]"


@dataclass(frozen=True, slots=True)
class Miss:
    """One rule that did not admit the flow, and the first thing that did not match."""

    policy: str
    direction: str
    rule: int | None
    """Index in the policy's list; ``None`` when the policy has no rule in this direction."""
    why: str

    def __str__(self) -> str:
        rule = "" if self.rule is None else f" {path_of(self.direction, self.rule)}"
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
    matched: str = ""
    """What that rule says, in words: the peer that matched, and the ports."""

    def lines(self) -> list[str]:
        """Return the walk through the rules, one sentence a line."""
        head = f"{self.direction} of {self.subject}: {self.action.value}, {self.because}"
        if self.action is Action.ALLOW:
            return [head]
        return [head, *(f"  {miss}" for miss in self.misses)]

    def walk(self) -> list[str]:
        """Return `lines` and, where a rule decided, what it says."""
        if not self.matched or self.rule is None:
            return self.lines()
        _, _, label = self.decided_by.partition(" ")
        return [*self.lines(), f"  {label} {path_of(self.direction, self.rule)}: {self.matched}"]


MOST_NAMES = 4
"""Names in one sentence; of more the first, and how many more there are."""


def listed(names: Iterable[str]) -> str:
    """Return names as text."""
    every = list(names)
    if len(every) <= MOST_NAMES:
        return ", ".join(every)
    return f"{', '.join(every[: MOST_NAMES - 1])} and {len(every) - MOST_NAMES + 1} more"


def together(reasons: Iterable[Reason]) -> list[Reason]:
    """Put reasons that differ in nothing but the subject together, such as those of replicas."""
    found: dict[Reason, list[str]] = {}
    for reason in reasons:
        found.setdefault(replace(reason, subject=""), []).append(reason.subject)
    return [replace(reason, subject=listed(names)) for reason, names in found.items()]


@dataclass(frozen=True)
class Verdict:
    """The answer for one flow; for a Service or a workload `flow` stands for several pairs.

    The reasons are found when they are first asked for: most questions are never explained.
    """

    flow: Flow
    action: Action
    why: Callable[[], tuple[Reason, ...]] = field(repr=False, compare=False)
    how: Callable[[], tuple[str, ...]] = field(default=tuple, repr=False, compare=False)

    @property
    def allowed(self) -> bool:
        """Say whether the policies let the flow through."""
        return self.action is Action.ALLOW

    @cached_property
    def reasons(self) -> tuple[Reason, ...]:
        """Return what was decided on each side, and why."""
        return self.why()

    @cached_property
    def translations(self) -> tuple[str, ...]:
        """Return in words what the network makes of the addresses before policies are asked."""
        return self.how()

    def explain(self) -> str:
        """Return the whole walk as text for a learner."""
        lines = [*self.translations]
        lines += [line for reason in together(self.reasons) for line in reason.walk()]
        return "\n".join([f"{self.flow}: {self.action.value}", *(f"  {line}" for line in lines)])
