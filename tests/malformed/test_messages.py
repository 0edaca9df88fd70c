"""Refusals whose words are known: what a real server of the same version says.

Sources: ``util/validation`` and ``api/errors`` of apimachinery, ``metav1/validation``,
``pkg/apis/*/validation``, and the errors of Go's ``encoding/json``, ``time`` and ``strconv`` that
the server passes on. Beside the words, each case once was a fault: an answer of 500, a hang, the
daemon's end, or something stored that nobody could read.
"""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.malformed.cases import APPLY, JSON, JSON_PATCH, PROTOBUF, STRATEGIC, YAML
from tests.malformed.served import NAMESPACE
from tests.malformed.wire import Case

pytestmark = pytest.mark.usefixtures("running")

SPACE = f"/api/v1/namespaces/{NAMESPACE}"
MAPS, PODS, SECRETS = (f"{SPACE}/{plural}" for plural in ("configmaps", "pods", "secrets"))
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
CONTAINER = {"name": "a", "image": "k8slab/app"}


def _post(path, body, media=JSON):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case("POST", path, data, {"Content-Type": media})


def _patch(path, body, media):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case("PATCH", path, data, {"Content-Type": media})


def _get(path, **query):
    return Case("GET", f"{path}?{'&'.join(f'{key}={quote(v)}' for key, v in query.items())}")


def _meta(**more):
    return {"metadata": {"name": "odd", **more}}


CASES = {
    "a label that is too long": (
        _post(MAPS, _meta(labels={"a": "b" * 64})),
        (422, "metadata.labels: Invalid value: ", "must be no more than 63 bytes"),
    ),
    "an unknown field, strictly": (
        _post(f"{PODS}?fieldValidation=Strict", {**_meta(), "spec": {"foo": 1}}),
        (
            400,
            (
                'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
                'unknown field "spec.foo"'
            ),
        ),
    ),
    "a repeated field, strictly": (
        _post(f"{MAPS}?fieldValidation=Strict", b'{"metadata":{"name":"a","name":"b"}}'),
        (400, 'strict decoding error: duplicate field "metadata.name"'),
    ),
    "a word for the validation of fields": (
        _post(f"{MAPS}?fieldValidation=strict", _meta()),
        (
            422,
            (
                'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: '
                '"strict": supported values: "", "Ignore", "Strict", "Warn"'
            ),
        ),
    ),
    "a dry run of some": (
        _post(f"{MAPS}?dryRun=Some", _meta()),
        (422, 'dryRun: Unsupported value: ["Some"]: supported values: "All"'),
    ),
    "a manager that cannot be printed": (
        _post(f"{MAPS}?fieldManager=a%07", _meta()),
        (422, "fieldManager: Invalid value: ", "invalid character U+0007 (at position 1)"),
    ),
    "an apply without a manager": (
        _patch(f"{MAPS}/odd", _meta(), APPLY),
        (422, "fieldManager: Required value: is required for apply patch"),
    ),
    "a number beyond 32 bits": (
        _post(DEPLOYMENTS, {**_meta(), "spec": {"replicas": 2**31}}),
        (
            400,
            (
                "json: cannot unmarshal number 2147483648 into Go struct field "
                "DeploymentSpec.spec.replicas of type int32"
            ),
        ),
    ),
    "a number beyond all bits": (
        _post(DEPLOYMENTS, {**_meta(), "spec": {"minReadySeconds": 1e300}}),
        (400, "DeploymentSpec.spec.minReadySeconds of type int32"),
    ),
    "no quantity": (
        _post(
            PODS,
            {
                **_meta(),
                "spec": {"containers": [{**CONTAINER, "resources": {"limits": {"cpu": "much"}}}]},
            },
        ),
        (
            400,
            (
                'Pod in version "v1" cannot be handled as a Pod: quantities must match the regular '
                "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            ),
        ),
    ),
    "no base64": (
        _post(SECRETS, {**_meta(), "data": {"a": "AA*A"}}),
        (400, "illegal base64 data at input byte 2"),
    ),
    "no time": (
        _post(
            f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases",
            {**_meta(), "spec": {"renewTime": "soon"}},
        ),
        (400, 'parsing time "soon" as "2006-01-02T15:04:05'),
    ),
    "more than a mebibyte": (
        _post(MAPS, {**_meta(), "data": {"a": "x" * (1 << 20), "b": "x"}}),
        (422, "Too long: may not be more than 1048576 bytes"),
    ),
    "more than three mebibytes": (
        _post(MAPS, {**_meta(), "data": {"a": "x" * (3 << 20)}}),
        (413, "Request entity too large: limit is 3145728"),
    ),
    "an owner without a name": (
        _post(MAPS, _meta(ownerReferences=[{"controller": True}, {"controller": True}])),
        (422, "metadata.ownerReferences[0].name: Required value: must not be empty"),
    ),
    "a limit that is no number": (
        _get(MAPS, limit="ten"),
        (400, 'strconv.ParseInt: parsing "ten": invalid syntax'),
    ),
    "a limit beyond 64 bits": (
        _get(MAPS, limit="9" * 20),
        (400, f'strconv.ParseInt: parsing "{"9" * 20}": value out of range'),
    ),
    "a page of nothing": (_get(MAPS, **{"continue": "W10"}), (400, "continue key is not valid: ")),
    "a page without end": (
        _get(MAPS, **{"continue": "eyJydiI6MWU0MDAsInN0YXJ0IjoiIn0"}),
        (400, "continue key is not valid: "),
    ),
    "a match without a version": (
        _get(MAPS, resourceVersionMatch="Exact"),
        (422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
    ),
    "a selector without values": (
        _get(MAPS, labelSelector="a in ()"),
        (
            400,
            "unable to parse requirement: for 'in', 'notin' operators, values set can't be empty",
        ),
    ),
    "a selector of commas": (
        Case("GET", f"{MAPS}?labelSelector={',' * 60_000}"),
        (400, "found ',', expected: !, identifier, or 'end of string'"),
    ),
    "a selector of a label that cannot be": (
        _get(MAPS, labelSelector="a=b@c"),
        (400, "unable to parse requirement: ", "a valid label must be an empty string"),
    ),
    "a field that nobody selects by": (
        _get(PODS, fieldSelector="spec.color=red"),
        (400, "field label not supported: spec.color"),
    ),
    "a log of too many ports": (
        Case(
            "GET",
            f"{PODS}/running/portforward?ports={'9' * 5000}",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
                "Sec-WebSocket-Key": "eA==",
            },
        ),
        (400, "unable to parse "),
    ),
    "a log since for ever": (
        _get(f"{PODS}/running/log", sinceSeconds="9" * 400),
        (400, "strconv.ParseInt: parsing "),
    ),
    "a patch that copies itself": (
        _patch(
            f"{PODS}/running",
            [{"op": "copy", "from": "/metadata", "path": f"/metadata/{n}"} for n in range(60)],
            JSON_PATCH,
        ),
        (422, "exceeding the limit 3145728"),
    ),
    "a move from nowhere": (
        _patch(f"{PODS}/running", [{"op": "move", "path": "/metadata"}], JSON_PATCH),
        (422, "an operation needs a from"),
    ),
    "a directive that is no list": (
        _patch(f"{PODS}/running", {"metadata": {"$retainKeys": True}}, STRATEGIC),
        (400, "$retainKeys must be a list"),
    ),
    "nesting that ends a parser of YAML": (
        _post(MAPS, b"[" * 500_000, YAML),
        (400, "error converting YAML to JSON: ", "nested deeper than 200 levels"),
    ),
    "a billion laughs": (
        _post(
            MAPS,
            b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 10))
                for n in range(9)
            ),
            YAML,
        ),
        (400, "error converting YAML to JSON: ", "expand to more than 100000 values"),
    ),
    "protobuf that ends too early": (
        _post(MAPS, b"k8s\x00\x0a\xff", PROTOBUF),
        (400, "the protobuf body cannot be read"),
    ),
    "a media type that nobody reads": (
        _post(MAPS, b"a: b", "text/plain"),
        (415, "the body of the request was in an unknown format - accepted media types include: "),
    ),
    "options that are none": (
        Case("DELETE", f"{MAPS}/none", b"[]", {"Content-Type": JSON}),
        (400, "the body is no object"),
    ),
    "two ways to go": (
        Case("DELETE", f"{MAPS}/none?propagationPolicy=Orphan&orphanDependents=true"),
        (422, "orphanDependents and deletionPropagation cannot be both set"),
    ),
    "a probe from nobody": (
        _post("/apis/lab.k8slab.dev/v1/probes", {"flows": [{"from": {"pod": [1]}}]}),
        (400, "flows[0].from must hold names"),
    ),
}


