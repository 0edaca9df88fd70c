import json
from dataclasses import replace
from pathlib import Path

import pytest

from k8slab.course import load
from k8slab.course.mutants import __main__ as program
from k8slab.course.mutants.parallel import Report, jobs
from k8slab.course.mutants.table import rows, table
from k8slab.course.mutants.trials import Trials
from k8slab.course.mutants.tried import Tried
from k8slab.errors import ExerciseError
from k8slab.testing.fake import FakeCluster

EXAMPLE = Path(__file__).parents[2] / "data" / "solutions" / "90-example"


def by_name(found):
    return {trial.name: trial for trial in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Give the trials of the example as it is, with their stage."""
    made = Trials.on(
        FakeCluster(reports_denials=True),
        load(EXAMPLE),
        "protect",
        tmp_path_factory.mktemp("whole"),
        every=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("K8SLAB_HOME", str(tmp_path_factory.mktemp("home")))
        return made, list(made.run())


def test_right_answers_are_accepted_and_everything_else_is_refused(whole):
    _, found = whole
    assert [trial.name for trial in found if not trial.as_wanted] == []
    sorts = [trial.sort for trial in found]
    assert sorts[:4] == ["untouched", "reference", "alternative", "wrong"]
    assert sorts.count("mutant") > 20


def test_what_an_answer_did_is_undone_without_setting_the_exercise_up_again(whole):
    made, found = whole
    assert len(found) > 20
    assert made.stage.resets == 1


def test_a_mutant_that_is_the_same_answer_must_be_accepted(trials, example):
    policy = example / "answers" / "protect" / "reference.yaml"
    # Nothing but db is left for a rule to name: an empty list of types means Ingress here.
    policy.write_text(policy.read_text().replace("spec:", "spec:\n  policyTypes: [Ingress]"))
    two = policy.with_name("alternative-twice.yaml")
    rule = policy.read_text().partition("  ingress:\n")[2]
    two.write_text(policy.read_text() + rule)
    found = by_name(trials(example).run())
    same = found["alternative-twice: only-web ingress[0] dropped"]
    assert (same.wanted, same.verdict) == (True, "passed")
    assert "policy engine" in same.equivalent


def test_a_grader_that_sees_too_little_is_found_out(trials, example):
    file = example / "exercises.yaml"
    seeing = ("from: batch, to: db, port: 8080, want", "no_collateral", "canaries")
    kept = [
        line for line in file.read_text().splitlines() if not any(word in line for word in seeing)
    ]
    file.write_text("\n".join(kept))
    found = [trial for trial in trials(example).run() if not trial.as_wanted]
    assert "wrong-everybody" in [trial.name for trial in found]
    mutant = next(
        t for t in found if t.name == "reference: only-web ingress[0].from emptied: everybody"
    )
    assert "what differs: added" in mutant.text


def test_a_grader_that_refuses_another_form_is_found_out(trials, example):
    file = example / "exercises.yaml"
    check = """    checks:
      - check: field
        object: networkpolicies.networking.k8s.io/only-web
        path: spec.ingress[0].ports[0].port
        equals: http
"""
    file.write_text(file.read_text().replace("    may_change", check + "    may_change", 1))
    found = [trial.name for trial in trials(example).run() if not trial.as_wanted]
    assert "alternative-expression" in found


def test_the_parts_of_an_exercise_are_all_of_it_and_nothing_twice(trials, example, whole):
    parts = [[t.name for t in trials(example, part=(n, 3), every=True).run()] for n in range(3)]
    assert sorted(name for part in parts for name in part) == sorted(t.name for t in whole[1])


def test_of_mutants_that_do_the_same_one_is_enough_where_time_counts(trials, example, whole):
    some = {trial.name for trial in trials(example).run()}
    assert some < {trial.name for trial in whole[1]}
    assert {"untouched", "reference", "alternative-expression", "wrong-everybody"} <= some


def test_parts_that_share_an_exercise_leave_out_what_another_part_tried(trials, example, tmp_path):
    alone = trials(example)
    wanted = [trial.name for trial in alone.run()]
    shared = Tried(tmp_path / "shared")
    parts = [trials(example, part=(n, 3), tried=shared) for n in range(3)]
    found = [trial.name for part in parts for trial in part.run()]
    assert len(found) == len(set(found)) == len(wanted)
    assert sum(part.alike for part in parts) == alone.alike > 0


def listed(example, text):
    (example / "answers" / "protect" / "mutants.yaml").write_text(text)


def test_an_author_may_call_a_mutant_equivalent_and_it_must_then_be_accepted(trials, example):
    name = "only-web ingress[0].from emptied: everybody"
    listed(example, f"equivalent: {{reference: {{'{name}': for a test}}}}")
    trial = by_name(trials(example).run())[f"reference: {name}"]
    assert (trial.equivalent, trial.wanted, trial.as_wanted) == ("for a test", True, False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "equivalent: {reference: {'only-web gone': why}}",
            "reference has no mutant 'only-web gone'",
        ),
        ("equivalent: {reference: {'only-web ingress[0] dropped': ''}}", "the reason of each"),
        ("equivalent: {reference: [one]}", "the reason of each"),
        ("equal: {}", "must hold equivalent"),
    ],
)
def test_a_wrong_list_of_equivalent_mutants_is_an_error(trials, example, text, told):
    listed(example, text)
    with pytest.raises(ExerciseError, match=told.replace("[", r"\[")):
        list(trials(example).run())


def test_the_reference_and_a_near_miss_are_tried_again_and_again(trials, example):
    found = list(trials(example).again(3))
    assert [trial.name for trial in found] == ["reference"] * 3 + ["wrong-everybody"] * 3
    assert all(trial.as_wanted for trial in found)


def test_the_table_counts_and_names_what_was_judged_wrongly(whole):
    trial = replace(whole[1][-1], name="a mutant", verdict="passed", text="how it passed")
    good, bad = (
        rows([Report("90-example", "protect", found)])[0]
        for found in (whole[1], [*whole[1], trial])
    )
    assert (good.fine, bad.fine) == (True, False)
    lines = table([bad]).splitlines()
    assert lines[1].split()[:2] == ["90-example/protect", "2/2"]
    assert "90-example/protect: a mutant: should be refused" in lines
    assert "    how it passed" in lines
    assert "90-example/protect: neither right nor wrong" in lines


def test_jobs_are_the_exercises_that_are_named_in_parts_that_are_not_too_large(example):
    root = example.parent
    assert {job.exercise for job in jobs(root, [])} == {"look", "protect"}
    assert {job.exercise for job in jobs(root, ["90/look"])} == {"look"}
    found = jobs(root, ["90-example/protect"])
    assert [job.part for job in sorted(found, key=lambda job: job.part)] == [
        (number, len(found)) for number in range(len(found))
    ]
    assert jobs(root, ["91"]) == []


def test_the_program_names_mutants_and_says_when_no_exercise_is_meant(example, capsys):
    assert program.main(["--solutions", str(example.parent), "--list", "90/protect"]) == 0
    assert "90-example/protect reference: only-web ingress[0] dropped" in capsys.readouterr().out
    assert program.main(["--solutions", str(example.parent), "91"]) == 2


def test_the_program_tries_all_on_clusters_of_its_own_and_leaves_none(
    example, cluster, capsys, monkeypatch
):
    del cluster  # where there can be none, the test is skipped
    monkeypatch.setenv("K8SLAB_HOME", "/nonexistent")
    argv = ["--solutions", str(example.parent), "--workers", "1", "--json", "90/look"]
    assert program.main(argv) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["fine"]
    names = [trial["name"] for trial in row["trials"]]
    assert names[:4] == ["untouched", "reference", "alternative-order", "wrong-unlabelled"]
    assert "reference: answer web-address of db" in names
