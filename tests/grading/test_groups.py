"""Points by group, what must not change, and what is said once and first."""

import pytest

from k8slab.grading import Blame, Context, Finding, Result, Status, Want, Wishes, baseline, grade
from k8slab.grading.collateral import measure
from k8slab.grading.prerequisites import TITLE
from k8slab.objects import manifests
from k8slab.policy import Flow

RULE = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: shop}}
spec:
  podSelector: {subject}
  policyTypes: [Ingress]
  ingress: {ingress}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: a, image: i, ports: [{containerPort: 9000}]}]}
"""


def rule(shop, name, *, subject="{}", ingress="[]"):
    shop.apply(manifests.load(RULE.format(name=name, subject=subject, ingress=ingress)))


def want(source, destination, wish, port=8080, **more):
    return Want(Flow.of(source, destination, port, namespace="shop"), wish, **more)


def finding(status, group=""):
    return Finding("x", status, group=group)


PASSED, FAILED = Status.PASSED, Status.FAILED
CREDIT = {"in": 2.0, "out": 1.0}


@pytest.mark.parametrize(
    ("findings", "given", "points"),
    [
        ([finding(PASSED, "in"), finding(PASSED, "out")], (), 3),
        ([finding(PASSED, "in"), finding(FAILED, "out")], (), 2),
        ([finding(FAILED, "in"), finding(PASSED, "out")], (), 1),
        ([finding(FAILED, "in"), finding(PASSED, "out")], ("out",), 0),
        ([finding(PASSED, "in"), finding(FAILED, "out")], ("out",), 2),
        ([finding(PASSED, "in"), finding(FAILED, "in"), finding(PASSED, "out")], (), 1),
        ([finding(FAILED), finding(PASSED, "in"), finding(PASSED, "out")], (), 0),
        ([finding(Status.INCONCLUSIVE, "in"), finding(PASSED, "out")], (), 1),
        ([finding(PASSED, "in")], (), 3),
    ],
)
def test_points_are_those_of_the_groups_that_are_passed(findings, given, points):
    result = Result("e", "E", 3, tuple(findings), CREDIT, frozenset(given))
    assert result.points == points


def test_hints_cost_what_the_exercise_says_and_never_more_than_there_is():
    passed = (finding(PASSED, "in"), finding(PASSED, "out"))
    result = Result("e", "E", 3, passed, CREDIT, cost=0.5)
    assert result.points == 2.5
    assert "2.5 of 3 points (0.5 for hints)" in result.text()
    assert Result("e", "E", 3, passed, CREDIT, cost=9).points == 0


def test_a_result_in_part_says_so():
    result = Result("e", "E", 3, (finding(PASSED, "in"), finding(FAILED, "out")), CREDIT)
    assert "x e: in part, 2 of 3 points" in result.text()
    assert result.to_dict()["groups"] == {
        "in": {"points": 2.0, "passed": True},
        "out": {"points": 1.0, "passed": False},
    }


GROUPED = [
    want("batch", "db", "blocked", group="in"),
    want("web", "db", "open", group="in"),
    want("db", "batch", "blocked", group="out"),
    want("batch", "web", "open", group="given"),
]


def check(shop, wants, **more):
    opened = more.pop("opened", None)
    opened = baseline(Context(shop, "shop"), wants) if opened is None else opened
    measured = more.pop("measured", ())
    context = Context(shop, "shop", baseline=opened, deadline=0.1, measured=measured)
    return grade(context, Wishes("e", "E", more.pop("points", 3), wants, **more))


def test_groups_are_graded_apart(shop):
    credit = {"in": 1.0, "out": 1.0, "given": 1.0}
    opened = baseline(Context(shop, "shop"), GROUPED)
    assert check(shop, GROUPED, credit=credit, opened=opened).points == 0
    web = "[{from: [{podSelector: {matchLabels: {app: web}}}]}]"
    rule(shop, "db", subject="{matchLabels: {app: db}}", ingress=web)
    result = check(shop, GROUPED, credit=credit, opened=opened)
    assert result.given == {"given"}
    assert result.groups == {"in": True, "out": False, "given": True}
    assert result.points == 2
    rule(shop, "batch", subject="{matchLabels: {app: batch}}")
    assert check(shop, GROUPED, credit=credit, opened=opened).points == 3


def test_other_flows_must_stay_as_they_were(shop):
    wants = [want("batch", "db", "blocked")]
    measured = measure(shop, ["shop"], wants)
    assert ["shop/batch", "shop/db", 8080, "TCP", "open"] not in measured
    assert ["shop/web", "shop/db", 8080, "TCP", "open"] in measured
    opened = baseline(Context(shop, "shop"), wants)
    rule(shop, "deny-all")
    result = check(shop, wants, no_collateral=True, measured=measured, opened=opened)
    assert result.status is Status.FAILED
    assert result.counterexample.wanted == "open as before"
    rule(shop, "deny-all", subject="{matchLabels: {app: db}}", ingress=(
        "[{from: [{podSelector: {matchExpressions: "
        "[{key: app, operator: NotIn, values: [batch]}]}}]}]"
    ))  # fmt: skip
    result = check(shop, wants, no_collateral=True, measured=measured, opened=opened)
    assert result.passed, result.text()
    assert "all 5 flows are as before" in result.text()


def test_what_was_closed_before_must_not_be_opened(shop):
    rule(shop, "old", subject="{matchLabels: {app: web}}")
    wants = [want("batch", "db", "open")]
    measured = measure(shop, ["shop"], wants)
    assert ["shop/db", "shop/web", 8080, "TCP", "silent"] in measured
    assert check(shop, wants, no_collateral=True, measured=measured).passed
    shop.delete("networkpolicies.networking.k8s.io", "old", "shop")
    result = check(shop, wants, no_collateral=True, measured=measured)
    assert result.status is Status.FAILED
    assert result.counterexample.wanted == "silent as before"


def test_workloads_and_services_count_as_what_they_lead_to(shop):
    shop.apply(manifests.load(DEPLOYMENT))
    measured = measure(shop, ["shop"], [want("web", "deployment/api", "blocked", 9000)])
    pairs = [(source, destination) for source, destination, *_ in measured]
    assert ("shop/deployment/api", "shop/db") in pairs
    assert ("shop/batch", "shop/deployment/api") in pairs
    assert ("shop/web", "shop/deployment/api") not in pairs
    assert ("shop/deployment/api", "shop/deployment/api") not in pairs


def test_a_missing_pod_is_said_once_and_first(shop):
    shop.delete("pods", "batch", "shop")
    wants = [
        want("batch", "db", "blocked"),
        want("batch", "web", "open"),
        want("web", "db", "open"),
    ]
    ask = {"check": "http", "from": "batch", "url": "http://db/"}
    result = check(shop, wants, checks=[ask])
    assert [one.check for one in result.findings] == [TITLE]
    assert result.findings[0].lines == ("the pod shop/batch: it is not there (3 wishes need it)",)
    assert result.findings[0].blame is Blame.ANSWER


def test_groups_that_do_not_need_it_are_graded_all_the_same(shop):
    shop.delete("pods", "batch", "shop")
    wants = [want("batch", "db", "open", group="a"), want("web", "db", "open", group="b")]
    other = [want("web", "batch", "open", group="c")]
    result = check(shop, wants + other, credit={"a": 1.0, "b": 1.0, "c": 1.0}, opened=frozenset())
    assert result.groups == {"a": False, "b": True, "c": False}
    assert result.points == 1


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        (want("web", "svc:none", "open"), "svc:shop/none: it is not there (one wish needs it)"),
        (want("web", "deployment/none", "open"), "shop/deployment/none: it has no pod"),
    ],
)
def test_services_and_workloads_are_needed_too(shop, wanted, line):
    assert check(shop, [wanted]).findings[0].lines[0].startswith(line)


def test_a_pod_that_does_not_run_is_waited_for_and_then_called_so(shop):
    shop.get("pods", "web", "shop")["status"]["phase"] = "Pending"
    result = check(shop, [want("web", "db", "open")])
    assert result.findings[0].lines == ("the pod shop/web: it is Pending (one wish needs it)",)
    assert result.findings[0].blame is Blame.NOT_READY