@pytest.mark.parametrize(("case", "said"), CASES.values(), ids=CASES.keys())
def test_a_refusal_has_the_words_of_a_real_server(served, case, said):
    answer = served.wire.request(case)
    assert answer is not None
    code, *words = said
    assert answer.status == code, answer.body[:500]
    for part in words:
        assert part in answer.json["message"]
    assert not served.new_complaints()


def test_a_pod_that_may_take_for_ever_to_end_can_be_deleted(served):
    pod = {**_meta(), "spec": {"containers": [CONTAINER], "nodeName": "no-such-node"}}
    pod["metadata"]["name"] = "for-ever"
    pod["spec"]["terminationGracePeriodSeconds"] = 2**62
    assert served.ask("POST", PODS, pod).status == 201
    assert served.ask("DELETE", f"{PODS}/for-ever").status == 200
    assert served.ask("DELETE", f"{PODS}/for-ever?gracePeriodSeconds=0").status == 200
    assert not served.new_complaints()


def test_an_unknown_field_cannot_write_headers(served):
    field = "a\r\nX-Injected: 1"
    answer = served.ask("POST", f"{MAPS}?dryRun=All", {**_meta(), field: 1, "é": 1})
    assert answer.status == 201
    assert "x-injected" not in answer.headers
    assert answer.headers["warning"] == '299 - "unknown field \\"é\\""'


def test_warnings_are_cut_to_what_clients_read(served):
    unknown = {f"field-{n}-{'x' * 300}": 1 for n in range(200)}
    answer = served.ask("POST", f"{MAPS}?dryRun=All", {**_meta(), **unknown})
    assert answer.status == 201
    assert len(answer.headers["warning"]) < 300
