"""A challenge while it is under way: check, diagnose, give up, and bring everything back.

A challenge is one of a cluster: every event names it, and what came first is told by the events'
ids. Which cluster that was, the cluster says: one that was made anew under the old name has
another namespace kube-system (its UID), and what was begun in the old one is over with it.

All that has to be known later is in the journal: the seed and, packed as the keys of a lab are
(`course.sealing`), the fault, its words, where packets are lost, and how to bring back what was
changed outside of the challenge's namespaces. It is written before anything is changed, so that
an interrupted start is cleaned up by the next one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab.challenges import actions, losing, recipe
from k8slab.challenges.catalogue import entry
from k8slab.challenges.diagnosis import Verdict, judge
from k8slab.challenges.score import Diagnosis, Score, cause_points
from k8slab.course import turns
from k8slab.course.journal import Journal
from k8slab.course.sealing import unseal
from k8slab.errors import ClusterError, K8slabError, UsageError
from k8slab.grading import Context, Finding, collateral, flows, grade
from k8slab.grading.unchanged import check_unchanged
from k8slab.objects import meta
from k8slab.probes.steps import is_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from k8slab.challenges.recipe import Case
    from k8slab.course.journal import Event

JOURNAL = "challenge"
"""Under this name, where a lab's stands, the journal has what concerns challenges."""
LONGEST_EVIDENCE = 1_000_000
"""Characters that are judged: a whole ruleset of a node, and no endless file."""
KEPT_EVIDENCE = 4000
"""Characters of it that the journal keeps."""


def alone(cluster: Any, doing: str, told: Callable[[str], None]) -> AbstractContextManager[None]:
    """Hold the challenges of a cluster: what begins, ends or judges one is alone with it."""
    return turns.held(cluster, "challenge", turns.named(doing), told)


def identity(cluster: Any) -> str:
    """Return what no other cluster has, be its name the same: the UID of kube-system."""
    space = cluster.get("namespaces", "kube-system")
    return "" if space is None else meta.uid_of(space)


def is_of(event: Event, cluster: Any) -> bool:
    """Say whether an event is about this cluster; older journals name it at the begin only."""
    return bool(event.data.get("cluster", cluster.name) == cluster.name)


def last_begun(cluster: Any, journal: Journal) -> Event | None:
    """Return the begin of the newest challenge on a cluster, whatever became of it."""
    begun = [one for one in journal.events(JOURNAL, "begin") if is_of(one, cluster)]
    return begun[-1] if begun else None


def is_open(begun: Event, cluster: Any, journal: Journal) -> bool:
    """Say whether nobody has ended what was begun."""
    ended = journal.events(JOURNAL, "reset", begun.subject)
    return not any(one.id > begun.id and is_of(one, cluster) for one in ended)


