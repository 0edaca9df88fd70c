import pytest

from k8slab.embedded.apiserver.offline import refusals
from k8slab.errors import ManifestError


def policy(spec):
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**head, "metadata": {"name": "a"}, "spec": spec}


def test_a_right_object_has_nothing_to_refuse_and_stays_as_it_is():
    given = policy({"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]})
    before = repr(given)
    assert refusals(given) == []
    assert repr(given) == before


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"podSelector": {}, "ingres": []}, "spec.ingres", 'unknown field "spec.ingres"'),
        ({"podSelector": []}, "spec.podSelector", "cannot unmarshal array"),
        ({"ingress": [{"ports": [{"port": "80"}]}]}, "spec.ingress[0].ports[0].port", "letter"),
        ({"policyTypes": ["ingress"]}, "spec.policyTypes[0]", 'Unsupported value: "ingress"'),
        ({"egress": [{"to": [{}]}]}, "spec.egress[0].to[0]", "must specify a peer"),
    ],
)
def test_what_a_server_would_refuse_is_said_with_its_field(spec, field, words):
    ((found, message),) = refusals(policy(spec))
    assert found == field
    assert words in message


def test_kinds_that_are_not_served_are_not_judged():
    assert refusals({"apiVersion": "example.com/v1", "kind": "Thing", "spec": 1}) == []


def test_numbers_that_json_does_not_have_are_an_error():
    with pytest.raises(ManifestError, match="NetworkPolicy cannot be written as JSON"):
        refusals(policy({"x": 2**70}))
