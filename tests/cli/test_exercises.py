"""check, hint, solution, progress, and the reset of an exercise, from a shell."""

import json
import os
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import fastjsonschema
import pytest

from k8slab import clusters
from k8slab.cli.progress import schema as progress_schema
from k8slab.course import Journal, load
from k8slab.course.difference import Difference
from k8slab.course.sealing import seal
from k8slab.errors import ClusterNotFoundError, ClusterNotReadyError
from k8slab.objects import manifests
from k8slab.testing.fake import FakeCluster

LABS = Path(__file__).parents[1] / "data" / "solutions"
NO_MORE = "now that its solution is shown, checks add no points any more"
LAB = load(LABS / "90-example")


@pytest.fixture
def labs(monkeypatch):
    monkeypatch.setenv("K8SLAB_LABS", str(LABS))


@pytest.fixture
def there(labs, monkeypatch):
    """Attach every command to one cluster of plain Python."""
    cluster = FakeCluster()
    monkeypatch.setattr(clusters, "attach", lambda _name="": cluster)
    return cluster


def begin(cluster, exercise):
    from k8slab.course import Session  # noqa: PLC0415

    Session(LAB, cluster).begin(exercise)


def solve(cluster):
    begin(cluster, "protect")
    cluster.apply(manifests.load(LAB.exercise("protect").solution), namespace="lab90-protect")


def test_a_whole_lab_is_checked_with_its_sum_and_exit_code_1_until_all_is_solved(k8slab, there):
    solve(there)
    ran = k8slab("check", "90")
    assert ran.code == 1
    assert "+ protect: solved, 2 of 2 points" in ran.out
    assert "- look: not started yet" in ran.out
    assert ran.out.endswith("90-example: 2 of 3 points\n")
    assert k8slab("check", "90/protect").code == 0


def test_a_check_as_json_and_as_junit_says_the_same(k8slab, there, tmp_path):
    solve(there)
    file = tmp_path / "results.xml"
    ran = k8slab("check", "90", "--json", "--junit", str(file))
    values = json.loads(ran.out)
    assert [(one["exercise"], one["status"]) for one in values] == [
        ("look", "not_started"),
        ("protect", "passed"),
    ]
    assert "JUnit XML is in" in ran.err
    (suite,) = ET.fromstring(file.read_text())
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "0", "1")


def test_a_junit_file_that_cannot_be_written_is_told(k8slab, there, tmp_path):
    solve(there)
    ran = k8slab("check", "90/protect", "--junit", str(tmp_path / "none" / "results.xml"))
    assert (ran.code, ran.out) == (2, "")
    assert "there is no directory" in ran.err
    ran = k8slab("check", "90/protect", "--junit", "/dev/full")
    assert ran.code == 3
    assert "protect" in ran.out
    assert "error: /dev/full cannot be written" in ran.err
    assert "JUnit XML is in" not in ran.err


@pytest.mark.parametrize("command", ["hint", "solution", "reset"])
def test_what_is_about_one_exercise_names_those_there_are(k8slab, there, command):
    ran = k8slab(command, "90")
    assert ran.code == 2
    assert "name it: 90-example/look, 90-example/protect" in ran.err


@pytest.mark.parametrize("command", ["catchup", "check", "hint", "reset", "solution", "submit"])
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("90/", "'90/' names no exercise\n  name it: 90-example/look, 90-example/protect"),
        ("", "'' names no lab\n  there are: 90-example"),
        ("/protect", "'/protect' names no lab"),
    ],
)
def test_an_empty_name_stands_for_nothing(k8slab, labs, fake, command, what, told):
    k8slab("up")
    calls = [*fake.calls]
    ran = k8slab(command, what)
    assert ran.code == 2
    assert told in ran.err
    assert fake.calls == calls  # the cluster was left alone


@pytest.mark.parametrize("command", ["check", "hint", "solution", "reset", "submit"])
def test_an_exercise_that_does_not_exist_is_told_with_those_that_do(k8slab, there, command):
    ran = k8slab(command, "90/nothing")
    assert ran.code == 2
    assert "the lab 90-example has no exercise 'nothing'" in ran.err
    assert "there are: look, protect" in ran.err


