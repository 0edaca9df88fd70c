"""Kinds that a CustomResourceDefinition adds: served, checked, shown, and gone with it."""

import copy

import pytest

from k8slab.embedded.apiserver.api import Api
from k8slab.embedded.apiserver.custom import jsonpath, structural, validating
from k8slab.embedded.apiserver.schema import WrongTypeError, decode, type_of
from k8slab.embedded.apiserver.store import Store
from k8slab.embedded.config import ClusterConfig
from k8slab.errors import ApiStatusError

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
TIMES = "* * * * *"
SPEC = {
    "type": "object",
    "required": ["times"],
    "properties": {
        "times": {"type": "string", "pattern": r"^\S+( \S+){4}$"},
        "image": {"type": "string", "default": "busybox"},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
        "mode": {"type": "string", "enum": ["a", "b"]},
        "word": {"type": "string", "maxLength": 3, "minLength": 1},
        "port": {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
        },
        "note": {"type": "string", "nullable": True},
        "tags": {
            "type": "array",
            "maxItems": 3,
            "items": {"type": "string"},
            "x-kubernetes-list-type": "set",
        },
        "steps": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "count": {"type": "integer", "default": 1},
                },
            },
        },
        "since": {"type": "string", "format": "date-time"},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "limits": {"type": "object", "additionalProperties": {"type": "integer"}},
        "either": {"type": "object", "oneOf": [{"required": ["x"]}, {"required": ["y"]}]}
        | {"properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}},
    },
}


def version(name="v1", *, storage=True, spec=SPEC, **more):
    document = {
        "type": "object",
        "properties": {
            "spec": spec,
            "status": {
                "type": "object",
                "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
            },
        },
    }
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": document},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            {"name": "Times", "type": "string", "jsonPath": ".spec.times"},
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
        "selectableFields": [{"jsonPath": ".spec.image"}],
        **more,
    }


def definition(plural="crontabs", *versions, group="stable.example.com", **spec):
    kind = plural.capitalize().removesuffix("s")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": [plural[:3]]},
            "versions": list(versions) or [version()],
            **spec,
        },
    }


def tab(name="one", version="v1", **spec):
    return {
        "apiVersion": f"stable.example.com/{version}",
        "kind": "Crontab",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"times": TIMES, **spec},
    }


TABS = "crontabs.stable.example.com"


@pytest.fixture
def tabs(api):
    api.create(CRDS, definition())
    return api


def refused(function, *args):
    with pytest.raises(ApiStatusError) as error:
        function(*args)
    return error.value


# --- the definition


def conditions(crd):
    return {c["type"]: (c["status"], c["reason"]) for c in crd["status"]["conditions"]}


def test_a_definition_is_established_as_soon_as_it_is_answered(tabs):
    crd = tabs.get(CRDS, TABS)
    assert conditions(crd) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert crd["status"]["acceptedNames"] == {
        "plural": "crontabs",
        "singular": "crontab",
        "kind": "Crontab",
        "listKind": "CrontabList",
        "shortNames": ["cro"],
    }
    assert crd["status"]["storedVersions"] == ["v1"]


def test_a_definition_whose_names_are_taken_is_not_served(tabs):
    second = definition("others")
    second["spec"]["names"]["shortNames"] = ["cro"]
    tabs.create(CRDS, second)
    crd = tabs.get(CRDS, "others.stable.example.com")
    assert conditions(crd) == {
        "NamesAccepted": ("False", "ShortNamesConflict"),
        "Established": ("False", "NotAccepted"),
    }
    assert tabs.kinds.find("stable.example.com", "v1", "others") is None


def ruled(**rule):
    return lambda d: root(d).update({"x-kubernetes-validations": [rule]})


_RULE = "openAPIV3Schema.x-kubernetes-validations[0]"

