"""Admission webhooks: who is asked about what, in which order, and what comes of it."""

import importlib.util
import json
import threading

import pytest

from k8slab.errors import ReviewPendingError
from k8slab.grading.polling import Polling
from tests.embedded.apiserver.conftest import deployment, pod
from tests.embedded.apiserver.webhook_kit import (
    HOST,
    SPACE,
    allow,
    config_map,
    deny,
    label,
    patch,
    path_of,
)

NO_CEL = importlib.util.find_spec("cel") is None


# --- what a webhook is told, and what it may say


def test_what_is_denied_is_not_there_and_says_who_denied_it(server, hook, configure, at):
    configure("a", hook.spec("maps", "/deny"))
    hook.answers["/deny"] = lambda _: deny("not today", code=418, reason="Teapot")
    made = server.request("POST", f"{at}/configmaps", config_map())
    assert made.status == 418
    message = 'admission webhook "maps.example.com" denied the request: not today'
    assert (made.json["message"], made.json["reason"]) == (message, "Teapot")
    assert server.request("GET", f"{at}/configmaps/x").status == 404


def test_a_refusal_without_words_is_a_bad_request_without_explanation(server, hook, configure, at):
    configure("a", hook.spec("maps", "/deny"))
    hook.answers["/deny"] = lambda _: {"allowed": False}
    made = server.request("POST", f"{at}/configmaps", config_map())
    said = 'admission webhook "maps.example.com" denied the request without explanation'
    assert (made.status, made.json["message"]) == (400, said)