def test_hints_come_in_steps_without_a_cluster_too(k8slab, labs, monkeypatch):
    def nowhere(name=""):
        raise ClusterNotFoundError(f"no cluster {name}")

    monkeypatch.setattr(clusters, "attach", nowhere)
    first, second = (k8slab("hint", "90/protect") for _ in range(2))
    assert (first.code, first.err) == (0, "hint 1 of 2\n")
    assert first.out == "A policy is needed that selects db.\n"
    assert json.loads(k8slab("hint", "90/protect", "--json").out) == {
        "step": 2,
        "of": 2,
        "text": second.out.strip(),
        "cost": 0,
    }


def test_a_hint_that_costs_points_says_so(k8slab, there, monkeypatch, tmp_path):
    costly = shutil.copytree(LABS / "90-example", tmp_path / "labs" / "90-example")
    file = costly / "exercises.yaml"
    file.write_text(file.read_text().replace("- id: protect", "- id: protect\n    hint_cost: 0.5"))
    monkeypatch.setenv("K8SLAB_LABS", str(tmp_path / "labs"))
    assert k8slab("hint", "90/protect").err == "hint 1 of 2, costs 0.5 points\n"
    assert json.loads(k8slab("hint", "90/protect", "--json").out)["cost"] == 0.5
    assert k8slab("hint", "90/protect").err == "hint 2 of 2\n"


def test_a_solution_comes_after_a_try_or_by_force_and_is_noted(k8slab, there):
    ran = k8slab("solution", "90/protect")
    assert ran.code == 2
    assert "try it first" in ran.err
    assert "--force" in ran.err
    assert Journal().events("90-example", "solution") == []
    begin(there, "protect")
    k8slab("check", "90/protect")
    ran = k8slab("solution", "90/protect")
    assert manifests.load(ran.out)[0]["kind"] == "NetworkPolicy"
    assert ran.err == f"{NO_MORE}\n"
    again = json.loads(k8slab("solution", "90/protect", "--json").out)
    assert "kind: NetworkPolicy" in again["solution"]
    assert again["note"] == ""
    assert len(Journal().events("90-example", "solution")) == 2


def test_a_solution_can_be_forced_and_then_says_no_more(k8slab, labs):
    ran = k8slab("solution", "90/protect", "--force")
    assert "kind: NetworkPolicy" in ran.out
    assert ran.err == ""


def test_after_the_solution_a_check_says_in_every_form_that_it_adds_no_points(
    k8slab, there, tmp_path
):
    solve(there)
    k8slab("solution", "90/protect", "--force")
    file = tmp_path / "results.xml"
    ran = k8slab("check", "90/protect", "--junit", str(file))
    assert ran.code == 0
    assert ran.out.startswith(f"+ protect: solved, 0 of 2 points\n  {NO_MORE}\n")
    (suite,) = ET.fromstring(file.read_text())
    assert suite.findtext("testcase/system-out") == f"points: 0 of 2\n{NO_MORE}"
    assert suite.find("properties/property[@name='points']").get("value") == "0"
    (one,) = json.loads(k8slab("check", "90/protect", "--json").out)
    assert (one["status"], one["points"], one["note"]) == ("passed", 0, NO_MORE)
    assert "90-example: 0 of 3 points" in k8slab("progress", "90").out
    assert k8slab("check", "90").out.endswith("90-example: 0 of 3 points\n")


def test_a_reset_begins_the_exercise_anew(k8slab, there):
    solve(there)
    ran = k8slab("reset", "90/protect")
    assert ran.code == 0
    assert "90-example/protect is at its start again, in lab90-protect" in ran.err
    assert there.list("networkpolicies.networking.k8s.io", "lab90-protect") == []
    assert Journal().events("90-example", "reset")


def test_where_the_own_work_is_saved_is_told_before_anything_can_fail(k8slab, there, monkeypatch):
    def fails(*_arguments, **_more):
        raise ClusterNotReadyError("the cluster is gone")

    solve(there)
    mine = Difference(added=tuple(manifests.load(LAB.exercise("protect").solution)))
    monkeypatch.setattr("k8slab.course.difference.collect", lambda *_: mine)
    monkeypatch.setattr("k8slab.course.setup.tear_down", fails)
    ran = k8slab("reset", "90/protect", "--keep-mine")
    assert ran.code == 1
    saved, error = ran.err.splitlines()
    assert "kind: NetworkPolicy" in Path(saved.removeprefix("your work is saved in ")).read_text()
    assert error == "error: the cluster is gone"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["90/protect", "--nodes", "5"], "leaves the cluster as it is made"),
        (["--keep-mine"], "--keep-mine is about an exercise"),
    ],
)
def test_a_reset_of_an_exercise_and_of_a_cluster_are_not_mixed_up(k8slab, there, argv, told):
    ran = k8slab("reset", *argv)
    assert ran.code == 2
    assert told in ran.err