WRONG = {
    "a rule without a rule": (
        ruled(message="x"),
        f"{_RULE}.rule: Required value: rule is not specified",
    ),
    "a rule of several lines without a message": (
        ruled(rule="true ||\nfalse"),
        f"{_RULE}.message: Required value: message must be specified if rule contains line breaks",
    ),
    "a message of several lines": (
        ruled(rule="true", message="a\nb"),
        f'{_RULE}.message: Invalid value: "a\\nb": message must not contain line breaks',
    ),
    "a blank message": (
        ruled(rule="true", message=" "),
        f'{_RULE}.message: Invalid value: " ": message must be non-empty if specified',
    ),
    "a message that is too long": (
        ruled(rule="true", message="a" * 2049),
        (
            f'{_RULE}.message: Invalid value: "aaaaaaaaaa...": '
            "message must have a maximum length of 2048 characters"
        ),
    ),
    "a blank expression for the message": (
        ruled(rule="true", messageExpression=" "),
        (
            f"{_RULE}.messageExpression: Required value: "
            "messageExpression must be non-empty if specified"
        ),
    ),
    "a reason that there is not": (
        ruled(rule="true", reason="Because"),
        (
            f'{_RULE}.reason: Unsupported value: "Because": supported values: '
            '"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", '
            '"FieldValueRequired"'
        ),
    ),
    "a name that is not plural and group": (
        lambda d: d["metadata"].update(name="x.y"),
        'metadata.name: Invalid value: "x.y": must be spec.names.plural+"."+spec.group',
    ),
    "no storage version": (
        lambda d: d["spec"]["versions"][0].update(storage=False),
        "must have exactly one version marked as storage version",
    ),
    "no schema": (
        lambda d: d["spec"]["versions"][0].pop("schema"),
        "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
    ),
    "a place without a type": (
        lambda d: root(d)["properties"].update(extra={"description": "x"}),
        (
            "spec.versions[0].schema.openAPIV3Schema.properties[extra].type: Required value: "
            "must not be empty for specified object fields"
        ),
    ),
    "a list without items": (
        lambda d: root(d)["properties"].update(extra={"type": "array"}),
        (
            "spec.versions[0].schema.openAPIV3Schema.properties[extra].items: Required value: "
            "must be specified"
        ),
    ),
    "a root that is no object": (
        lambda d: root(d).update(type="string"),
        'openAPIV3Schema.type: Invalid value: "string": must be object at the root',
    ),
    "a group of Kubernetes itself": (
        lambda d: d["spec"].update(group="x.k8s.io"),
        'protected groups must have approval annotation "api-approved.kubernetes.io"',
    ),
    "a conversion webhook": (
        lambda d: d["spec"].update(conversion={"strategy": "Webhook"}),
        'spec.conversion.strategy: Unsupported value: "Webhook": supported values: "None"',
    ),
    "a pattern that is none": (
        lambda d: root(d)["properties"].update(extra={"type": "string", "pattern": "("}),
        "must be a valid regular expression",
    ),
    "no scope": (lambda d: d["spec"].pop("scope"), "spec.scope: Required value"),
}


def root(crd):
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_definition_that_cannot_be(api, change, message):
    crd = copy.deepcopy(definition())
    change(crd)
    error = refused(api.create, CRDS, crd)
    assert error.code == 422
    assert message in error.message


def test_a_definition_keeps_its_group_scope_and_names(tabs):
    crd = tabs.get(CRDS, TABS)
    changed = {**crd, "spec": {**crd["spec"], "scope": "Cluster"}}
    error = refused(tabs.update, CRDS, changed)
    assert 'spec.scope: Invalid value: "Cluster": field is immutable' in error.message


def test_definitions_and_their_objects_are_there_after_a_restart(tmp_path):
    first = Api(Store(tmp_path / "s.sqlite"), ClusterConfig())
    first.create("namespaces", {"metadata": {"name": "default"}})
    first.create(CRDS, definition())
    first.create(TABS, tab())
    first.store.close()
    again = Api(Store(tmp_path / "s.sqlite"), ClusterConfig())
    assert again.get(TABS, "one", "default")["spec"]["image"] == "busybox"
    again.store.close()


def test_a_definition_takes_its_objects_with_it(tabs):
    tabs.create(TABS, tab())
    tabs.delete(CRDS, TABS)
    assert tabs.get(CRDS, TABS) is None
    assert not tabs.store.list(TABS)
    assert tabs.kinds.find("stable.example.com", "v1", "crontabs") is None


