import copy

import pytest

from k8slab.course import load
from k8slab.course.answers import Answer
from k8slab.course.mutants.effects import Difference, Effects
from k8slab.course.mutants.generate import mutants
from k8slab.objects import manifests

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-web, namespace: lab90-protect}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress:
    - from: [{podSelector: {matchLabels: {app: web}}}]
      ports: [{port: 8080}]
"""


SAME = Difference("", tellable=False)


@pytest.fixture(scope="module")
def lab():
    return load("tests/data/solutions/90-example")


@pytest.fixture
def effects(lab):
    return Effects(lab.exercise("protect").setup, lab.exercise("protect"), [answer()])


def answer(text=POLICY):
    return Answer("reference", "reference", tuple(manifests.load_values(text.encode(), "test")))


def mutant(lab, name):
    return next(m for m in mutants(lab.exercise("protect"), answer()) if m.name == name)


def changed(**spec):
    other = copy.deepcopy(answer().documents[0])
    other["spec"].update(spec)
    return (other,)


@pytest.mark.parametrize(
    "other",
    [
        changed(policyTypes=None),
        changed(ingress=[*answer().documents[0]["spec"]["ingress"]] * 2),
        changed(
            podSelector={"matchExpressions": [{"key": "app", "operator": "In", "values": ["db"]}]}
        ),
        changed(egress=[{"to": []}]),
    ],
    ids=["default types", "a rule twice", "expressions", "a section that is not in force"],
)
def test_the_same_in_other_words_is_no_mistake(effects, other):
    assert effects.difference(answer().documents, other) == SAME


@pytest.mark.parametrize(
    "name",
    [
        "only-web ingress[0].from[0] in every namespace",
        "only-web ingress[0].ports[0] 8080/TCP -> UDP",
        "only-web podSelector app=db -> batch",
        "only-web policyTypes Ingress and Egress",
        "beside it everything open",
    ],
)
def test_a_mistake_that_only_pods_would_show_that_are_not_there_is_one(lab, effects, name):
    difference = effects.difference(answer().documents, mutant(lab, name).documents)
    assert difference.tellable
    assert difference.change.startswith(("added", "removed", "changed"))


def test_what_differs_where_nothing_listens_no_packet_tells(lab, effects):
    wide = mutant(lab, "only-web ingress[0].ports emptied: all ports")
    difference = effects.difference(answer().documents, wide.documents)
    assert (difference.tellable, "TCP 8080 -> all" in difference.change) == (False, True)


@pytest.mark.parametrize(
    ("cidr", "tellable"), [("203.0.113.0/25", True), ("203.0.114.0/24", False)]
)
def test_outside_packets_tell_what_differs_where_a_host_is(effects, cidr, tellable):
    policies = [answer().documents[0], changed(egress=[{"to": [{"ipBlock": {"cidr": cidr}}]}])[0]]
    for one in policies:
        one["spec"]["policyTypes"] = ["Ingress", "Egress"]
    difference = effects.difference(policies[:1], policies[1:])
    assert difference.tellable is tellable


def test_the_difference_names_a_pod_that_nobody_made(lab, effects):
    wide = mutant(lab, "only-web ingress[0].from[0] in every namespace")
    assert "elsewhere" in effects.difference(answer().documents, wide.documents).change
    assert effects.of(wide.documents) is None, "among the pods that are there nothing differs"


def test_what_does_the_same_has_the_same_effect(lab, effects):
    one = mutant(lab, "only-web ingress[0].ports[0] 8080/TCP -> UDP")
    assert effects.of(one.documents) == effects.of(copy.deepcopy(one.documents)) is not None
    other = mutant(lab, "only-web podSelector app=db -> batch")
    assert effects.of(one.documents) != effects.of(other.documents)


@pytest.mark.parametrize(
    "documents",
    [
        ({"kubectl": ["label pod web app=db"]},),
        ({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}},),
    ],
)
def test_of_what_is_no_policy_the_engine_says_nothing(effects, documents):
    assert effects.difference(answer().documents, documents) is None
    assert effects.of(documents) is None
