"""A challenge in a notebook: its methods show what came of them, as `lab.check` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab import challenges
from k8slab.challenges import history
from k8slab.notebook.views import View, box, listed, paragraphs, shown, wrapped

if TYPE_CHECKING:
    from k8slab.challenges import Challenge, Choice
    from k8slab.course import Journal, Session


class ChallengeView(View):
    """A challenge under way, and what can be done about it."""

    def __init__(self, challenge: Challenge) -> None:
        self.challenge = challenge
        head = f"Challenge {challenge.seed} (namespace {challenge.namespace})"
        super().__init__(f"{head}\n{challenge.task}", box(head, [paragraphs(challenge.task)]))

    @property
    def namespace(self) -> str:
        """The namespace that it is about."""
        return self.challenge.namespace

    @property
    def asks_hop(self) -> bool:
        """Say whether it asks which hop loses the packets."""
        return self.challenge.asks_hop

    def check(self) -> Told:
        """Show the points, and what is missing; `.value` is the score."""
        score = self.challenge.check()
        return _shown(score.text(), score)

    def diagnose(self, *, object: str, field: str, evidence: Any) -> View:  # noqa: A002  the challenge's word
        """Name the root cause: the object, its field, and the line of output that shows it."""
        text = evidence if isinstance(evidence, str) else getattr(evidence, "text", str(evidence))
        found = self.challenge.diagnose(object=object, field=field, evidence=text)
        return _shown(found.text(), found)

    def hop(self, place: Any) -> Told:
        """Say which hop loses the packets, as the last line of a journey names it."""
        found = self.challenge.hop(place)
        return _shown(found.text(), found)

    def give_up(self) -> Told:
        """Show the answer; it gives no points any more."""
        found = self.challenge.give_up()
        return _shown(found.text(), found)

    def stop(self) -> Told:
        """Bring everything back and end it."""
        self.challenge.stop()
        return _shown("Everything is as it was before.", None)


class Told(View):
    """What came of it, with the value that it was made from."""

    def __init__(self, text: str, value: Any) -> None:
        head, *rest = text.splitlines()
        super().__init__(text, box(head, [wrapped(rest)] if rest else []))
        self.value = value


def _shown(text: str, value: Any) -> Told:
    return shown(Told(text, value))


def begin(session: Session, choice: Choice) -> ChallengeView:
    """Start a challenge, or find the one under way that is the same: cells run again."""
    cluster, journal = session.cluster, session.journal
    found = challenges.current(cluster, journal=journal, told=session.told)
    if found is None or not found.ready or not _meant(found, choice):
        found = challenges.start(cluster, choice, journal=journal, told=session.told)
    return shown(ChallengeView(found))


def history_view(journal: Journal) -> View:
    """Show every challenge that was begun, and what came of it."""
    found = history.attempts(journal)
    if not found:
        text = "No challenge has been begun yet: lab.challenge()"
        return View(text, paragraphs(text))
    head, lines = history.summary(found), [one.text() for one in found]
    return View("\n".join([head, *lines]), box(head, [listed(lines)]))


def _meant(found: Challenge, choice: Choice) -> bool:
    same_fault = choice.fault.upper() in ("", found.case.fault.id)
    begun = found.begun.data
    same_minutes = choice.minutes in (0, begun.get("within", begun.get("minutes", 0)))
    # Without a seed the learner's own next one is meant, and not what somebody else's class drew.
    if choice.seed is None:
        same_seed = begun.get("of", "") == choice.names
    else:
        same_seed = choice.seed == found.seed
    same_level = choice.level in (0, found.case.level)
    return same_fault and same_minutes and same_seed and same_level