def test_a_review_tells_what_is_done_by_whom_to_what(server, hook, configure, at, namespace):
    configure("a", hook.spec("maps", "/look"))
    assert server.request("POST", f"{at}/configmaps?fieldManager=me", config_map()).status == 201
    (asked,) = hook.requests()
    assert asked["url"] == "/look?timeout=30s"
    assert asked["host"] == f"{HOST}:{hook.port}"
    assert asked["operation"] == "CREATE"
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert asked["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (asked["name"], asked["namespace"]) == ("x", namespace)
    assert asked["userInfo"]["username"] == "kubernetes-admin"
    assert "system:masters" in asked["userInfo"]["groups"]
    assert asked["oldObject"] is None
    assert asked["dryRun"] is False
    options = {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"}
    assert asked["options"] == options


def test_what_is_stored_is_what_the_webhooks_agreed_to(server, hook, configure, at):
    configure("a", hook.spec("maps", "/look"))
    generated = config_map()
    del generated["metadata"]["name"]
    generated["metadata"]["generateName"] = "map-"
    made = server.request("POST", f"{at}/configmaps", generated)
    (asked,) = hook.requests()
    shown = asked["object"]["metadata"]
    stored = made.json["metadata"]
    assert (shown["uid"], shown["name"]) == (stored["uid"], stored["name"])
    assert "name" not in asked  # nobody had given one


def test_a_service_keeps_the_address_and_the_port_that_were_shown(server, hook, configure, at):
    configure("a", hook.spec("services", "/look", resources=["services"]))
    spec = {"type": "NodePort", "ports": [{"port": 80}], "selector": {"app": "x"}}
    made = server.request("POST", f"{at}/services", {"metadata": {"name": "x"}, "spec": spec})
    assert made.status == 201, made.data
    (asked,) = hook.requests()
    assert made.json["spec"] == asked["object"]["spec"]
    assert made.json["spec"]["ports"][0]["nodePort"] >= 30000


def test_warnings_of_a_webhook_go_with_the_answer_also_with_a_refusal(server, hook, configure, at):
    configure("a", hook.spec("maps", "/warn"))
    hook.answers["/warn"] = lambda _: allow(warnings=["mind the gap"])
    made = server.request("POST", f"{at}/configmaps", config_map())
    assert made.headers["Warning"] == '299 - "mind the gap"'
    hook.answers["/warn"] = lambda _: deny("no") | {"warnings": ["it is late"]}
    made = server.request("POST", f"{at}/configmaps", config_map("y"))
    assert made.headers["Warning"] == '299 - "it is late"'


# --- mutating


def test_mutating_webhooks_go_by_the_names_of_their_configurations_and_see_each_other(
    server, hook, configure, at
):
    configure("b", hook.spec("two", "/two"), hook.spec("three", "/three"), kind="Mutating")
    configure("a", hook.spec("one", "/one"), kind="Mutating")
    configure("z", hook.spec("last", "/last"))
    for path in ("/one", "/two", "/three"):
        hook.answers[path] = lambda request, path=path: label(path[1:])
    made = server.request("POST", f"{at}/configmaps", config_map())
    assert [path for path, _ in hook.asked] == ["/one", "/two", "/three", "/last"]
    assert [sorted(r["object"]["metadata"]["labels"]) for r in hook.requests()] == [
        ["app"],
        ["app", "one"],
        ["app", "one", "two"],
        ["app", "one", "three", "two"],
    ]
    assert set(made.json["metadata"]["labels"]) == {"app", "one", "two", "three"}
    # The first sees no UID: the object is not made yet. The last sees what is to be stored.
    assert "uid" not in hook.requests("/one")[0]["object"]["metadata"]
    assert hook.requests("/last")[0]["object"]["metadata"]["uid"] == made.json["metadata"]["uid"]


def test_a_webhook_is_asked_again_when_a_later_one_changed_the_object_if_it_wants_that(
    server, hook, configure, at
):
    configure(
        "a",
        hook.spec("once", "/once"),
        hook.spec("again", "/again", reinvocationPolicy="IfNeeded"),
        hook.spec("change", "/change", reinvocationPolicy="IfNeeded"),
        kind="Mutating",
    )
    hook.answers["/change"] = lambda _: label("changed")
    assert server.request("POST", f"{at}/configmaps", config_map()).status == 201
    assert [path for path, _ in hook.asked] == ["/once", "/again", "/change", "/again"]
    assert hook.requests("/again")[1]["object"]["metadata"]["labels"]["changed"] == "yes"


def test_what_a_webhook_makes_wrong_is_refused_like_what_a_client_sends(
    server, hook, configure, at
):
    configure("a", hook.spec("maps", "/bad"), kind="Mutating")
    operation = {"op": "add", "path": "/data/a~1b", "value": "no key"}
    hook.answers["/bad"] = lambda _: patch(operation)
    made = server.request("POST", f"{at}/configmaps", config_map(a="b"))
    assert (made.status, made.json["reason"]) == (422, "Invalid")
    hook.answers["/bad"] = lambda _: patch({"op": "remove", "path": "/nowhere/at/all"})
    made = server.request("POST", f"{at}/configmaps", config_map())
    assert (made.status, made.json["reason"]) == (500, "InternalError")


def test_a_pod_with_a_drawn_volume_gets_through_with_what_a_webhook_adds(
    server, hook, configure, at, namespace
):
    container = {"name": "sidecar", "image": "nginx"}
    added = {"op": "add", "path": "/spec/containers/-", "value": container}
    configure("a", hook.spec("pods", "/sidecar", resources=["pods"]), kind="Mutating")
    configure("b", hook.spec("pods", "/look", resources=["pods"]))
    hook.answers["/sidecar"] = lambda _: patch(added)
    made = server.request("POST", f"{at}/pods", pod(namespace=namespace))
    assert made.status == 201, made.data
    first, second = made.json["spec"]["containers"]
    assert second["name"] == "sidecar"
    assert second["imagePullPolicy"] == "Always"  # its defaults
    assert second["volumeMounts"] == first["volumeMounts"]  # and the account's token
    assert len(hook.requests()) == 2


def owned_by(obj, manager):
    """Return the fields that a manager owns: of the metadata and of the rest."""
    (entry,) = [e for e in obj["metadata"]["managedFields"] if e["manager"] == manager]
    fields = entry["fieldsV1"]
    return fields.get("f:metadata", {}).get("f:labels", {}), fields


def test_nobody_owns_what_webhooks_and_admission_add_to_what_was_sent(
    server, hook, configure, at, namespace
):
    configure(
        "a",
        hook.spec(
            "all", "/label", operations=["CREATE", "UPDATE"], resources=["pods", "configmaps"]
        ),
        kind="Mutating",
    )
    hook.answers["/label"] = lambda _: label("added")
    sent = pod(namespace=namespace)
    sent["metadata"]["labels"] = {"app": "x"}
    made = server.request("POST", f"{at}/pods?fieldManager=me", sent).json
    assert made["metadata"]["labels"]["added"] == "yes"
    assert made["spec"]["tolerations"]
    labels, fields = owned_by(made, "me")
    assert "f:added" not in labels
    assert "f:containers" in fields["f:spec"]
    taken = {"f:tolerations", "f:priority", "f:serviceAccountName", "f:volumes"}
    assert not taken & fields["f:spec"].keys()

    hook.answers["/label"] = lambda _: allow()
    path = f"{at}/configmaps/x"
    assert server.request("POST", f"{at}/configmaps?fieldManager=me", config_map()).status == 201
    hook.answers["/label"] = lambda _: label("late")
    change = {"data": {"b": "2"}}
    kind = "application/merge-patch+json"
    changed = server.request("PATCH", f"{path}?fieldManager=you", change, kind=kind).json
    assert changed["metadata"]["labels"]["late"] == "yes"
    labels, fields = owned_by(changed, "you")
    assert (labels, fields) == ({}, {"f:data": {"f:b": {}}})


# --- other operations


def test_an_update_a_patch_and_an_apply_show_the_old_object_too(server, hook, configure, at):
    server.request("POST", f"{at}/configmaps", config_map(a="1"))
    configure("a", hook.spec("maps", "/look", operations=["UPDATE"]))
    server.request("PUT", f"{at}/configmaps/x", config_map(a="2"))
    kind = "application/merge-patch+json"
    server.request("PATCH", f"{at}/configmaps/x", {"data": {"a": "3"}}, kind=kind)
    kind = "application/apply-patch+yaml"
    applied = config_map(a="4")
    query = "fieldManager=me&force=true"
    made = server.request("PATCH", f"{at}/configmaps/x?{query}", applied, kind=kind)
    assert made.json["data"] == {"a": "4"}
    seen = [(r["oldObject"]["data"]["a"], r["object"]["data"]["a"]) for r in hook.requests()]
    assert seen == [("1", "2"), ("2", "3"), ("3", "4")]


def test_a_change_made_while_a_webhook_thinks_is_not_lost(server, hook, configure, at):
    server.request("POST", f"{at}/configmaps", config_map(a="1"))
    configure("a", hook.spec("maps", "/look", operations=["UPDATE"]))
    path, kind = f"{at}/configmaps/x", "application/merge-patch+json"
    other = server.connect()
    numbers = iter("23")

    def change_first(request):
        """Change the object behind the back of the request that is being reviewed."""
        if len(hook.asked) == 1:
            change = json.dumps({"data": {"b": next(numbers)}})
            other.request("PATCH", path, change, {"Content-Type": kind})
            assert other.getresponse().read()
        return allow()

    hook.answers["/look"] = change_first
    made = server.request("PATCH", path, {"data": {"c": "3"}}, kind=kind)
    assert made.json["data"] == {"a": "1", "b": "2", "c": "3"}
    assert len(hook.asked) == 3  # the first one was asked again, about the object as it was then

    hook.asked.clear()
    old = {**config_map(a="9"), "metadata": made.json["metadata"]}
    put = server.request("PUT", path, old)
    assert put.status == 409  # who names a version is told
    other.close()


def test_a_deletion_can_be_forbidden(server, hook, configure, at):
    for name in ("x", "y"):
        server.request("POST", f"{at}/configmaps", config_map(name))
    configure("a", hook.spec("maps", "/keep", operations=["DELETE"]))
    hook.answers["/keep"] = lambda request: deny("kept") if request["name"] == "x" else allow()
    gone = server.request("DELETE", f"{at}/configmaps/x")
    assert gone.json["message"].endswith("denied the request: kept")
    (asked,) = hook.requests()
    assert (asked["object"], asked["oldObject"]["metadata"]["name"]) == (None, "x")
    assert server.request("DELETE", f"{at}/configmaps/y").status == 200
    assert server.request("GET", f"{at}/configmaps/x").status == 200
    # A collection is deleted one by one.
    for name in ("a", "b"):
        server.request("POST", f"{at}/configmaps", config_map(name))
    server.request("DELETE", f"{at}/configmaps?labelSelector=app+in+(a,b)")
    assert server.request("GET", f"{at}/configmaps/b").status == 404


def test_subresources_are_named_with_their_own_bodies(server, hook, configure, at, namespace):
    web = deployment(namespace=namespace)
    apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    server.request("POST", apps, web)
    server.request("POST", f"{at}/pods", pod(namespace=namespace))
    rule = {"operations": ["*"], "groups": ["*"], "versions": ["*"], "resources": ["*/*"]}
    configure("a", hook.spec("all", "/look", **rule))
    scale = {"spec": {"replicas": 5}}
    kind = "application/merge-patch+json"
    assert server.request("PATCH", f"{apps}/web/scale", scale, kind=kind).status == 200
    server.request("PATCH", f"{apps}/web/status", {"status": {"replicas": 1}}, kind=kind)
    eviction = {"metadata": {"name": "web", "namespace": namespace}}
    assert server.request("POST", f"{at}/pods/web/eviction", eviction).status == 201
    seen = [(r["operation"], r["subResource"], r["kind"]["kind"]) for r in hook.requests()]
    assert seen == [
        ("UPDATE", "scale", "Scale"),
        ("UPDATE", "status", "Deployment"),
        ("CREATE", "eviction", "Eviction"),
    ]
    assert hook.requests()[0]["object"]["spec"]["replicas"] == 5


def test_an_exec_can_be_forbidden(server, hook, configure, at, namespace):
    server.request("POST", f"{at}/pods", pod(namespace=namespace))
    rule = {"operations": ["CONNECT"], "resources": ["pods/exec"]}
    configure("a", hook.spec("shells", "/deny", **rule))
    hook.answers["/deny"] = lambda _: deny("no shells")
    made = server.request("POST", f"{at}/pods/web/exec?command=sh&command=-l&stdin=true&tty=1")
    assert made.json["message"].endswith("denied the request: no shells")
    (asked,) = hook.requests()
    assert asked["object"] == {
        "kind": "PodExecOptions",
        "apiVersion": "v1",
        "stdin": True,
        "tty": True,
        "command": ["sh", "-l"],
    }
    assert (asked["name"], asked["subResource"], asked["options"]) == ("web", "exec", None)


def test_a_dry_run_is_told_as_one_and_stores_nothing(server, hook, configure, at):
    configure("a", hook.spec("maps", "/look"))
    made = server.request("POST", f"{at}/configmaps?dryRun=All", config_map())
    assert made.status == 201
    assert hook.requests()[0]["dryRun"] is True
    assert server.request("GET", f"{at}/configmaps/x").status == 404


# --- whom it concerns

RULES = {
    "the resource": ({}, True),
    "every resource": ({"resources": ["*"]}, True),
    "every resource and subresource": ({"resources": ["*/*"]}, True),
    "its subresources alone": ({"resources": ["configmaps/*"]}, True),
    "one of its subresources": ({"resources": ["configmaps/status"]}, False),
    "another resource": ({"resources": ["secrets"]}, False),
    "another group": ({"groups": ["apps"]}, False),
    "every group": ({"groups": ["*"]}, True),
    "another version": ({"versions": ["v2"]}, False),
    "every version": ({"versions": ["*"]}, True),
    "another operation": ({"operations": ["DELETE"]}, False),
    "every operation": ({"operations": ["*"]}, True),
    "objects in namespaces": ({"scope": "Namespaced"}, True),
    "objects of the whole cluster": ({"scope": "Cluster"}, False),
    "objects with its label": ({"objectSelector": {"matchLabels": {"app": "x"}}}, True),
    "objects with another label": ({"objectSelector": {"matchLabels": {"app": "y"}}}, False),
    "another namespace": (
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SPACE}}},
        False,
    ),
}