def silent(_line: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class _Wide(Context):
    """The place of a challenge that may be about the cluster's own programs as well."""

    @property
    def namespaces(self) -> list[str]:
        """Return where something may be under way."""
        return [*super().namespaces, "kube-system"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was wrong, for whoever gives up."""

    fault: str
    object: str
    field: str
    reveals: str
    fix: str
    note: str = ""

    def text(self) -> str:
        """Return the answer for a terminal."""
        note = f"\n  {self.note}" if self.note else ""
        return (
            f"{self.fault}\n  where: {self.object}, {self.field}\n"
            f"  what shows it: {self.reveals}\n  how to mend it: {self.fix}{note}"
        )


@dataclass
class Challenge:
    """One challenge on one cluster; see the module."""

    cluster: Any
    case: Case
    journal: Journal
    begun: Event
    told: Callable[[str], None] = silent
    _setup: Event | None = field(default=None, repr=False)

    @property
    def seed(self) -> int:
        """The number that it is made from."""
        return self.case.seed

    @property
    def namespace(self) -> str:
        """The namespace that it is about."""
        return self.case.namespace

    @property
    def task(self) -> str:
        """The complaint, and what to find out."""
        asks = " Say which hop loses the packets, too." if self.asks_hop else ""
        if self.shown:
            asks += "\n\nIts answer has been shown: it gives no points any more."
        elif self.late:
            asks += "\n\nIts time is over: it gives no points any more."
        return (
            f"{self.case.task}\n\nThe namespace is {self.namespace}. Find the root cause, name its "
            f"object and field with the line of output that shows it, and mend that alone.{asks}"
        )

    @property
    def asked(self) -> dict[str, str]:
        """What its start was asked for: class, learner, level, fault; empty of older journals."""
        return dict(self.begun.data.get("asked", {}))

    @property
    def times(self) -> int:
        """How often this seed has been begun, whatever was asked for besides."""
        return int(self.begun.data.get("times", 1))

    @property
    def origin(self) -> str:
        """Say what it was drawn from, and how often its seed was begun; empty for neither."""
        asked = ", ".join(f"{word} {value}" for word, value in self.asked.items())
        often = f"begun {self.times} times" if self.times > 1 else ""
        return "; ".join(filter(None, [asked, often]))

    @property
    def ready(self) -> bool:
        """Say whether its start was completed."""
        return self.event("setup") is not None

    @property
    def over(self) -> bool:
        """Say whether it was ended, by any process, or went with its cluster."""
        return self.event("reset") is not None or not self._same_cluster()

    @property
    def shown(self) -> bool:
        """Say whether the answer was shown, in this challenge or in the same one before it."""
        return bool(self.begun.data.get("shown")) or self.event("solution") is not None

    @property
    def asks_hop(self) -> bool:
        """Say whether "which hop dropped it" is asked: packets are lost, and it can be seen."""
        return bool(self._sealed_place())

    @property
    def ends(self) -> float:
        """When the time is over, in seconds since 1970; 0 for never.

        Less what was spent on the same challenge when it was begun before, with a limit too.
        """
        started, minutes = self.event("setup"), self.begun.data.get("minutes", 0)
        left = 60 * minutes - self.begun.data.get("spent", 0)
        return started.time + left if started and minutes else 0.0

    @property
    def late(self) -> bool:
        """Say whether the time is over."""
        return 0 < self.ends < time.time()

    def _same_cluster(self) -> bool:
        there = identity(self.cluster)
        return bool(self.begun.data.get("uid", there) == there)

    def event(self, kind: str) -> Event | None:
        """Return the newest event of a kind in this challenge."""
        found = self.events(kind)
        return found[-1] if found else None

    def events(self, kind: str) -> list[Event]:
        """Return the events of a kind since it was begun."""
        every = self.journal.events(JOURNAL, kind, str(self.seed))
        here = [one for one in every if is_of(one, self.cluster)]
        return [one for one in here if one.id >= self.begun.id]

    def note(self, kind: str, **data: Any) -> None:
        """Write an event of this challenge."""
        self.journal.add(JOURNAL, kind, str(self.seed), cluster=self.cluster.name, **data)

    def check(self) -> Score:
        """Look at the cluster and count the points."""
        with alone(self.cluster, "a check", self.told):
            return self._checked()

    def _checked(self) -> Score:
        self._require_ready()
        if any(spec["check"] == "rollout" for spec in self.case.wishes.checks):
            self.told("rolling out under requests, which takes some seconds")
        result = grade(_Wide(**vars(self.context)), replace(self.case.wishes, may_change=None))
        findings = tuple(self._intact()) if result.passed else ()
        earlier = [one.data.get("points", 0) for one in self.events("check")]
        score = Score(
            seed=self.seed,
            mended=result,
            intact=findings,
            cause=self._cause_points(),
            shown=self.shown,
            late=self.late,
            before=max(earlier, default=0),
            origin=self.origin,
        )
        self.note("check", points=score.points, max_points=score.max_points)
        return score

    def diagnose(self, *, object: str, field: str, evidence: object) -> Diagnosis:  # noqa: A002  the contract's word
        """Note a diagnosis and say what is right about it."""
        self._require_open()
        text = str(evidence)[:LONGEST_EVIDENCE]
        verdict = judge(self.case, object, field, text)
        told = {"object": object, "field": field, "evidence": text[:KEPT_EVIDENCE]}
        parts = [verdict.object, verdict.field, verdict.evidence]
        return self._noted(verdict, verdict.right, {"told": told, "right": parts})

    def hop(self, place: object) -> Diagnosis:
        """Note where packets are lost: as ``str(Journey.lost.place)`` says it, or its name."""
        self._require_open()
        if not self.asks_hop:
            raise UsageError("no packet is lost on its way here, so there is no hop to name")
        right = self._loses(str(place))
        return self._noted(None, right, {"told": {"hop": str(place)}, "hop": right})

    def give_up(self) -> Answer:
        """Show the answer; from now on the challenge gives no points."""
        with alone(self.cluster, "giving up", self.told):
            self._require_ready()
            self.note("solution")
        cause, found = self.case.causes[0], self.case.fault
        return Answer(found.fault, cause.object, cause.field, found.reveals, found.fix, found.note)

    def stop(self) -> None:
        """Bring everything back as it was, let the namespaces go, and end.

        What cannot be brought back hinders nothing else: `ClusterError` names it at the end.
        One that another command has ended meanwhile stays as it is.
        """
        with alone(self.cluster, "a stop", self.told):
            if not self.over:
                self.end()

    def end(self) -> None:
        """Do what `stop` does, for one who holds the cluster's challenges."""
        sealed = unseal(self.begun.data["sealed"], "the journal")
        self.told("bringing back what was changed")
        undo = [*sealed["before"], *self.case.undo]
        failed = actions.bring_back(self.cluster, self.case, undo)
        for name in self.case.namespaces:
            try:
                self.cluster.delete("namespaces", name)
            except K8slabError as error:
                failed.append(f"namespace {name}: {error.message}")
        self.note("reset")
        if failed:
            raise ClusterError(
                "the challenge is over, and not everything is as it was before:\n  "
                + "\n  ".join(failed),
                hint="k8slab reset makes a new cluster",
            )

    def _require_ready(self) -> None:
        if self.over:
            raise UsageError("this challenge has ended", hint="begin one: k8slab challenge")
        if not self.ready:
            raise ClusterError(
                "this challenge did not start completely", hint="k8slab challenge start begins anew"
            )

    def _require_open(self) -> None:
        self._require_ready()
        if self.shown:
            raise UsageError("the answer has been shown: no diagnosis counts any more")
        if self.late:
            raise UsageError("the time is over: no diagnosis counts any more")

    def _noted(self, verdict: Verdict | None, right: bool, data: dict[str, Any]) -> Diagnosis:  # noqa: FBT001
        wrong_before = self._wrong()
        self.note("diagnosis", **data)
        lines = () if verdict is None else _explained(verdict)
        return Diagnosis(right, not right and wrong_before >= 1, self._cause_points(), lines)

    def _wrong(self) -> int:
        return wrong_of(self.events("diagnosis")) + self._wrong_before()

    def _wrong_before(self) -> int:
        return int(self.begun.data.get("wrong", 0))

    def _verdicts(self) -> list[Verdict]:
        found = (one.data.get("right") for one in self.events("diagnosis"))
        return [Verdict(*parts) for parts in found if parts]

    def _hops(self) -> list[bool]:
        return [one.data["hop"] for one in self.events("diagnosis") if "hop" in one.data]

    def _cause_points(self) -> int:
        return cause_points(
            self._verdicts(),
            self._hops(),
            asks_hop=self.asks_hop,
            wrong_before=self._wrong_before(),
        )

    def _loses(self, said: str) -> bool:
        """Say whether packets are lost at a place: at the start, or now while they still are."""
        known = [self._sealed_place(), *self._sealed().get("also", ())]
        if any(is_place(said, one) for one in known):
            return True
        return any(is_place(said, one) for one in losing.places(self.cluster, self.case))

    def _sealed_place(self) -> str:
        return str(self._sealed().get("lost") or "")

    def _sealed(self) -> dict[str, Any]:
        started = self.event("setup")
        return {} if started is None else dict(unseal(started.data["sealed"], "the journal"))

    @property
    def context(self) -> Context:
        """What the grader is given, with what was noted when the set-up stood."""
        started = self.event("setup")
        data = started.data if started else {}
        measured, given = data.get("others", ()), data.get("given", {})
        return Context(
            self.cluster, self.namespace, self.case.setup, measured=measured, given=given
        )

    def _intact(self) -> list[Finding]:
        context = self.context
        found = [check_unchanged(context, self.case.wishes.may_change or ())]
        if context.measured:
            found += flows.findings(context, collateral.wants_of(context.measured))
        return found


def wrong_of(diagnoses: Iterable[Event]) -> int:
    """Count the wrong guesses among events: diagnoses and hops."""
    data = [one.data for one in diagnoses]
    judged = [Verdict(*one["right"]).right for one in data if one.get("right")]
    return [*judged, *(one["hop"] for one in data if "hop" in one)].count(False)


def _explained(verdict: Verdict) -> tuple[str, ...]:
    """Say which part is right, and no more."""
    if not verdict.object:
        return ("it is another object",)
    if not verdict.field:
        return ("the object is right, the field is another one",)
    if not verdict.evidence:
        return ("the evidence does not show it yet: quote what a command prints that proves it",)
    return ()


def current(
    cluster: Any, *, journal: Journal | None = None, told: Callable[[str], None] = silent
) -> Challenge | None:
    """Return the challenge that is under way on this cluster, whoever began it; else ``None``."""
    journal = journal or Journal()
    last = last_begun(cluster, journal)
    if last is None or last.data.get("uid", uid := identity(cluster)) != uid:
        return None
    if not is_open(last, cluster, journal):
        return None
    secret = unseal(last.data["sealed"], "the journal")
    found = entry(secret["fault"])
    case = recipe.read(found, int(last.subject), secret["words"], cluster.capabilities)
    return Challenge(cluster, case, journal, last, told)
