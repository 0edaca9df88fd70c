"""What an audit says, as a check and as a value."""

import pytest

from k8slab.audit import audit
from k8slab.errors import ExerciseError
from k8slab.grading import Context, Status, audited, values
from k8slab.grading.audited import of_estate
from k8slab.grading.checks import CHECKS, run_check
from k8slab.objects import manifests

IDLE = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: idle, namespace: %s}
spec: {podSelector: {matchLabels: {app: nobody}}, policyTypes: [Ingress]}
"""
WANT = {"check": "audit", "title": "no idle policy", "findings": ["selects-nothing"]}
SMALL = {"pods": 200, "policies": 60, "namespaces": 8, "seed": "5"}


@pytest.fixture(autouse=True)
def everything(monkeypatch):
    """Let the fake cluster list all it has: it serves no discovery."""
    kinds = ("namespaces", "pods", "services", "networkpolicies.networking.k8s.io")
    monkeypatch.setattr(
        audited, "inventory", lambda cluster: [o for kind in kinds for o in cluster.list(kind)]
    )


def test_a_finding_in_the_exercises_namespaces_is_told_with_its_reason(shop):
    shop.apply(manifests.load(IDLE % "shop"))
    found = run_check(Context(shop, "shop"), WANT)
    assert (found.check, found.status) == ("no idle policy", Status.FAILED)
    assert found.counterexample.what == "NetworkPolicy shop/idle spec.podSelector"
    assert found.counterexample.seen == "a policy selects no pod [selects-nothing]"


def test_other_findings_and_other_namespaces_do_not_count(shop):
    shop.apply(manifests.load(IDLE % "elsewhere"))
    report = audit([obj for kind in ("pods", "namespaces") for obj in shop.list(kind)])
    assert {found.check.name for found in report.findings} >= {"no-policy"}
    assert run_check(Context(shop, "shop"), WANT).status is Status.PASSED


def test_a_rule_file_asks_for_annotations(shop):
    shop.apply(manifests.load(IDLE % "shop"))
    (space,) = [obj for obj in shop.list("namespaces") if obj["metadata"]["name"] == "shop"]
    labelled = {**space, "metadata": {**space["metadata"], "labels": {"hipaa/scope": "ephi"}}}
    shop.apply([labelled])
    want = {"check": "audit", "rules": "hipaa", "findings": ["annotation-missing"]}
    assert run_check(Context(shop, "shop"), want).lines == ("2 findings are left",)
    assert run_check(Context(shop, "shop"), {**want, "rules": "soc-2"}).status is Status.PASSED


@pytest.mark.parametrize(
    ("kind", "spec", "told"),
    [
        ("audit", {"findings": ["idle"]}, "no check 'idle'"),
        ("answer", {"estate": {"pods": 1}, "finding": "no-policy"}, "'policies' is missing"),
        ("answer", {"estate": SMALL}, "give one as `finding`"),
    ],
)
def test_what_does_not_exist_is_refused_when_the_exercise_is_read(kind, spec, told):
    if kind == "answer":
        spec = {"id": "a", "question": "?", "value": spec}
    with pytest.raises(ExerciseError, match=told):
        CHECKS[kind].validate({"check": kind, **spec}, "here")


def test_an_estate_has_as_many_findings_as_its_audit_says(shop):
    report = of_estate(200, 60, 8, 5)
    names = [f.namespace for f in report.findings if f.check.name == "no-default-deny"]
    assert names
    context = Context(shop, "shop")
    value = {"estate": SMALL, "finding": "no-default-deny"}
    assert values.read(context, value) == len(names)
    assert values.read(context, {**value, "list": True}) == ", ".join(sorted(names))


def test_another_size_and_seed_make_another_estate(shop):
    context = Context(shop, "shop")
    value = {"estate": SMALL, "finding": "nobody-listens"}
    other = {**value, "estate": {**SMALL, "pods": 400, "seed": 6}}
    assert values.read(context, value) != values.read(context, other)
