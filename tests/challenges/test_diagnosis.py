"""A diagnosis is understood in the ways in which people write it, and in no others."""

import pytest

from k8slab.challenges import catalogue, recipe
from k8slab.challenges.diagnosis import judge, same_field, same_object
from k8slab.challenges.words import words

CASE = recipe.read(catalogue.entry("F01"), 5, words(5, ["a-worker", "b-worker"]))
CAUSE = CASE.causes[0]


@pytest.mark.parametrize(
    "told",
    ["services/web", "service/web", "svc/web", "Service web", "Services/web", "shop/svc/web"],
)
def test_an_object_may_be_written_as_kubectl_does(told):
    assert same_object("services/web", told)


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("deployments/a", "deployments.apps/a"),
        ("networkpolicies/p", "netpol/p"),
        ("nodes/w", "node w"),
        ("nodes/lab-worker2", "node/worker2"),  # as everywhere in the course
        ("endpointslices/s", "EndpointSlice/s"),
    ],
)
def test_kinds_have_several_names(cause, told):
    assert same_object(cause, told)


@pytest.mark.parametrize(
    "told", ["web", "pods/web", "services/web2", "", "services/", "deploy/web"]
)
def test_another_object_is_another_object(told):
    assert not same_object("services/web", told)


def test_another_node_is_another_object():
    for told in ("nodes/worker", "pods/worker2", "nodes/", "node/orker2"):
        assert not same_object("nodes/lab-worker2", told)


@pytest.mark.parametrize(
    "told",
    ["spec.selector", ".spec.selector", "selector", "spec.selector.app", 'spec.selector["app"]'],
)
def test_a_field_may_be_deeper_or_its_end_alone(told):
    assert same_field("spec.selector", told)


def test_positions_in_lists_do_not_count():
    wanted = "spec.template.spec.containers.ports.name"
    assert same_field(wanted, "spec.template.spec.containers[0].ports[name=http].name")
    assert same_field(wanted, "containers[0].ports[0].name")


@pytest.mark.parametrize(
    "told", ["", ".", "spec", "spec.ports", "metadata.selector", "spec.x.selector"]
)
def test_another_field_is_another_field(told):
    assert not same_field("spec.selector.x", told)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("spec.template.spec.containers.env", "containers[0].env[0].value"),
        ("spec.template.spec.containers.readinessProbe", "readinessProbe.httpGet.port"),
        ("spec.selector", "selector.app"),
        ("spec.selector", "{.spec.selector.app}"),
        ("spec.ingress.ports", "ingress[0].ports[0].port"),
        ("spec.template.spec.dnsConfig", "dnsConfig.options[0].value"),
        ("data.Corefile", 'data["Corefile"]'),
        ("data.Corefile", "data['Corefile']"),
        ("spec.ports.targetPort", "spec.ports.0.targetPort"),
        ("spec.ports.targetPort", "/spec/ports/0/targetPort"),
    ],
)
def test_a_beginning_may_be_missing_where_the_end_goes_deeper(wanted, told):
    assert same_field(wanted, told)


@pytest.mark.parametrize("told", ["spec", "data", "port", "ports", "name", "ports[0]", "0", "[0]"])
def test_a_word_of_many_fields_is_no_answer_alone(told):
    for wanted in ("spec.ports.name", "spec.ingress.ports", "data.Corefile", "spec.ports.port"):
        assert not same_field(wanted, told)


def test_the_field_of_a_fault_is_not_the_cause_of_another_one():
    causes = {
        (cause.object.partition("/")[0], cause.field)
        for entry in catalogue.injectable()
        for seed in range(8)
        for cause in recipe.read(entry, seed, words(seed, ["a-worker", "b-worker"])).causes
    }
    for kind, wanted in causes:
        for told in (field for other, field in causes if other == kind):
            steps = told.split(".")
            same = f"{told}.".startswith(f"{wanted}.")
            assert same_field(wanted, told) == same, (wanted, told)
            shorter = [".".join(steps[at:]) for at in range(1, len(steps))]
            assert same or not any(same_field(wanted, one) for one in shorter), (wanted, told)


def test_the_parts_are_judged_one_by_one():
    wrong = judge(CASE, "pods/x", CAUSE.field, "")
    assert (wrong.object, wrong.field, wrong.evidence) == (False, False, False)
    half = judge(CASE, CAUSE.object, "spec.ports", CASE.evidence[0])
    assert (half.object, half.field, half.evidence) == (True, False, True)
    assert not half.right
    assert judge(CASE, CAUSE.object, CAUSE.field, "because I say so").right


def test_evidence_may_stand_anywhere_in_what_a_command_printed():
    text = f"Name: x\nSelector: app={CASE.evidence[0].upper()}\nType: ClusterIP\n"
    assert judge(CASE, CAUSE.object, CAUSE.field, text).evidence