@pytest.mark.parametrize("case", RULES)
def test_rules_and_selectors_say_who_is_asked(server, hook, configure, at, case):
    rule, asked = RULES[case]
    configure("a", hook.spec("maps", "/look", **rule))
    assert server.request("POST", f"{at}/configmaps", config_map()).status == 201
    assert bool(hook.asked) is asked


def test_a_namespace_selector_meets_the_labels_that_a_namespace_is_to_get(server, hook, configure):
    selector = {"matchLabels": {"guarded": "yes"}}
    more = {"resources": ["namespaces", "nodes"], "namespaceSelector": selector}
    configure("a", hook.spec("spaces", "/look", **more))
    for name, labels in (("guarded", {"guarded": "yes"}), ("free", {})):
        obj = {"metadata": {"name": name, "labels": labels}}
        assert server.request("POST", "/api/v1/namespaces", obj).status == 201
    # What belongs to no namespace cannot be left out by one.
    assert server.request("POST", "/api/v1/nodes", {"metadata": {"name": "n"}}).status == 201
    assert [r["name"] for r in hook.requests()] == ["guarded", "n"]


def test_configurations_of_webhooks_are_shown_to_no_webhook(server, hook, configure):
    rule = {"operations": ["*"], "groups": ["*"], "versions": ["*"], "resources": ["*/*"]}
    configure("a", hook.spec("all", "/deny", **rule))
    hook.answers["/deny"] = lambda _: deny("everything")
    assert server.request("DELETE", path_of("Validating", "a")).status == 200
    assert not hook.asked


