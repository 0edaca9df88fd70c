"""A check as the cell of an autograder: nbgrader and Otter look at what the cell does.

Both fail a cell that raises; nbgrader takes a number at its end as the points. (Tried with
nbgrader 0.9.6 and otter-grader 7.0.0; here with the shell that runs such cells.)
"""

from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from k8slab.course import load
from k8slab.grading import NotSolvedError
from k8slab.notebook import Face
from k8slab.objects import manifests
from k8slab.testing.fake import FakeCluster

LAB = Path(__file__).parents[1] / "data" / "solutions" / "90-example"


@pytest.fixture
def face(tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    face = Face()
    face.use(load(LAB), FakeCluster())
    return face


@pytest.fixture
def run(face):
    shell = InteractiveShell()
    shell.user_ns["lab"] = face

    def cell(source):
        return shell.run_cell(source, store_history=False)

    yield cell
    shell.restore_sys_module_state()
    shell.history_manager.end_session()


def solve(face):
    text = face.session.lab.exercise("protect").solution
    face.cluster.apply(manifests.load(text), namespace="lab90-protect")


def test_a_cell_that_checks_fails_until_the_exercise_is_solved(face, run, capsys):
    face.begin("protect")
    failed = run('lab.check("protect", raise_on_fail=True)')
    assert not failed.success
    assert isinstance(failed.error_in_exec, NotSolvedError)
    assert failed.error_in_exec.result.points == 0
    shown = capsys.readouterr().out
    assert "NotSolvedError: x protect: not yet" in shown
    assert "Traceback" not in shown
    solve(face)
    assert run('lab.check("protect", raise_on_fail=True)').success


def test_a_cell_can_end_with_the_points_as_a_number(face, run):
    face.begin("protect")
    assert run('lab.check("protect").result.points').result == 0
    solve(face)
    assert run('lab.check("protect").result.points').result == 2


def test_a_notebook_with_a_journal_of_its_own_pays_for_nobody_elses_solution(
    face, run, tmp_path, monkeypatch
):
    face.begin("protect")
    face.solution("protect", force=True)
    solve(face)
    assert run('lab.check("protect").result.points').result == 0
    monkeypatch.setenv("K8SLAB_JOURNAL", str(tmp_path / "own.sqlite"))
    face.use(load(LAB), face.cluster)
    face.reset("protect")
    solve(face)
    assert run('lab.check("protect").result.points').result == 2
