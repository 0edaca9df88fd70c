"""RBAC in a served API: who may, who may not and in which words; reviews and impersonation."""

from __future__ import annotations

import pytest

from k8slab.embedded.apiserver.auth import AUTHENTICATED, User
from k8slab.embedded.apiserver.default_roles import furnish
from k8slab.embedded.apiserver.rbac import Action

RBAC = "/apis/rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"


def binding(name, role, *subjects, kind="ClusterRole", namespace=""):
    return {
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
        "subjects": list(subjects),
    }


def account(namespace, name="default"):
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


def group(name):
    return {"kind": "Group", "apiGroup": GROUP, "name": name}


def user(name):
    return {"kind": "User", "apiGroup": GROUP, "name": name}


@pytest.fixture
def word(token):
    return token().json["status"]["token"]


@pytest.fixture
def bind(server, namespace):
    def bound(role, *subjects, kind="ClusterRole", name="b"):
        path = f"{RBAC}/namespaces/{namespace}/rolebindings"
        answer = server.request("POST", path, binding(name, role, *subjects, kind=kind))
        assert answer.status == 201, answer.json

    return bound


def as_user(name, *groups):
    named = {"Impersonate_User": name}
    return {**named, "Impersonate_Group": ", ".join(groups)} if groups else named


def test_a_service_account_may_what_its_role_binding_says(stranger, word, namespace, bind):
    pods = f"/api/v1/namespaces/{namespace}/pods"
    assert stranger("GET", pods, word)[0] == 403
    bind("view", account(namespace))
    assert stranger("GET", pods, word)[0] == 200
    assert stranger("GET", "/api/v1/pods", word)[0] == 403
    assert stranger("GET", f"/api/v1/namespaces/{namespace}/secrets", word)[0] == 403
    status, body = stranger("POST", pods, word, {"metadata": {"name": "x"}})
    assert (status, body["message"]) == (
        403,
        (
            f'pods is forbidden: User "system:serviceaccount:{namespace}:default" cannot create '
            f'resource "pods" in API group "" in the namespace "{namespace}"'
        ),
    )


def test_taking_the_binding_away_takes_the_right_away(server, stranger, word, namespace, bind):
    bind("view", group(f"system:serviceaccounts:{namespace}"))
    assert stranger("GET", f"/api/v1/namespaces/{namespace}/pods", word)[0] == 200
    server.request("DELETE", f"{RBAC}/namespaces/{namespace}/rolebindings/b")
    assert stranger("GET", f"/api/v1/namespaces/{namespace}/pods", word)[0] == 403


def test_names_subresources_and_missing_objects_are_told_apart(server, namespace, bind):
    role = {
        "metadata": {"name": "one"},
        "rules": [{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get"]}],
    }
    assert server.request("POST", f"{RBAC}/namespaces/{namespace}/roles", role).status == 201
    bind("one", user("ann"), kind="Role")
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    assert server.request("GET", f"{path}/scale", **as_user("ann")).status == 404
    answer = server.request("GET", path, **as_user("ann"))
    assert answer.json["message"] == (
        f'deployments.apps "web" is forbidden: User "ann" cannot get resource "deployments" '
        f'in API group "apps" in the namespace "{namespace}"'
    )
    assert answer.json["details"] == {"name": "web", "group": "apps", "kind": "deployments"}


def test_a_list_of_one_name_may_be_allowed_by_that_name(server, namespace, bind):
    role = {
        "metadata": {"name": "mine"},
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["secrets"],
                "resourceNames": ["mine"],
                "verbs": ["list", "watch"],
            }
        ],
    }
    server.request("POST", f"{RBAC}/namespaces/{namespace}/roles", role)
    bind("mine", user("ann"), kind="Role")
    path = f"/api/v1/namespaces/{namespace}/secrets"
    assert server.request("GET", path, **as_user("ann")).status == 403
    named = f"{path}?fieldSelector=metadata.name%3Dmine"
    assert server.request("GET", named, **as_user("ann")).status == 200


def test_what_is_not_served_is_forbidden_before_it_is_missing(server):
    answer = server.request("GET", "/apis/nothing.io/v1/things", **as_user("ann"))
    assert answer.json["message"] == (
        'things.nothing.io is forbidden: User "ann" cannot list resource "things" '
        'in API group "nothing.io" at the cluster scope'
    )
    assert server.request("GET", "/apis/nothing.io/v1/things").status == 404


def test_paths_that_are_no_resources_have_rules_of_their_own(server):
    assert server.request("GET", "/version", **as_user("ann")).status == 200
    answer = server.request("GET", "/metrics", **as_user("ann"))
    assert answer.status == 403
    assert answer.json["message"] == 'forbidden: User "ann" cannot get path "/metrics"'


def test_a_binding_to_a_role_that_is_missing_says_so(server, namespace, bind):
    bind("nowhere", user("ann"))
    answer = server.request("GET", f"/api/v1/namespaces/{namespace}/pods", **as_user("ann"))
    assert answer.json["message"].endswith(
        f'in the namespace "{namespace}": RBAC: clusterrole.{GROUP} "nowhere" not found'
    )


