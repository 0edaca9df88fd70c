"""Every exercise knows right from wrong: the authors' answers and some mutants, really given.

`make mutants` tries all mutants: some minutes on two cores, most of it spent waiting.
"""

from pathlib import Path

import pytest

from k8slab.course import load
from k8slab.course.answers import answer_files, read_answers
from k8slab.course.mutants import Trials

SOLUTIONS = Path(__file__).parents[2] / "solutions"
EXERCISES = [
    (path.parent.name, exercise)
    for path in sorted(SOLUTIONS.glob("*/exercises.yaml"))
    for exercise in load(path.parent).exercises
]
# Those with many answers first: the last ones to end are then short.
EXERCISES.sort(key=lambda one: -len(answer_files(SOLUTIONS / one[0], one[1])))
# xdist gives to one worker what is equal before the last "::", so each exercise may go elsewhere:
# without the end of these names a whole lab would stay in one, and the longest is half of all.
NAMES = [f"{lab}::{exercise}::trials" for lab, exercise in EXERCISES]
MUTANTS = 3
"""Tried of each exercise, evenly taken from all."""
REPEATED = EXERCISES[::3]
"""Exercises whose reference and a near miss are tried once more; `make mutants` repeats all."""


@pytest.fixture
def trials(request, tmp_path):
    """Make the trials of an exercise on a cluster that has what it needs; clean up afterwards."""
    made = []

    def make(lab, exercise):
        read = load(SOLUTIONS / lab)
        needs = read.exercise(exercise).wishes.needs
        fixture = "dual_stack_cluster" if "dual-stack" in needs else "cluster"
        cluster = request.getfixturevalue(fixture)
        made.append(Trials.on(cluster, read, exercise, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.stage.close()


@pytest.mark.parametrize(("lab", "exercise"), EXERCISES, ids=NAMES)
def test_there_is_a_reference_an_alternative_and_a_wrong_answer(lab, exercise):
    kinds = [path.stem.partition("-")[0] for path in answer_files(SOLUTIONS / lab, exercise)]
    assert kinds.count("reference") == 1
    assert set(kinds) == {"reference", "alternative", "wrong"}


@pytest.mark.timeout(900)  # dozens of answers; on a busy machine each takes seconds
@pytest.mark.parametrize(("lab", "exercise"), EXERCISES, ids=NAMES)
def test_right_answers_pass_and_wrong_ones_and_mutants_do_not(lab, exercise, trials):
    made = trials(lab, exercise)
    tried = made.run(MUTANTS)
    faults = [trial for trial in tried if not trial.as_wanted]
    assert not faults, "\n".join(f"{trial.name}\n{trial.text}" for trial in faults)
    times = int((lab, exercise) in REPEATED)
    again = [trial for trial in made.again(times) if not trial.as_wanted]
    assert not again, "\n".join(f"{trial.name}, another time\n{trial.text}" for trial in again)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("answer", "points"), [("wrong-pci-only", 1), ("wrong-no-date", 1), ("wrong-deleted", 0)]
)
def test_the_part_of_an_answer_that_is_right_earns_its_points(answer, points, trials):
    made = trials("05-network-policies", "compliance")
    answers = {one.name: one for one in read_answers(made.lab.directory, made.exercise)}
    tried = made.try_answer(answers[answer])
    assert tried.verdict == "failed"
    assert tried.points == points, tried.text