def test_progress_of_a_damaged_file_is_told_and_repaired(k8slab, labs, state_home):
    Journal().add("90-example", "check", "protect", status="passed", points=2, max_points=2)
    assert "protect: 2 of 2" in k8slab("progress", "90").out
    file = state_home / "progress.sqlite"
    file.write_bytes(b"x" * 5000)
    ran = k8slab("progress", "90")
    assert ran.code == 3
    assert "progress.sqlite: the file of your progress is damaged" in ran.err
    assert "k8slab progress --repair" in ran.err
    ran = k8slab("progress", "90", "--repair")
    assert ran.code == 0
    assert "0 entries were saved; the damaged file is kept as" in ran.err
    assert "there was nothing to repair" in k8slab("progress", "90", "--repair").err
    (aside,) = state_home.glob("progress.sqlite.damaged-*")
    assert aside.read_bytes() == b"x" * 5000


def test_progress_as_json_has_the_sums(k8slab, labs):
    Journal().add("90-example", "check", "protect", status="passed", points=2, max_points=2)
    found = json.loads(k8slab("progress", "90", "--json").out)
    fastjsonschema.validate(progress_schema(), found)
    assert "challenges" not in found
    (value,) = found["labs"]
    assert (value["total"], value["max_total"], value["points"]["protect"]) == (2, 3, 2)


def test_progress_shows_challenges_beside_all_labs(k8slab, labs):
    assert "challenge" not in k8slab("progress").out
    assert json.loads(k8slab("progress", "--json").out)["challenges"] == []
    sealed = seal({"fault": "F01", "words": {}, "before": []})
    Journal().add("challenge", "begin", "4711", sealed=sealed, of="", minutes=20)
    Journal().add("challenge", "setup", "4711", sealed=seal({}), others=[])
    Journal().add("challenge", "check", "4711", points=4, max_points=10)
    said = k8slab("progress").out
    assert "challenges: 0 of 1 solved, 4 of 10 points" in said
    assert "  - challenge 4711: 4 of 10, under way\n" in said
    assert "challenge" not in k8slab("progress", "90").out
    found = json.loads(k8slab("progress", "--json").out)
    fastjsonschema.validate(progress_schema(), found)
    assert [one["seed"] for one in found["challenges"]] == [4711]


@pytest.mark.parametrize("command", ["check", "hint", "reset", "solution", "submit"])
def test_labs_and_exercises_are_completed(process, labs, command):
    def complete(word):
        environment = {
            **os.environ,
            "_K8SLAB_COMPLETE": "bash_complete",
            "COMP_WORDS": f"k8slab {command} {word}",
            "COMP_CWORD": "2",
        }
        return process(env=environment).stdout.split()

    assert complete("9") == ["plain,90-example"]
    assert complete("90-example/") == ["plain,90-example/look", "plain,90-example/protect"]
    assert complete("90-example/p") == ["plain,90-example/protect"]
    assert complete("90/p") == ["plain,90/protect"]


@pytest.mark.parametrize(
    "command", ["check", "hint", "solution", "progress", "reset", "submit", "grade"]
)
def test_the_help_has_an_example(k8slab, command):
    assert f"\n  k8slab {command} " in k8slab(command, "--help").out


@pytest.fixture
def started(labs, monkeypatch):
    """Start one cluster of plain Python for every command."""
    cluster = FakeCluster()
    monkeypatch.setattr(clusters, "up", lambda _name="", progress=None: cluster)
    return cluster


def test_catching_up_sets_an_exercise_up_and_says_what_was_passed_over(k8slab, started):
    done = k8slab("catchup", "90/protect")
    assert done.code == 0
    assert "Only `web` may reach `db`" in done.out
    assert "90-example/protect is set up, in the namespace lab90-protect" in done.err
    assert "passed over, without points: look" in done.err
    found = json.loads(k8slab("catchup", "90/protect", "--json").out)
    assert (found["exercise"], found["fresh"]) == ("90-example/protect", False)
    assert found["passed_over"] == ["look"]
    assert "look: 0 of 1, passed over" in k8slab("progress", "90").out


def test_catching_up_names_what_there_is(k8slab, started):
    done = k8slab("catchup", "90/nope")
    assert (done.code, "there are: look, protect" in done.err) == (2, True)
    done = k8slab("catchup", "90")
    assert (done.code, "name it: 90-example/look, 90-example/protect" in done.err) == (2, True)