def test_only_who_may_impersonate_is_taken_for_another(server, stranger, word, namespace, bind):
    headers = {"Impersonate-User": "ann"}
    status, body = stranger("GET", "/version", word, **headers)
    assert (status, body["message"]) == (
        403,
        (
            f'users "ann" is forbidden: User "system:serviceaccount:{namespace}:default" cannot '
            'impersonate resource "users" in API group "" at the cluster scope'
        ),
    )
    bind("edit", account(namespace))
    other = {"Impersonate-User": f"system:serviceaccount:{namespace}:other"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    status, body = stranger("POST", path, word, {"metadata": {}}, **other)
    assert body["status"]["userInfo"]["groups"] == [
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        AUTHENTICATED,
    ]
    assert server.request("GET", "/version", Impersonate_Group="x").status == 400


def test_reviews_answer_like_the_request_itself_would(server, namespace, bind):
    bind("view", group("readers"))
    attributes = {"verb": "list", "resource": "pods", "namespace": namespace}
    spec = {"resourceAttributes": attributes}
    base = "/apis/authorization.k8s.io/v1"

    def asked(path, spec, **headers):
        return server.request("POST", f"{base}/{path}", {"spec": spec}, **headers).json

    mine = asked("selfsubjectaccessreviews", spec, **as_user("ann", "readers"))
    assert mine["status"] == {"allowed": True}
    other = asked("subjectaccessreviews", {**spec, "user": "bob"})
    assert other["status"] == {"allowed": False}
    other = asked("subjectaccessreviews", {**spec, "user": "bob", "groups": ["readers"]})
    assert other["status"] == {"allowed": True}
    local = f"namespaces/{namespace}/localsubjectaccessreviews"
    assert asked(local, {**spec, "user": "bob"})["status"] == {"allowed": False}
    rules = asked("selfsubjectrulesreviews", {"namespace": namespace}, **as_user("ann", "readers"))
    assert {
        "verbs": ["create"],
        "apiGroups": ["authentication.k8s.io"],
        "resources": ["selfsubjectreviews"],
    } in rules["status"]["resourceRules"]
    assert any("pods/log" in rule["resources"] for rule in rules["status"]["resourceRules"])


@pytest.mark.parametrize(
    ("path", "spec", "message"),
    [
        ("selfsubjectrulesreviews", {}, "no namespace on request"),
        ("selfsubjectaccessreviews", {}, "exactly one of nonResourceAttributes or"),
        ("subjectaccessreviews", {"resourceAttributes": {}}, "at least one of user or group"),
    ],
)
def test_a_review_that_asks_nothing_is_refused(server, path, spec, message):
    answer = server.request("POST", f"/apis/authorization.k8s.io/v1/{path}", {"spec": spec})
    assert answer.status in (400, 422)
    assert message in answer.json["message"]


def test_nobody_grants_more_than_they_hold(server, namespace, bind):
    bind("admin", user("ann"))
    role = {
        "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["get", "list"]}],
    }
    path = f"{RBAC}/namespaces/{namespace}/roles"
    answer = server.request("POST", path, role, **as_user("ann"))
    assert answer.status == 403
    assert answer.json["message"] == (
        f'roles.{GROUP} "r" is forbidden: user "ann" (groups=["system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}'
    )
    role["rules"][0]["resources"] = ["pods"]
    assert server.request("POST", path, role, **as_user("ann")).status == 201
    bindings = f"{RBAC}/namespaces/{namespace}/rolebindings"
    escalating = binding("up", "cluster-admin", user("ann"))
    answer = server.request("POST", bindings, escalating, **as_user("ann"))
    assert "attempting to grant RBAC permissions not currently held" in answer.json["message"]
    fine = binding("fine", "edit", user("bob"))
    assert server.request("POST", bindings, fine, **as_user("ann")).status == 201


def test_a_decision_looks_only_at_the_callers_own_bindings(api):
    furnish(api)
    for number in range(300):
        subject = user(f"u{number}")
        made = binding(f"b{number}", "view", subject, namespace="default")
        api.create("rolebindings." + GROUP, made)
    action = Action("list", "", "pods", namespace="default")
    assert api.roles.allows(User("u7", (AUTHENTICATED,)), action)
    assert not api.roles.allows(User("nobody", (AUTHENTICATED,)), action)
    looked_at = list(api.roles._roles_of(User("nobody", (AUTHENTICATED,)), "default"))
    assert {name for _, _, name in looked_at} == {
        "system:basic-user",
        "system:discovery",
        "system:public-info-viewer",
    }


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (["list", "pods", "--as=ann"], "no"),
        (["list", "pods", "--as=ann", "--as-group=system:masters"], "yes"),
        (["get", "/version", "--as=ann"], "yes"),
        (["create", "deployments"], "yes"),
    ],
)
def test_kubectl_auth_can_i_says_so(kubectl, namespace, question, answer):
    done = kubectl("auth", "can-i", "-n", namespace, *question)
    assert done.stdout.strip() == answer, done.stderr
    assert done.returncode == (answer == "no")


def test_kubectl_lists_what_one_may(kubectl, namespace, bind):
    bind("view", user("ann"))
    done = kubectl("auth", "can-i", "--list", "-n", namespace, "--as=ann")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert rows["pods/log"].endswith("[get list watch]")
    assert "selfsubjectreviews.authentication.k8s.io" in rows
    assert "[/api/*]" in done.stdout
