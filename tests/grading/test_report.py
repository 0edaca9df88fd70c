"""Grades in every form, and each form held to what its readers allow."""

import csv
import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import fastjsonschema
import pytest

from k8slab.grading import Counterexample, Finding, Result, Status
from k8slab.grading import report as reports
from k8slab.grading.report import Grades, Report, Score
from k8slab.grading.report_junit import to_junit
from k8slab.grading.report_tables import COLUMNS, to_csv, to_gradescope
from k8slab.grading.result import FlowResult


def result(name, status, points=1):
    example = Counterexample("a -> b", "open", "silent") if status is Status.FAILED else None
    finding = Finding("flows", status, ("one of 2 flows is not as wanted",), example)
    return Result(name, f"The <exercise> & {name}", points, (finding,))


@pytest.fixture
def report():
    scores = (
        Score("05-policies", result("deny", Status.PASSED, 2), 2.0, seconds=0.5),
        Score("05-policies", result("dns", Status.FAILED), 1.0, ("seen \x00\x1b odd",), (), 1.25),
        Score("05-policies", result("look", Status.INCONCLUSIVE), None),
        Score("06-services", result("map", Status.ERROR), 0.0),
        Score("06-services", result("ip", Status.PASSED), 1.0, (), ("web-address",)),
    )
    return Report(
        (
            Grades("anna", "in/anna.zip", "2026-01-02T03:04:05Z", scores),
            Grades("=cmd()", "in/x.zip", error="in/x.zip: no bundle of answers\n  make it"),
        ),
        "2026-01-03T00:00:00Z",
    )


def test_the_text_shows_score_claim_reason_and_what_is_only_stated(report):
    text = reports.text(report)
    assert text.startswith("anna: 3 of 6 points\n  + 05-policies/deny: 2 of 2\n")
    assert "  x 05-policies/dns: 0 of 1, claimed 1\n" in text
    assert "      for example: a -> b: wanted open, seen silent\n" in text
    assert "      stated, not reproduced: web-address" in text
    assert "=cmd(): not graded\n  in/x.zip: no bundle of answers" in text
    assert "\n\nanna    3 of 6\n=cmd()  not graded\n\n" in text


def test_what_the_grader_could_not_judge_is_said_by_name_and_is_no_silent_zero(report):
    text = reports.text(report)
    assert text.endswith(
        "THE GRADING IS NOT COMPLETE: the grader itself could not judge\n"
        "  anna: 05-policies/look (inconclusive), 06-services/map (error)\n"
        "  these have no points yet: grade these bundles again, with fewer --workers"
    )
    killed = Report((Grades("zoe", error="it was ended", unfinished=True),))
    assert "  zoe: everything\n" in reports.text(killed)
    value = reports.to_json(report)
    assert value["complete"] is False
    assert [learner["complete"] for learner in value["learners"]] == [False, True]
    assert [row["score"] for row in csv.DictReader(io.StringIO(to_csv(killed)))] == [""]
    found = to_gradescope(report.learners[0])
    assert "not complete" in found["output"]
    assert [test.get("status") for test in found["tests"]] == [
        "passed", "failed", None, None, "passed",
    ]  # fmt: skip


def test_a_grading_that_is_complete_says_nothing_about_it():
    solved = Grades("anna", scores=(Score("05-policies", result("deny", Status.PASSED)),))
    found = Report((solved,))
    assert "COMPLETE" not in reports.text(found)
    assert reports.to_json(found)["complete"] is True
    assert "output" not in to_gradescope(solved)


FORGED = "x\n\nzoe: 20 of 20 points\x1b[2J\u202e\ud800"


def test_no_text_of_a_learner_passes_for_a_line_or_an_order():
    example = Counterexample(FORGED, "open", FORGED, (FORGED,), FORGED)
    flow = FlowResult(FORGED, "open", observed=FORGED)
    finding = Finding("answer", Status.FAILED, (FORGED,), example, (flow,))
    score = Score("05-policies", Result("deny", "Deny", 1, (finding,)), 0, (FORGED,), (FORGED,))
    learner = Grades(FORGED, FORGED, FORGED, (score,), notes=(FORGED,))
    found = reports.handed_in([learner, Grades(FORGED, error=f"ours\n{FORGED}")])
    forms = [
        reports.text(found),  # also what an error says, all of whose lines are indented
        to_junit(reports.handed_in([learner])),
        to_csv(found),
        *(value for value in _texts(reports.to_json(reports.handed_in([learner])))),
        *(value for value in _texts(to_gradescope(found.learners[0]))),
    ]
    assert sum("zoe" in form for form in forms) > 10
    for form in forms:
        form.encode()
        assert not [line for line in form.splitlines() if line.startswith("zoe")]
        assert not set(form) & set("\x1b\u202e")
    assert "\x1b" not in found.learners[1].error


