"""Try every answer of an exercise on a cluster: right ones are accepted, wrong ones refused.

The untouched start and all mutants are wrong answers. A mutant that the policy engine finds to
be the same answer in other words is a right one: a grader that looked at its text would refuse
it. Where the engine cannot know, or where an exercise leaves more open than its reference says,
the author lists the mutant with the reason in ``answers/EXERCISE/mutants.yaml``:

    equivalent:
      reference:
        dns egress[0].ports[1] 53/TCP dropped: The task asks for names; UDP is enough for these.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from k8slab.course.answers import DIRECTORY, Answer, give, read_answers
from k8slab.course.lab import read_yaml
from k8slab.course.leaks import leaks
from k8slab.course.mutants.effects import Difference, Effects
from k8slab.course.mutants.generate import Mutant, mutants
from k8slab.course.mutants.stage import Stage
from k8slab.course.mutants.tried import Tried
from k8slab.course.names import fill
from k8slab.errors import ApiStatusError, ExerciseError, ProgramError
from k8slab.grading import Status, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from k8slab.course.answers import Document
    from k8slab.course.lab import Exercise, Lab
    from k8slab.course.mutants.tried import Effect
    from k8slab.course.session import Session
    from k8slab.grading import Result

FILE = "mutants.yaml"
UNTOUCHED, MUTANT = "untouched", "mutant"
IMPOSSIBLE, UNTOLD = "impossible", "untold"
LEAK = "gives the solution away"
SAME_CONNECTIONS = "the policy engine finds no connection that differs"
NOBODY_THERE = "it differs only on ports where nothing listens or at addresses where nobody is"
SAME_VALUES = "the cluster gives the same values"
NO_POINTS = (Status.FAILED, Status.INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Trial:
    """One answer that was tried, and what came of it."""

    name: str
    sort: str
    """``untouched``, ``reference``, ``alternative``, ``wrong`` or ``mutant``."""
    wanted: bool
    """Whether it had to be accepted."""
    verdict: str
    """The status of its check; ``impossible`` where the API refused the answer itself, and another
    word where the feedback contains the solution, which nobody wants."""
    points: float = 0
    text: str = ""
    """The result for a terminal, where it was not the one wanted."""
    equivalent: str = ""
    """Why a mutant is no mistake."""
    seconds: float = 0

    @property
    def as_wanted(self) -> bool:
        """Say whether the grader was right."""
        if self.wanted:
            return self.verdict == Status.PASSED.value
        no = {IMPOSSIBLE, UNTOLD, *(status.value for status in NO_POINTS)}
        return self.verdict in no and not (self.sort == UNTOUCHED and self.points)


@dataclass
class Trials:
    """The answers of one exercise on one cluster."""

    lab: Lab
    exercise: Exercise
    stage: Stage
    tried: Tried
    """What the mutants were tried for, by all who share the exercise."""
    every: bool = False
    """Whether mutants that do the same are all tried, or the first of them."""
    part: tuple[int, int] = (0, 1)
    """Which of how many parts of the answers are tried, so that several may share the work."""
    alike: int = 0
    """How many mutants were not tried, since another one does the same."""
    _count: int = 0

    @classmethod
    def on(
        cls,
        cluster: Any,
        lab: Lab,
        exercise: str,
        scratch: Path,
        *,
        tried: Tried | None = None,
        **how: Any,
    ) -> Trials:
        """Prepare the trials of an exercise on a cluster; journals go to `scratch`.

        Without `tried` nobody else tries this exercise.
        """
        found = lab.exercise(exercise)
        stage = Stage(lab, found, cluster, scratch)
        return cls(lab, found, stage, tried or Tried(scratch / "tried"), **how)

    def run(self, most: int | None = None) -> Iterator[Trial]:
        """Yield a trial for each answer; raises `ExerciseError` for a wrong list of equivalents.

        With `most` only about so many mutants are tried, taken evenly from all.
        """
        answers = read_answers(self.lab.directory, self.exercise)
        spoilt = [(one, m) for one in answers if one.right for m in mutants(self.exercise, one)]
        listed = self._listed({(one.name, mutant.name) for one, mutant in spoilt})
        yield from self.answers()
        # The exercise is set up, and the engine can be asked about what there is at its start.
        self.stage.session()
        effects = Effects(self.stage.context().policy_objects(), self.exercise, answers)
        step = -(-len(spoilt) // most) if most else 1
        for answer, mutant in spoilt[:: max(1, step)]:
            if self._mine():
                why = listed.get((answer.name, mutant.name), "")
                yield from self._try_mutant(answer, mutant, effects, why)

    def answers(self) -> Iterator[Trial]:
        """Yield trials of the untouched start and of the answers as their author wrote them."""
        if self._mine():
            yield self._judged(UNTOUCHED, UNTOUCHED, self.stage.session(), wanted=False)
        for answer in read_answers(self.lab.directory, self.exercise):
            if self._mine():
                yield self.try_answer(answer)

    def again(self, times: int) -> Iterator[Trial]:
        """Yield trials of the reference and of the first wrong answer, `times` of each."""
        answers = read_answers(self.lab.directory, self.exercise)
        chosen = [answers[0], *[answer for answer in answers if not answer.right][:1]]
        for answer in chosen:
            for _ in range(times):
                yield self.try_answer(answer)

    def _mine(self) -> bool:
        """Count an answer; say whether it belongs to this part."""
        self._count += 1
        number, parts = self.part
        return self._count % parts == number

    def try_answer(self, answer: Answer) -> Trial:
        """Give one answer to the exercise at its start, and check it."""
        session = self.stage.session()
        self.stage.touched(answer.documents)
        give(session, self.exercise.id, answer)
        return self._judged(answer.name, answer.sort, session, wanted=answer.right)

    def _try_mutant(
        self, answer: Answer, mutant: Mutant, effects: Effects, why: str
    ) -> Iterator[Trial]:
        """Yield the trial of a mutant; none where another one did the same."""
        differs = effects.difference(answer.documents, mutant.documents)
        if differs is not None and not differs.tellable:
            if why:
                raise ExerciseError(
                    f"{self._file}: {mutant.name!r} of {answer.name} need not be listed",
                    hint="the policy engine finds that no packet tells it from the answer",
                )
            why = NOBODY_THERE if differs.change else SAME_CONNECTIONS
        if not self._worth_it(answer, mutant, effects, differs):
            self.alike += 1
        elif why == NOBODY_THERE:
            yield Trial(f"{answer.name}: {mutant.name}", MUTANT, False, UNTOLD, equivalent=why)
        else:
            found = self._tried_mutant(answer, mutant, why)
            if found.text and differs:
                found = replace(found, text=f"{found.text}\n  what differs: {differs.change}")
            yield found

    def _worth_it(
        self, answer: Answer, mutant: Mutant, effects: Effects, differs: Difference | None
    ) -> bool:
        """Say whether a mutant does something that none before it did.

        What differs only for pods that are not there is always tried: there graders are weak.
        Where the engine does not know, a mistake of the same name is the same mistake.
        """
        effect: Effect | None
        if differs is None:
            effect = mutant.name
        elif differs.tellable:
            effect = effects.of(mutant.documents)
        else:
            effect = None if differs.change else answer.name
        return self.every or effect is None or self.tried.add(effect)

    def _tried_mutant(self, answer: Answer, mutant: Mutant, why: str) -> Trial:
        name = f"{answer.name}: {mutant.name}"
        session = self.stage.session()
        self.stage.touched(mutant.documents)
        try:
            give(session, self.exercise.id, Answer(name, MUTANT, mutant.documents))
        except (ApiStatusError, ProgramError) as error:
            return Trial(name, MUTANT, wanted=False, verdict=IMPOSSIBLE, text=str(error))
        if not why and self._types_the_same(answer, mutant):
            why = SAME_VALUES
        return self._judged(name, MUTANT, session, wanted=bool(why), equivalent=why)

    def _types_the_same(self, answer: Answer, mutant: Mutant) -> bool:
        """Say whether a mutant types other words for what the cluster says is the same."""
        if [d for d in answer.documents if "answers" not in d] != [
            d for d in mutant.documents if "answers" not in d
        ]:
            return False
        one, other = (self._typed(documents) for documents in (answer.documents, mutant.documents))
        return one.keys() == other.keys() and all(
            values.same(values.as_text(other[question]), one[question]) for question in one
        )

    def _typed(self, documents: Iterable[Document]) -> dict[str, Any]:
        context = self.stage.context()
        return {
            question: values.read(context, value) if isinstance(value, dict) else value
            for document in documents
            for question, value in (document.get("answers") or {}).items()
        }

    def _judged(
        self, name: str, sort: str, session: Session, *, wanted: bool, equivalent: str = ""
    ) -> Trial:
        began = time.monotonic()
        result: Result = session.check(self.exercise.id)
        seconds = time.monotonic() - began
        verdict = result.status.value
        if leaks(f"{result.text()}\n{result.to_dict()}", self.exercise):
            verdict = LEAK
        found = Trial(name, sort, wanted, verdict, result.points, "", equivalent)
        text = "" if found.as_wanted else result.text()
        return Trial(name, sort, wanted, found.verdict, found.points, text, equivalent, seconds)

    @property
    def _file(self) -> Path:
        return self.lab.directory / DIRECTORY / self.exercise.id / FILE

    def _listed(self, known: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Return the author's equivalent mutants: the reason, by answer and name.

        `known` are those there are; one that is not there is an `ExerciseError`.
        """
        if not self._file.exists():
            return {}
        data = fill(read_yaml(self._file), self.exercise.names, str(self._file))
        wanted = "equivalent: with the names of answers, of mutants, and the reason of each"
        if not isinstance(data, dict) or data.keys() != {"equivalent"}:
            raise ExerciseError(f"{self._file}: must hold {wanted}")
        found = {}
        for of, names in (data["equivalent"] or {}).items():
            for name, reason in names.items() if isinstance(names, dict) else [("", "")]:
                if not isinstance(reason, str) or not reason.strip():
                    raise ExerciseError(f"{self._file}: must hold {wanted}")
                if (of, name) not in known:
                    raise ExerciseError(
                        f"{self._file}: {of} has no mutant {name!r}",
                        hint=f"make mutants ARGS='--list {self.lab.name}/{self.exercise.id}'"
                        " names all",
                    )
                found[of, name] = reason
        return found