def test_a_definition_waits_for_objects_that_finalizers_hold(tabs):
    held = tab()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    tabs.create(TABS, held)
    tabs.delete(CRDS, TABS)
    crd = tabs.get(CRDS, TABS)
    assert crd["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert conditions(crd)["Terminating"][0] == "True"
    assert "create" not in tabs.kinds.of(TABS).verbs
    tabs.patch(TABS, "one", "default", {"metadata": {"finalizers": None}})
    assert tabs.get(CRDS, TABS) is None


# --- its objects


def test_defaults_are_filled_in_and_what_is_unknown_is_dropped(tabs):
    obj = {"a": {"b": 1}, "open": {"kept": [1]}, "steps": [{"name": "x", "z": 1}]}
    dropped = structural.prune(obj, SPEC)
    assert sorted(dropped) == ["a", "steps[0].z"]
    assert obj == {"open": {"kept": [1]}, "steps": [{"name": "x"}]}
    made = tabs.create(TABS, tab(steps=[{"name": "x"}], note=None, mode=None))
    assert made["spec"] == {
        "times": TIMES,
        "image": "busybox",
        "replicas": 1,
        "steps": [{"name": "x", "count": 1}],
        "note": None,
    }


BROKEN = {
    "missing": ({"times": None}, "spec.times: Required value"),
    "type": (
        {"replicas": "many"},
        (
            'spec.replicas: Invalid value: "string": '
            'spec.replicas in body must be of type integer: "string"'
        ),
    ),
    "maximum": (
        {"replicas": 11},
        (
            "spec.replicas: Invalid value: 11: "
            "spec.replicas in body should be less than or equal to 10"
        ),
    ),
    "minimum": (
        {"replicas": 0},
        (
            "spec.replicas: Invalid value: 0: "
            "spec.replicas in body should be greater than or equal to 1"
        ),
    ),
    "pattern": (
        {"times": "x"},
        r"""spec.times: Invalid value: "x": spec.times in body should match '^\S+( \S+){4}$'""",
    ),
    "enum": ({"mode": "c"}, 'spec.mode: Unsupported value: "c": supported values: "a", "b"'),
    "too long": ({"word": "long"}, "spec.word: Too long: may not be more than 3 bytes"),
    "too short": (
        {"word": ""},
        'spec.word: Invalid value: "": spec.word in body should be at least 1 chars long',
    ),
    "int or string": (
        {"port": True},
        (
            'spec.port: Invalid value: "boolean": '
            'spec.port in body must be of type integer,string: "boolean"'
        ),
    ),
    "a set": ({"tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
    "too many": (
        {"tags": ["a", "b", "c", "d"]},
        "spec.tags: Too many: 4: must have at most 3 items",
    ),
    "a map": (
        {"steps": [{"name": "x"}, {"name": "x"}]},
        'spec.steps[1]: Duplicate value: {"name":"x"}',
    ),
    "in a list": ({"steps": [{}]}, "spec.steps[0].name: Required value"),
    "in a map of values": (
        {"limits": {"cpu": "x"}},
        (
            'spec.limits.cpu: Invalid value: "string": '
            'spec.limits.cpu in body must be of type integer: "string"'
        ),
    ),
    "format": (
        {"since": "now"},
        'spec.since: Invalid value: "now": spec.since in body must be of type date-time: "now"',
    ),
    "one of": (
        {"either": {}},
        (
            'spec.either: Invalid value: {}: "spec.either" must validate one and only one schema '
            "(oneOf). Found none valid"
        ),
    ),
}


@pytest.mark.parametrize(("spec", "message"), BROKEN.values(), ids=BROKEN)
def test_an_object_is_refused_in_the_words_of_a_real_server(tabs, spec, message):
    error = refused(tabs.create, TABS, tab(**spec))
    assert error.code == 422
    assert error.message == f'Crontab.stable.example.com "one" is invalid: {message}'


def test_a_field_that_is_already_wrong_may_stay(tabs):
    tabs.create(TABS, tab(replicas=10))
    crd = copy.deepcopy(tabs.get(CRDS, TABS))
    root(crd)["properties"]["spec"]["properties"]["replicas"]["maximum"] = 5
    tabs.update(CRDS, crd)
    tabs.patch(TABS, "one", "default", {"spec": {"image": "other"}})
    error = refused(tabs.patch, TABS, "one", "default", {"spec": {"replicas": 9}})
    assert "should be less than or equal to 5" in error.message


def test_generation_counts_changes_of_what_is_wanted(tabs):
    tabs.create(TABS, tab())
    tabs.patch(TABS, "one", "default", {"status": {"replicas": 2}}, subresource="status")
    tabs.patch(TABS, "one", "default", {"metadata": {"labels": {"a": "b"}}})
    assert tabs.get(TABS, "one", "default")["metadata"]["generation"] == 1
    tabs.patch(TABS, "one", "default", {"spec": {"replicas": 2}, "status": {"replicas": 9}})
    changed = tabs.get(TABS, "one", "default")
    assert changed["metadata"]["generation"] == 2
    assert changed["status"] == {"replicas": 2}


def test_scale_reads_and_writes_the_paths_that_the_definition_names(tabs):
    tabs.create(TABS, tab())
    status = {"replicas": 3, "selector": "a=b"}
    tabs.patch(TABS, "one", "default", {"status": status}, subresource="status")
    scale = tabs.update_scale(TABS, "one", "default", {"spec": {"replicas": 4}})
    assert (scale["spec"], scale["status"]) == ({"replicas": 4}, status)
    assert tabs.get(TABS, "one", "default")["spec"]["replicas"] == 4


def test_json_paths_of_columns():
    obj = {
        "metadata": {"labels": {"app.kubernetes.io/name": "x"}},
        "status": {"conditions": [{"type": "A", "status": "1"}, {"type": "Ready", "status": "2"}]},
    }
    assert jsonpath.find(obj, r".metadata.labels.app\.kubernetes\.io/name") == ["x"]
    assert jsonpath.find(obj, ".metadata.labels['app.kubernetes.io/name']") == ["x"]
    assert jsonpath.find(obj, '.status.conditions[?(@.type=="Ready")].status') == ["2"]
    assert jsonpath.find(obj, ".status.conditions[*].type") == ["A", "Ready"]
    assert jsonpath.find(obj, ".status.conditions[-1].type") == ["Ready"]
    assert jsonpath.find(obj, ".status.nothing[0]") == []
    with pytest.raises(ValueError, match="no simple JSON path"):
        jsonpath.parse(".a[")


def test_numbers_without_a_fraction_are_integers():
    assert not validating.errors(2.0, {"type": "integer"}, "x")
    assert validating.errors(2.5, {"type": "integer"}, "x")


# --- as clients see it


@pytest.fixture(scope="module")
def url(server):
    older = copy.deepcopy(SPEC)
    del older["properties"]["image"]
    crd = definition("crontabs", version(), version("v1beta1", storage=False, spec=older))
    made = server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    assert made.status == 201
    return "/apis/stable.example.com/{}/namespaces/default/crontabs"


def test_each_version_shows_what_its_schema_knows(server, url):
    assert server.request("POST", url.format("v1"), tab("seen", image="x")).status == 201
    old = server.request("GET", url.format("v1beta1") + "/seen").json
    assert old["apiVersion"] == "stable.example.com/v1beta1"
    assert old["spec"] == {"times": TIMES, "replicas": 1}
    made = server.request("POST", url.format("v1beta1"), tab("old", "v1beta1"))
    assert made.status == 201
    assert made.json["apiVersion"] == "stable.example.com/v1beta1"
    assert server.request("GET", url.format("v1") + "/old").json["apiVersion"].endswith("/v1")


def test_unknown_fields_are_refused_or_warned_of_as_asked(server, url):
    wrong = tab("strict", unknown=1)
    strict = server.request("POST", url.format("v1") + "?fieldValidation=Strict", wrong)
    assert strict.status == 400
    assert 'strict decoding error: unknown field "spec.unknown"' in strict.json["message"]
    warned = server.request("POST", url.format("v1"), wrong)
    assert warned.headers["Warning"] == '299 - "unknown field \\"spec.unknown\\""'
    assert "unknown" not in warned.json["spec"]


def test_discovery_and_openapi_name_the_custom_kind(server, url):
    group = server.request("GET", "/apis/stable.example.com").json
    assert [v["version"] for v in group["versions"]] == ["v1", "v1beta1"]
    rows = server.request("GET", "/apis/stable.example.com/v1").json["resources"]
    assert [row["name"] for row in rows] == ["crontabs", "crontabs/scale", "crontabs/status"]
    schemas = server.request("GET", "/openapi/v3/apis/stable.example.com/v1").json["components"]
    assert "com.example.stable.v1.Crontab" in schemas["schemas"]


def test_a_table_has_the_columns_of_the_definition(server, url):
    server.request("POST", url.format("v1"), tab("shown"))
    table = server.request(
        "GET",
        url.format("v1") + "/shown",
        Accept="application/json;as=Table;g=meta.k8s.io;v=v1",
    ).json
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Times", "Replicas", "Age"]
    assert table["rows"][0]["cells"][:3] == ["shown", TIMES, 1]


def test_objects_are_chosen_by_a_selectable_field(server, url):
    server.request("POST", url.format("v1"), tab("chosen", image="rare"))
    found = server.request("GET", url.format("v1") + "?fieldSelector=spec.image%3Drare").json
    assert [item["metadata"]["name"] for item in found["items"]] == ["chosen"]
    refused = server.request("GET", url.format("v1") + "?fieldSelector=spec.times%3Dx")
    assert refused.json["message"] == "field label not supported: spec.times"


def test_two_managers_apply_items_of_one_list(server, url):
    def apply(manager, step):
        body = tab("shared", steps=[{"name": step}])
        del body["metadata"]["namespace"]
        path = f"{url.format('v1')}/shared?fieldManager={manager}"
        return server.request("PATCH", path, body, kind="application/apply-patch+yaml")

    assert apply("a", "one").status == 201
    assert apply("b", "two").status == 200
    shared = server.request("GET", url.format("v1") + "/shared").json
    assert {step["name"] for step in shared["spec"]["steps"]} == {"one", "two"}


def test_a_strategic_patch_is_not_for_custom_kinds(server, url):
    server.request("POST", url.format("v1"), tab("patched"))
    answer = server.request(
        "PATCH", url.format("v1") + "/patched", {}, kind="application/strategic-merge-patch+json"
    )
    assert answer.status == 415


def test_kubectl_explains_and_applies_a_custom_kind(server, url, kubectl, tmp_path):
    assert "times\t<string> -required-" in kubectl("explain", "crontabs.spec").stdout
    manifest = tmp_path / "tab.yaml"
    manifest.write_text(
        "apiVersion: stable.example.com/v1\nkind: Crontab\nmetadata: {name: by-hand}\n"
        "spec: {times: '* * * * *', replicas: 2}\n"
    )
    assert kubectl("apply", "-f", str(manifest)).stdout.endswith("created\n")
    manifest.write_text(manifest.read_text().replace("2}", "3}"))
    assert kubectl("apply", "-f", str(manifest)).stdout.endswith("configured\n")
    assert kubectl("scale", "cro/by-hand", "--replicas=5").returncode == 0
    shown = kubectl("get", "cro", "by-hand", "-o", "jsonpath={.spec.replicas}")
    assert shown.stdout == "5"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"items": {"properties": {"a": {}}}}, "must not be empty for specified object fields"),
        ({"type": "array", "items": [{}]}, "items must be a schema object and not an array"),
        ({"pattern": "a{99999999999}"}, "must be a valid regular expression"),
        ({"pattern": "("}, "must be a valid regular expression"),
    ],
)
def test_an_odd_schema_is_refused_with_its_place(api, part, message):
    wrong = definition("odds", version(spec={"type": "array", **part}))
    error = refused(api.create, CRDS, wrong)
    assert message in error.message
    assert "properties[spec]" in error.message


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"selectableFields": [{}]}, "selectableFields[0].jsonPath"),
        (
            {"additionalPrinterColumns": [{"type": "string", "jsonPath": ".a"}]},
            "additionalPrinterColumns[0].name",
        ),
    ],
)
def test_columns_and_selectable_fields_need_their_parts(api, more, field):
    error = refused(api.create, CRDS, definition("odds", version(**more)))
    assert f"spec.versions[0].{field}: Required value" in error.message