def _texts(value):
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_no_cell_of_a_table_is_a_formula(start):
    formula = f"{start}HYPERLINK(1)"
    solved = Score(formula, result("deny", Status.PASSED))
    (row,) = csv.DictReader(io.StringIO(to_csv(Report((Grades(formula, "", formula, (solved,)),)))))
    cells = [row[column] for column in ("assignment", "timestamp", "student_id")]
    assert cells == [f"'{formula}"] * 3


def test_a_single_learner_needs_no_table_of_sums(report):
    assert "not graded" not in reports.text(Report(report.learners[:1]))


def test_the_json_is_as_its_schema_says(report):
    value = json.loads(json.dumps(reports.to_json(report)))
    fastjsonschema.validate(reports.SCHEMA, value)
    anna, other = value["learners"]
    assert (anna["points"], anna["max_points"], anna["error"]) == (3, 6, "")
    assert [one["agrees"] for one in anna["exercises"]] == [True, False, True, True, True]
    assert anna["exercises"][2]["claimed"] is None
    assert other["exercises"] == []


def test_the_schema_notices_what_is_missing(report):
    value = reports.to_json(report)
    del value["learners"][0]["exercises"][0]["status"]
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        fastjsonschema.validate(reports.SCHEMA, value)


# Jenkins' xunit plugin, junit-10.xsd: for each element its attributes (required ones with a
# star) and the elements that it may hold.
_TIME = r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?"
_JUNIT = {
    "testsuites": ("name time tests failures errors", "testsuite"),
    "testsuite": (
        "name* tests* failures* errors* group time skipped timestamp hostname id package file url",
        "testsuite properties testcase system-out system-err",
    ),
    "properties": ("", "property"),
    "property": ("name* value*", ""),
    "testcase": (
        "name* time classname group",
        "skipped error failure system-out system-err",
    ),
    "failure": ("type message", ""),
    "error": ("type message", ""),
    "skipped": ("type message", ""),
    "system-out": ("", ""),
    "system-err": ("", ""),
}


def faults(element):
    """Return what the schema does not allow in an element and below."""
    attributes, children = (words.split() for words in _JUNIT[element.tag])
    allowed = {word.rstrip("*") for word in attributes}
    required = {word.rstrip("*") for word in attributes if word.endswith("*")}
    found = [f"{element.tag}: {name}?" for name in element.attrib if name not in allowed]
    found += [f"{element.tag}: {name}!" for name in required - element.attrib.keys()]
    if element.tag != "testcase" and not re.fullmatch(_TIME, element.get("time", "")):
        found.append(f"{element.tag}: time")
    for child in element:
        found += faults(child) if child.tag in children else [f"{child.tag} in {element.tag}"]
    return found


def test_the_junit_xml_is_as_jenkins_schema_says(report):
    root = ET.fromstring(to_junit(report))
    assert root.tag == "testsuites"
    assert faults(root) == []
    assert [suite.get("name") for suite in root] == [
        "k8slab.anna.05-policies",
        "k8slab.anna.06-services",
        "=cmd()",
    ]
    counts = [[suite.get(n) for n in ("tests", "failures", "errors", "skipped")] for suite in root]
    assert counts == [["3", "1", "0", "1"], ["2", "0", "1", "0"], ["1", "0", "1", "0"]]
    assert [root.get(name) for name in ("tests", "failures", "errors")] == ["6", "1", "2"]


def test_the_schema_rules_of_this_test_find_faults(report):
    root = ET.fromstring(to_junit(report).replace("<property ", '<property odd="1" '))
    root[0].append(ET.Element("failure"))
    del root[1].attrib["tests"]
    root[0].set("time", "soon")
    assert len(faults(root)) >= 4


def test_what_no_xml_can_hold_is_replaced(report):
    text = to_junit(report)
    assert "\x00" not in text
    assert "\x1b" not in text
    assert "seen \ufffd\ufffd odd" in text
    assert "The &lt;exercise&gt; &amp; dns" in text


def test_the_csv_has_nbgraders_columns_and_a_line_for_each_learner_and_lab(report):
    rows = [*csv.DictReader(io.StringIO(to_csv(report)))]
    assert [*rows[0]] == [*COLUMNS]
    assert [(r["student_id"], r["assignment"], r["score"], r["max_score"]) for r in rows] == [
        ("anna", "05-policies", "", "4.0"),
        ("anna", "06-services", "", "2.0"),
        ("'=cmd()", "", "0.0", "0.0"),
    ]
    assert rows[0]["timestamp"] == "2026-01-02 03:04:05"
    assert rows[0]["duedate"] == ""