def definition(plural, kind):
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    versions = [
        {"name": v, "served": True, "storage": v == "v2", "schema": {"openAPIV3Schema": schema}}
        for v in ("v1", "v2")
    ]
    names = {"plural": plural, "kind": kind}
    spec = {"group": "try.example.com", "scope": "Namespaced", "names": names, "versions": versions}
    return {"metadata": {"name": f"{plural}.try.example.com"}, "spec": spec}


def test_a_custom_resource_is_shown_in_the_version_that_a_webhook_wants(
    server, hook, configure, namespace
):
    kinds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert server.request("POST", kinds, definition("gears", "Gear")).status == 201
    more = {"groups": ["try.example.com"], "resources": ["gears"], "versions": ["v2"]}
    configure("a", hook.spec("gears", "/gears", **more), kind="Mutating")
    configure("b", hook.spec("exact", "/exact", matchPolicy="Exact", **more))
    hook.answers["/gears"] = lambda _: label("seen")
    path = f"/apis/try.example.com/v1/namespaces/{namespace}/gears"
    obj = {"apiVersion": "try.example.com/v1", "kind": "Gear"}
    made = server.request("POST", path, {**obj, "metadata": {"name": "g", "labels": {"a": "b"}}})
    assert made.status == 201, made.data
    assert made.json["apiVersion"] == "try.example.com/v1"
    assert made.json["metadata"]["labels"] == {"a": "b", "seen": "yes"}
    (asked,) = hook.requests()  # and not who wants v2 exactly
    assert asked["object"]["apiVersion"] == "try.example.com/v2"
    assert (asked["kind"]["version"], asked["requestKind"]["version"]) == ("v2", "v1")


