"""The lists of allowed values in OpenAPI, which ``kubectl explain`` shows."""

import json

from k8slab.embedded.apiserver import openapi, schema
from k8slab.embedded.apiserver.kinds import KindTable


def test_every_listed_field_is_one_of_the_schemas():
    for owner, fields in openapi._enums().items():
        known = schema.type_of(owner).fields
        assert set(fields) <= set(known), owner
        assert all(values == sorted(set(values)) for values in fields.values())


def test_a_field_and_the_items_of_a_list_name_their_values():
    document = json.loads(openapi._document_v3(KindTable.built_in(), "", "v1"))
    schemas = document["components"]["schemas"]
    policy = schemas["io.k8s.api.core.v1.Container"]["properties"]["imagePullPolicy"]
    assert policy["enum"] == ["Always", "IfNotPresent", "Never"]
    networking = json.loads(openapi._document_v3(KindTable.built_in(), "networking.k8s.io", "v1"))[
        "components"
    ]["schemas"]
    types = networking["io.k8s.api.networking.v1.NetworkPolicySpec"]["properties"]["policyTypes"]
    assert types["items"]["enum"] == ["Egress", "Ingress"]
    port = networking["io.k8s.api.networking.v1.NetworkPolicyPort"]["properties"]["protocol"]
    assert port["enum"] == ["SCTP", "TCP", "UDP"]
