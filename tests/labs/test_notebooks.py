"""Every notebook as its learners meet it, by nbval on a real cluster: untouched, then solved."""

from pathlib import Path

import pytest

from k8slab.course import Journal, load, progress, release
from k8slab.testing.notebooks import run_notebook

ROOT = Path(__file__).parents[2]
SOLUTIONS, LABS = ROOT / "solutions", ROOT / "labs"


@pytest.fixture
def journal(cluster):
    """Give a learner without a past: this worker's journal, emptied before and after."""
    journal = Journal()
    files = [Path(f"{journal.path}{ending}") for ending in ("", "-wal", "-shm")]
    for file in files:
        file.unlink(missing_ok=True)
    yield journal
    for file in files:
        file.unlink(missing_ok=True)


@pytest.fixture
def clean(cluster):
    """Leave none of the labs' namespaces behind, so that the next notebook begins afresh."""
    yield
    names = [
        space["metadata"]["name"]
        for space in cluster.list("namespaces")
        if space["metadata"]["name"].startswith("lab")
    ]
    for name in names:
        cluster.delete("namespaces", name)  # nothing can be made in it from now on
        for pod in cluster.list("pods", name):  # a program that ignores SIGTERM has 30 s of grace
            cluster.delete("pods", pod["metadata"]["name"], name, grace=0)
    for name in names:
        cluster.wait("namespaces", name, until="delete")


def run_all(directory, cluster):
    for notebook in sorted(directory.glob("*.ipynb")):
        done = run_notebook(notebook, cluster=cluster.name)
        assert done.code == 0, done.stdout


UNDECIDED = 1
"""A busy machine repeats a query, and then nothing is decided. A rule that never fits is not found
here: ``test_deciding`` has what each of them was made for."""


def observed(lab, journal):
    """Return what was observed for each prediction: what it decided, and the lines."""
    events = journal.events(lab.name, "observation")
    assert {one.subject for one in events} == {p.id for p in lab.predictions.values() if not p.quiz}
    return {event.subject: event.data for event in events}


def contradicted(lab, journal):
    """Return the observations that decided something else than the lab's key."""
    return {
        name: seen
        for name, seen in observed(lab, journal).items()
        if seen["decided"] not in ("", lab.prediction(name).key)
    }


def undecided(lab, journal):
    """Return the lines of those that decided nothing."""
    found = observed(lab, journal).items()
    return {name: seen["lines"] for name, seen in found if not seen["decided"]}


# Two notebooks each, with waits on purpose: minutes on a busy machine.
@pytest.mark.timeout(900)
class Notebooks:
    """One class for each lab: a class stays in one process, and they run side by side."""

    name = ""

    def test_the_untouched_lab_runs_through_and_gives_no_points(self, cluster, journal, clean):
        run_all(LABS / self.name, cluster)
        lab = load(LABS / self.name, journal.seed)
        events = journal.events(lab.name, "check")
        checked = {event.subject: event.data["status"] for event in events}
        assert checked == {
            name: "failed" if set(found.wishes.needs) <= cluster.capabilities else "inconclusive"
            for name, found in lab.exercises.items()
        }
        assert progress(lab, journal).total == 0
        assert contradicted(lab, journal) == {}

    def test_the_solved_lab_has_full_marks(self, cluster, journal, clean, tmp_path):
        release.build_solutions(SOLUTIONS, tmp_path)
        run_all(tmp_path / self.name, cluster)
        lab = load(SOLUTIONS / self.name, journal.seed)
        found = progress(lab, journal)
        assert found.points == found.max_points
        assert contradicted(lab, journal) == {}
        assert len(undecided(lab, journal)) <= UNDECIDED, undecided(lab, journal)


class TestOrientation(Notebooks):
    name = "00-orientation"


class TestNetworkingModel(Notebooks):
    name = "01-networking-model"


class TestDns(Notebooks):
    name = "02-dns"


class TestServices(Notebooks):
    name = "03-services"


class TestNetworkPolicies(Notebooks):
    name = "05-network-policies"


class TestTroubleshooting(Notebooks):
    name = "07-troubleshooting"


def test_every_lab_is_run_here():
    run = {one.name for one in Notebooks.__subclasses__()}
    assert run == {path.parent.name for path in SOLUTIONS.glob("*/exercises.yaml")}