@pytest.mark.skipif(NO_CEL, reason="the package common-expression-language is not here")
def test_match_conditions_are_asked_before_the_webhook(server, hook, configure, at):
    conditions = [
        {"name": "big", "expression": "object.data.size == 'big'"},
        {"name": "creates", "expression": "request.operation == 'CREATE'"},
    ]
    configure("a", hook.spec("maps", "/look", matchConditions=conditions))
    for name, size in (("small", "small"), ("big", "big")):
        server.request("POST", f"{at}/configmaps", config_map(name, size=size))
    assert [r["name"] for r in hook.requests()] == ["big"]
    # Without the field the first condition is an error, and failures are not ignored.
    made = server.request("POST", f"{at}/configmaps", config_map("none", other="x"))
    assert made.status == 403
    assert 'match condition "big"' in made.json["message"]


# --- what controllers create


def test_a_controllers_write_waits_for_the_webhook_and_is_done_again(server, hook, configure):
    configure("a", hook.spec("pods", "/look", resources=["pods"]))
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u"}
    made = pod(namespace=SPACE)
    made["metadata"]["ownerReferences"] = [{**reference, "controller": True}]

    async def create():
        with pytest.raises(ReviewPendingError) as pending:
            server.api.create("pods", made)
        await pending.value.answered()
        stored = server.api.create("pods", made)
        # Another pod that is alike is another question.
        assert server.api.webhooks._reviews._controllers.answers == {}
        return stored

    stored = server.run(create())
    (asked,) = hook.requests()
    assert asked["object"]["metadata"]["uid"] == stored["metadata"]["uid"]
    name = "system:serviceaccount:kube-system:replicaset-controller"
    assert asked["userInfo"]["username"] == name


# --- while a webhook thinks


def test_others_are_answered_while_a_webhook_thinks_and_who_leaves_is_forgotten(
    server, hook, configure, at
):
    configure("a", hook.spec("maps", "/think"))
    asked, go_on = threading.Event(), threading.Event()

    def think(_request):
        asked.set()
        go_on.wait(30)
        return allow()

    hook.answers["/think"] = think
    waiting = server.connect()
    waiting.request(
        "POST",
        f"{at}/configmaps",
        json.dumps(config_map("slow")),
        {"Content-Type": "application/json"},
    )
    assert asked.wait(30)
    assert server.request("GET", f"{at}/configmaps/slow").status == 404  # answered at once
    connections = server._server._connections
    there = len(connections)
    waiting.sock.close()
    waiting.close()
    seen = Polling(
        look=lambda: len(connections),
        good=lambda n: n < there,
        quiet=lambda _: False,
        deadline=60.0,
    )
    assert seen.run() < there
    go_on.set()
    # The request went with its client: nothing was stored, now or later.
    hook.answers.clear()
    assert server.request("POST", f"{at}/configmaps", config_map("after")).status == 201
    assert server.request("GET", f"{at}/configmaps/slow").status == 404