def test_a_schema_inside_a_schema_is_decoded_too(api):
    document = {"type": "array", "items": {"type": 5}}
    wrong = definition("odds", version(spec=document))
    with pytest.raises(WrongTypeError, match=r"cannot unmarshal number .* of type string"):
        decode(wrong, type_of("io.k8s.api.apiextensions.v1.CustomResourceDefinition"))


def test_a_definition_cannot_replace_what_is_built_in(api):
    before = api.kinds.of("networkpolicies.networking.k8s.io")
    taken = definition("networkpolicies", group="networking.k8s.io")
    taken["metadata"]["annotations"] = {"api-approved.kubernetes.io": "https://example.com"}
    api.create(CRDS, taken)
    api.delete(CRDS, "networkpolicies.networking.k8s.io")
    assert api.kinds.of("networkpolicies.networking.k8s.io") is before


def test_a_pattern_that_would_search_for_years_is_given_up():
    schema = {"type": "string", "pattern": "^(a+)+$"}
    assert not validating.errors("a" * 40, schema, "spec.a")
    (error,) = validating.errors("a" * 40 + "!", schema, "spec.a")
    assert "the pattern needs more than" in error.text


@pytest.mark.parametrize(
    ("form", "value", "fits"),
    [
        ("int32", 2**31 - 1, True),
        ("int32", 2**31, False),
        ("int32", -(2**31) - 1, False),
        ("int64", 2**31, True),
        ("int64", 2**63, False),
    ],
)
def test_a_whole_number_has_to_fit_its_format(form, value, fits):
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "format": form}},
    }
    found = [str(error) for error in validating.errors({"n": value}, schema)]
    words = f"Checked value must be of type integer with format {form} in n"
    assert found == ([] if fits else [f'<nil>: Invalid value: "": {words}'])
