"""Every exercise knows right from wrong: the authors' answers, given to a real cluster."""

from pathlib import Path

import pytest

from k8slab.course import Journal, Session, load
from k8slab.course.answers import answer_files, give
from k8slab.grading import Status

SOLUTIONS = Path(__file__).parents[2] / "solutions"
EXERCISES = [
    (path.parent.name, exercise)
    for path in sorted(SOLUTIONS.glob("*/exercises.yaml"))
    for exercise in load(path.parent).exercises
]
NO_POINTS = (Status.FAILED, Status.INCONCLUSIVE)


def kill_pods(cluster, namespaces):
    """Save the grace of each pod's end, which is a second and more: most of the time here."""
    for space in namespaces:
        for pod in cluster.list("pods", space):
            cluster.delete("pods", pod["metadata"]["name"], space, grace=0)


@pytest.mark.parametrize(("lab", "exercise"), EXERCISES)
def test_there_is_a_reference_an_alternative_and_a_wrong_answer(lab, exercise):
    kinds = [path.stem.partition("-")[0] for path in answer_files(SOLUTIONS / lab, exercise)]
    assert kinds.count("reference") == 1
    assert set(kinds) == {"reference", "alternative", "wrong"}


@pytest.mark.parametrize(("lab", "exercise"), EXERCISES)
def test_right_answers_pass_and_wrong_ones_do_not(lab, exercise, request, tmp_path):
    needs = load(SOLUTIONS / lab).exercise(exercise).wishes.needs
    fixture = "dual_stack_cluster" if "dual-stack" in needs else "cluster"
    cluster = request.getfixturevalue(fixture)
    session = Session(load(SOLUTIONS / lab), cluster, Journal(tmp_path / "untouched.sqlite"))
    session.begin(exercise)
    try:
        assert session.check(exercise).status in NO_POINTS, "the untouched start"
        for file in answer_files(SOLUTIONS / lab, exercise):
            session.journal = Journal(tmp_path / f"{file.stem}.sqlite")
            kill_pods(cluster, session.lab.exercise(exercise).namespaces)
            session.reset(exercise)
            give(session, exercise, file)
            result = session.check(exercise)
            wanted = NO_POINTS if file.stem.startswith("wrong") else (Status.PASSED,)
            assert result.status in wanted, f"{file}\n{result.text()}"
    finally:
        for space in session.lab.exercise(exercise).namespaces:
            cluster.delete("namespaces", space)
