"""Configurations of webhooks: defaults, what is wrong with them, how they are listed."""

import pytest

from tests.embedded.apiserver.webhook_kit import configuration, path_of

GOOD = {
    "name": "a.example.com",
    "clientConfig": {"service": {"name": "hook", "namespace": "guard"}},
    "rules": [
        {
            "operations": ["CREATE"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods"],
        }
    ],
    "admissionReviewVersions": ["v1"],
    "sideEffects": "None",
}


def rule(**more):
    return {"rules": [{**GOOD["rules"][0], **more}]}


def client(**config):
    return {"clientConfig": config}


def at_service(**more):
    return client(service={"name": "hook", "namespace": "guard", **more})


def condition(**more):
    return {"matchConditions": [{"name": "a", "expression": "true", **more}]}


WRONG = {
    "a name of two parts": (
        {"name": "a.b"},
        (
            'name: Invalid value: "a.b": should be a domain with at least three segments '
            "separated by dots"
        ),
    ),
    "no version": (
        {"admissionReviewVersions": []},
        "admissionReviewVersions: Required value: must specify one of v1, v1beta1",
    ),
    "a version that nobody knows": (
        {"admissionReviewVersions": ["v7"]},
        (
            'admissionReviewVersions: Invalid value: ["v7"]: must include at least one of '
            "v1, v1beta1"
        ),
    ),
    "no word about side effects": (
        {"sideEffects": None},
        "sideEffects: Required value: must specify one of None, NoneOnDryRun",
    ),
    "side effects": (
        {"sideEffects": "Some"},
        ('sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"'),
    ),
    "another failure policy": (
        {"failurePolicy": "Maybe"},
        'failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"',
    ),
    "too much time": (
        {"timeoutSeconds": 31},
        ("timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"),
    ),
    "nobody to call": (
        {"clientConfig": {}},
        "clientConfig: Required value: exactly one of url or service is required",
    ),
    "two to call": (
        client(url="https://10.0.0.1", service={"name": "a", "namespace": "b"}),
        "clientConfig: Required value: exactly one of url or service is required",
    ),
    "a URL without TLS": (
        client(url="http://10.0.0.1"),
        (
            "clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL "
            "scheme; desired format: https://host[/path]"
        ),
    ),
    "a URL with a query": (
        client(url="https://10.0.0.1/a?b=c"),
        ('clientConfig.url: Invalid value: "b=c": query parameters are not permitted in the URL'),
    ),
    "a URL with a name": (
        client(url="https://example.com/a"),
        (
            'clientConfig.url: Invalid value: "example.com": the API server of this '
            "cluster resolves no names; use clientConfig.service, or an address as the host"
        ),
    ),
    "a port that is none": (
        at_service(port=70000),
        (
            "clientConfig.service.port: Invalid value: 70000: port is not valid: must be "
            "between 1 and 65535, inclusive"
        ),
    ),
    "a path without a slash": (
        at_service(path="look"),
        "clientConfig.service.path: Invalid value: \"look\": must start with a '/'",
    ),
    "no operation": (rule(operations=[]), "rules[0].operations: Required value"),
    "all operations and one": (
        rule(operations=["*", "CREATE"]),
        (
            'rules[0].operations: Invalid value: ["*","CREATE"]: if \'*\' is present, '
            "must not specify other operations"
        ),
    ),
    "an operation of RBAC": (
        rule(operations=["patch"]),
        (
            'rules[0].operations[0]: Unsupported value: "patch": supported values: "*", '
            '"CONNECT", "CREATE", "DELETE", "UPDATE"'
        ),
    ),
    "all subresources and one": (
        rule(resources=["pods/*", "pods/exec"]),
        (
            "rules[0].resources[1]: Invalid value: \"pods/exec\": if 'pods/*' is present, "
            "must not specify pods/exec"
        ),
    ),
    "all resources and one": (
        rule(resources=["*", "pods"]),
        (
            'rules[0].resources: Invalid value: ["*","pods"]: if \'*\' is present, must '
            "not specify other resources without subresources"
        ),
    ),
    "another scope": (
        rule(scope="World"),
        (
            'rules[0].scope: Unsupported value: "World": supported values: "*", "Cluster", '
            '"Namespaced"'
        ),
    ),
    "a condition without a name": (
        condition(name=""),
        "matchConditions[0].name: Required value",
    ),
    "a condition without an expression": (
        condition(expression=" "),
        "matchConditions[0].expression: Required value",
    ),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", ["Validating", "Mutating"])
def test_what_is_wrong_is_told_in_a_real_servers_words(server, kind, case):
    change, said = WRONG[case]
    webhook = {key: value for key, value in (GOOD | change).items() if value is not None}
    made = server.request("POST", path_of(kind), configuration("x", webhook, kind=kind))
    assert made.status == 422, made.data
    assert made.json["message"].endswith(f'"x" is invalid: webhooks[0].{said}')


def test_a_name_must_be_there_once(server):
    made = server.request("POST", path_of("Validating"), configuration("x", GOOD, GOOD))
    assert made.json["message"].endswith('webhooks[1].name: Duplicate value: "a.example.com"')


def test_what_may_be_left_out_has_the_defaults_of_a_real_server(server, kubectl):
    for kind in ("Validating", "Mutating"):
        made = server.request("POST", path_of(kind), configuration("x", GOOD, kind=kind)).json
        (webhook,) = made["webhooks"]
        filled = {key: webhook[key] for key in webhook if key not in GOOD}
        wanted = {
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {},
            "timeoutSeconds": 10,
        }
        assert filled == wanted | ({"reinvocationPolicy": "Never"} if kind == "Mutating" else {})
        assert webhook["clientConfig"]["service"]["port"] == 443
        assert webhook["rules"][0]["scope"] == "*"
        assert made["metadata"]["generation"] == 1
        shown = kubectl("get", f"{kind.lower()}webhookconfigurations").stdout.split()
        assert shown[:5] == ["NAME", "WEBHOOKS", "AGE", "x", "1"]
        server.request("DELETE", path_of(kind))
