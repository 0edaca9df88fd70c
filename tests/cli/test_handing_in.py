"""submit and grade, from a shell, with real clusters; and the workflow that the book shows."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from k8slab import clusters
from k8slab.cli import handing_in
from k8slab.course import Session, bundle, library, load, marking
from k8slab.course.setup import wanted_mark
from k8slab.errors import ClusterNotReadyError
from k8slab.grading.report import Report
from k8slab.objects import manifests

ROOT = Path(__file__).parents[2]
LABS = Path(__file__).parents[1] / "data" / "solutions"
EXAMPLE = LABS / "90-example"
LAB = load(EXAMPLE)


@pytest.fixture(autouse=True)
def labs(monkeypatch):
    monkeypatch.setenv("K8SLAB_LABS", str(LABS))


@pytest.fixture
def there(cluster, monkeypatch):
    """Attach every command to this worker's cluster, as if it was the learner's."""
    monkeypatch.setattr(clusters, "attach", lambda _name="": cluster)
    yield cluster
    for exercise in LAB.exercises.values():
        cluster.delete("namespaces", exercise.namespace)
        cluster.wait("namespaces", exercise.namespace, until="delete")


def solution():
    made = manifests.load(LAB.exercise("protect").solution)
    return [{**o, "metadata": {**o["metadata"], "namespace": "lab90-protect"}} for o in made]


def bundled(file, *objects):
    claimed = {"points": 2, "checks": 1, "hints": 0, "saw_solution": False}
    entry = {"setup": wanted_mark(LAB.exercise("protect")), "claimed": claimed}
    answers = {
        "made": "2026-01-02T03:04:05Z",
        "seed": 7,
        "versions": {},
        "cluster": {"name": "k8slab", "nodes": 3},
        "labs": {LAB.name: {"exercises": {"protect": {**entry, "added": [*objects]}}}},
    }
    file.parent.mkdir(exist_ok=True)
    bundle.write(file, answers)


def test_submit_writes_what_differs_and_says_what_it_is(k8slab, there, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Session(LAB, there).begin("protect")
    there.apply(solution())
    ran = k8slab("submit", "90/protect")
    assert (ran.code, ran.out) == (0, "answers.zip\n")
    assert "90-example/protect: 1 added" in ran.err
    found = bundle.read(tmp_path / "answers.zip").answers["labs"]["90-example"]["exercises"]
    assert [obj["kind"] for obj in found["protect"]["added"]] == ["NetworkPolicy"]
    ran = k8slab("submit", "-o", "all.zip", "--json")
    assert json.loads(ran.out)["file"] == "all.zip"


def test_all_labs_are_those_of_the_course_and_not_copies_in_the_current_directory(
    tmp_path, monkeypatch
):
    copy = shutil.copytree(EXAMPLE, tmp_path / "90-example")
    monkeypatch.chdir(tmp_path)
    assert {lab.directory for lab, _ in handing_in._chosen(())} == {*LABS.iterdir()}
    ((named, _),) = handing_in._chosen(("90-example",))
    assert named.directory == copy  # whoever names it means this one


def test_submit_without_anything_begun_is_told(k8slab, there, tmp_path):
    ran = k8slab("submit", "90", "-o", str(tmp_path / "a.zip"))
    assert ran.code == 2
    assert "there is nothing to hand in" in ran.err
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "name bundles, or a notebook"),
        (["a.zip", "--run-notebook", __file__], "name bundles, or a notebook"),
        (["--run-notebook", __file__], "say it with --lab"),
        (["a.zip", "--require", "101"], "101"),
    ],
)
def test_wrong_usage_of_grade_is_told(k8slab, argv, told):
    ran = k8slab("grade", *argv)
    assert ran.code == 2
    assert told in ran.err


def test_bundles_that_are_no_bundles_need_no_cluster_and_end_with_1(k8slab, tmp_path):
    (tmp_path / "x.zip").write_text("no")
    ran = k8slab("grade", str(tmp_path / "x.zip"), str(tmp_path / "none.zip"))
    assert ran.code == 1
    assert "x: not graded" in ran.out
    assert "there is no such file" in ran.out


@pytest.mark.parametrize(
    ("option", "place", "told"),
    [
        ("--junit", "handed-in", "handed-in: Is a directory"),
        ("--csv", "none/grades.csv", "there is no directory none"),
        ("--gradescope", "x.zip/below", "x.zip/below: Not a directory"),
        ("--csv", "x" * 256, "File name too long"),
        ("--gradescope", "x" * 256, "File name too long"),
        ("--junit", "-", "- is no file"),
    ],
)
def test_a_place_for_reports_that_cannot_be_is_told_before_anything_is_graded(
    k8slab, tmp_path, monkeypatch, option, place, told
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "handed-in").mkdir()
    (tmp_path / "x.zip").write_text("no")
    ran = k8slab("grade", "x.zip", option, place)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert {path.name for path in tmp_path.iterdir()} == {"handed-in", "x.zip"}


def test_a_refused_grading_makes_no_directory_and_one_that_is_done_makes_it_for_all(
    k8slab, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.zip").write_text("no")
    reports = ("--gradescope", "new/below", "--junit", "new/below/j.xml")
    ran = k8slab("grade", "x.zip", *reports, "--csv", "none/t.csv")
    assert (ran.code, "there is no directory none" in ran.err) == (2, True)
    assert not (tmp_path / "new").exists()
    assert k8slab("grade", "x.zip", *reports, "--csv", "new/t.csv").code == 1
    found = {str(path.relative_to("new")) for path in Path("new").rglob("*") if path.is_file()}
    assert found == {"below/x/results.json", "below/j.xml", "t.csv"}


def test_what_hinders_the_results_from_being_shown_loses_no_report(tmp_path):
    """Both failures are told: of a report, and of the standard output."""
    (tmp_path / "x.zip").write_text("no")
    places = ("--junit", "/dev/full", "--csv", f"{tmp_path}/grades.csv")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", "from k8slab.cli.main import main; main()", "grade"]
        done = subprocess.run(
            [*command, f"{tmp_path}/x.zip", *places],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert "error: /dev/full cannot be written: No space left on device" in done.stderr
    assert "error: a file: No space left on device" in done.stderr
    assert (tmp_path / "grades.csv").read_text().startswith("assignment,")


def test_a_report_that_cannot_be_written_keeps_no_other_back(k8slab, tmp_path):
    (tmp_path / "x.zip").write_text("no")
    places = ("--junit", "/dev/full", "--csv", f"{tmp_path}/grades.csv")
    ran = k8slab("grade", f"{tmp_path}/x.zip", *places, "--gradescope", f"{tmp_path}/grades")
    assert ran.code == 1  # one bundle is none; 3 would hide that
    assert "error: /dev/full cannot be written: No space left on device" in ran.err
    assert "wrote /dev/full" not in ran.err
    assert f"wrote {tmp_path}/grades.csv" in ran.err
    assert "x: not graded" in ran.out
    assert (tmp_path / "grades.csv").read_text().startswith("assignment,")
    assert json.loads((tmp_path / "grades" / "x" / "results.json").read_text())["score"] == 0


def test_a_report_that_is_lost_is_the_exit_code_where_all_else_is_well(k8slab, monkeypatch):
    monkeypatch.setattr(marking, "grade_bundles", lambda *_a, **_m: Report(()))
    ran = k8slab("grade", "x.zip", "--junit", "/dev/full")
    assert ran.code == 3
    assert k8slab("grade", "x.zip").code == 0


def workflow_step(name):
    text = (ROOT / "book" / "examples" / "grade-answers.yml").read_text()
    (step,) = (s for s in yaml.safe_load(text)["jobs"]["grade"]["steps"] if s.get("name") == name)
    return step["run"]


def test_the_workflow_of_the_book_grades_a_repository_of_answers(cluster, tmp_path):
    """The very command of its step "grade", in a directory like that repository."""
    assert cluster.name  # this machine can run one
    bundled(tmp_path / "answers" / "anna.zip", *solution())
    bundled(tmp_path / "answers" / "boris.zip")
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-e", "-c", workflow_step("grade")],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "anna: 2 of 3 points\n  - 90-example/look: 0 of 1" in done.stdout
    assert "boris: 0 of 3 points" in done.stdout
    assert "\n  x 90-example/protect: 0 of 2, claimed 2" in done.stdout
    rows = [*csv.DictReader(io.StringIO((tmp_path / "grades.csv").read_text()))]
    assert [(row["student_id"], row["score"]) for row in rows] == [
        ("anna", "2.0"),
        ("boris", "0.0"),
    ]
    assert ET.fromstring((tmp_path / "grades.xml").read_text()).get("failures") == "1"
    results = json.loads((tmp_path / "grades" / "boris" / "results.json").read_text())
    assert results["score"] == 0


def test_a_required_share_decides_the_exit_code(k8slab, cluster, tmp_path):
    assert cluster.name
    bundled(tmp_path / "anna.zip", *solution())
    file = str(tmp_path / "anna.zip")
    assert k8slab("grade", file, "--require", "67").code == 1  # one of two exercises
    ran = k8slab("grade", file, "--lab", "90/protect", "--require", "100", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["learners"][0]["points"] == 2
    bundled(tmp_path / "anna.zip")
    assert k8slab("grade", file, "--require", "1").code == 1


def test_a_grading_that_is_not_complete_has_an_exit_code_of_its_own(k8slab, tmp_path, monkeypatch):
    def up(*_names, **_more):
        raise ClusterNotReadyError("no node is ready")

    monkeypatch.setattr(clusters, "up", up)
    bundled(tmp_path / "in" / "anna.zip", *solution())
    table = tmp_path / "grades.csv"
    ran = k8slab("grade", str(tmp_path / "in"), "--csv", str(table), "--require", "100")
    assert ran.code == 4
    assert "anna: not graded\n  no node is ready" in ran.out
    assert "THE GRADING IS NOT COMPLETE" in ran.out
    (row,) = csv.DictReader(io.StringIO(table.read_text()))
    assert (row["student_id"], row["score"]) == ("anna", "")


def test_a_terminal_without_a_character_gets_the_grades_all_the_same(tmp_path):
    (tmp_path / "zo\xeb\x1b[2J.zip").write_text("no")
    command = [sys.executable, "-c", "from k8slab.cli.main import main; main()", "grade"]
    table = tmp_path / "grades.csv"
    done = subprocess.run(
        [*command, str(tmp_path), "--csv", str(table)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("zo\\xeb\\u241b[2J: not graded")
    assert "zo\xeb\u241b[2J" in table.read_text(encoding="utf-8")


@pytest.mark.parametrize("given", [True, False])
def test_labs_that_a_learner_put_beside_the_answers_decide_nothing(
    k8slab, tmp_path, monkeypatch, given
):
    text = (
        (EXAMPLE / "exercises.yaml")
        .read_text()
        .replace("lab: 90-example", "lab: 05-network-policies")
    )
    for place in ("labs/05-network-policies", "05", "05-network-policies"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "exercises.yaml").write_text(text)
        shutil.copytree(EXAMPLE / "manifests", tmp_path / place / "manifests")
        shutil.copytree(EXAMPLE / "answers", tmp_path / place / "answers")
    monkeypatch.chdir(tmp_path)
    own = Path(library.__file__).parents[2] / "labs"
    monkeypatch.delenv("K8SLAB_LABS")
    if given:
        monkeypatch.setenv("K8SLAB_LABS", str(own))
    went_by = []

    def grade_bundles(_files, *, asked, **_more):
        went_by.append((library.labs_directory(), {*asked["05-network-policies"]}))
        return Report(())

    monkeypatch.setattr(marking, "grade_bundles", grade_bundles)
    (tmp_path / "x.zip").write_text("no")
    assert k8slab("grade", "x.zip", "--lab", "05").code == 0
    ((directory, exercises),) = went_by
    assert directory == own
    assert "default-deny" in exercises
    assert "protect" not in exercises
    assert library.labs_directory() == (own if given else tmp_path / "labs")  # of a learner


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_grade_leaves_nothing_behind(cluster, tmp_path, number):
    assert cluster.name
    bundled(tmp_path / "anna.zip", *solution())
    home = Path("/tmp") / f"k8slab-int-{os.getpid()}-{number.name}"  # short: sockets lie in it
    home.mkdir()
    command = "from k8slab.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", command, "grade", str(tmp_path / "anna.zip")],
        env={**os.environ, "K8SLAB_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as grade:
        assert _appears(home, "grading/*/clusters/k8slab/supervisor.lock")
        grade.send_signal(number)
        _, told = grade.communicate(timeout=60)
    assert grade.returncode == 130
    assert told.endswith("interrupted\n")
    assert list(home.glob("grading/*")) == []
    assert list(home.glob("clusters/*")) == []
    shutil.rmtree(home)


def _appears(directory, pattern):
    """Say (within a bounded time) whether a file appears below a directory."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        if any(directory.glob(pattern)):
            return True
        threading.Event().wait(0.02)
    return False