def test_the_results_json_is_as_gradescope_specifies(report):
    found = json.loads(json.dumps(to_gradescope(report.learners[0])))
    assert (found["score"], found["execution_time"]) == (3, 2)
    assert sum(test["score"] for test in found["tests"]) == found["score"]
    for test in found["tests"]:
        assert set(test) <= {"score", "max_score", "status", "name", "number", "output", "tags"}
        assert test.get("status", "failed") in ("passed", "failed")
        assert isinstance(test["output"], str)
    assert to_gradescope(report.learners[1])["output"].startswith("in/x.zip")


def test_points_that_a_limit_takes_are_counted_in_no_form(report):
    limited = replace(result("deny", Status.PASSED, 2), limit=0.5, note="its solution was shown")
    score = Score("05-policies", limited, 0.5)
    (grades, _) = report.learners
    found = replace(report, learners=(replace(grades, scores=(score,)),))
    assert reports.text(found).startswith("anna: 0.5 of 2 points\n")
    value = reports.to_json(found)
    fastjsonschema.validate(reports.SCHEMA, value)
    (learner,) = value["learners"]
    assert (learner["core"]["points"], learner["exercises"][0]["points"]) == (0.5, 0.5)
    (row,) = csv.DictReader(io.StringIO(to_csv(found)))
    assert row["score"] == "0.5"
    graded = to_gradescope(found.learners[0])
    (test,) = graded["tests"]
    assert (graded["score"], test["score"], test["status"]) == (0.5, 0.5, "passed")
    assert "its solution was shown" in test["output"]
    assert 'name="points" value="0.5"' in to_junit(found)


def test_the_report_of_ones_own_check_claims_nothing():
    found = reports.checked([result("deny", Status.PASSED)], lab="05-policies")
    assert found.learners[0].scores[0].agrees
    assert faults(ET.fromstring(to_junit(found))) == []
    assert 'name="k8slab.05-policies"' in to_junit(found)


@pytest.fixture
def both():
    """Give grades of a lab with an exercise of its core and two beyond it."""
    core = result("deny", Status.PASSED, 2)
    beyond = [
        Result(name, f"Stretch: {name}", 3, (Finding("flows", status),))
        for name, status in (("ip", Status.PASSED), ("map", Status.FAILED))
    ]
    scores = tuple(Score("05-policies", one) for one in (core, *beyond))
    return Grades("anna", scores=scores)


def test_core_and_stretch_are_told_apart_in_every_form(both):
    report = Report((both,))
    head = "anna: 5 of 8 points (core 2 of 2, stretch 3 of 6)"
    assert reports.text(report).startswith(f"{head}\n")
    value = reports.to_json(report)
    fastjsonschema.validate(reports.SCHEMA, value)
    (learner,) = value["learners"]
    assert learner["core"] == {"points": 2, "max_points": 2}
    assert learner["stretch"] == {"points": 3, "max_points": 6}
    assert [one["stretch"] for one in learner["exercises"]] == [False, True, True]
    rows = csv.DictReader(io.StringIO(to_csv(report)))
    assert [(row["assignment"], row["score"], row["max_score"]) for row in rows] == [
        ("05-policies", "2.0", "2.0"),
        ("05-policies-stretch", "3.0", "6.0"),
    ]
    root = ET.fromstring(to_junit(report))
    found = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert (found["points"], found["core_points"]) == ("5", "2")
    assert (found["stretch_points"], found["stretch_max_points"]) == ("3", "6")
    assert [one["tags"] for one in to_gradescope(both)["tests"]] == [["core"], *[["stretch"]] * 2]


def test_the_share_that_is_required_is_the_cores_where_the_core_was_asked_for(both):
    assert both.percent == 100
    assert Grades("anna", scores=both.scores[1:]).percent == 50
    assert Grades("anna").percent == 0


def test_what_could_not_be_judged_beyond_the_core_leaves_the_cores_row_whole(both):
    unsure = Result("odd", "Stretch: odd", 1, (Finding("flows", Status.INCONCLUSIVE),))
    found = Grades("anna", scores=(*both.scores, Score("05-policies", unsure)))
    rows = csv.DictReader(io.StringIO(to_csv(Report((found,)))))
    assert [row["score"] for row in rows] == ["2.0", ""]
