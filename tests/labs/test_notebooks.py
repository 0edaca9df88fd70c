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
        cluster.delete("namespaces", name)
    for name in names:
        cluster.wait("namespaces", name, until="delete")


def run_all(directory, cluster):
    for notebook in sorted(directory.glob("*.ipynb")):
        done = run_notebook(notebook, cluster=cluster.name)
        assert done.code == 0, done.stdout


def observed(lab, journal):
    """Return the predictions that were observed, with what was decided about them."""
    events = journal.events(lab.name, "observation")
    return {event.subject: event.data["decided"] for event in events}


def expected(lab):
    return {found.id: found.key for found in lab.predictions.values() if not found.quiz}


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
        assert observed(lab, journal) == expected(lab)

    def test_the_solved_lab_has_full_marks(self, cluster, journal, clean, tmp_path):
        release.build_solutions(SOLUTIONS, tmp_path)
        run_all(tmp_path / self.name, cluster)
        lab = load(SOLUTIONS / self.name, journal.seed)
        found = progress(lab, journal)
        assert found.points == found.max_points
        assert observed(lab, journal) == expected(lab)


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
