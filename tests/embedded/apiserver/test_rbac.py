"""What one rule allows, and what it covers."""

from __future__ import annotations

import pytest

from k8slab.embedded.apiserver import rbac
from k8slab.embedded.apiserver.default_roles import objects
from k8slab.embedded.apiserver.rbac import Action, Rule


def rule(verbs="get", resources="pods", groups="", names="", urls=""):
    words = (text.split() for text in (verbs, resources, names, urls))
    verb, resource, name, url = (tuple(found) for found in words)
    return Rule(verb, (groups,) if resource else (), resource, name, url)


@pytest.mark.parametrize(
    ("held", "action", "allowed"),
    [
        (rule("get"), Action("get", "", "pods"), True),
        (rule("get"), Action("list", "", "pods"), False),
        (rule("*"), Action("impersonate", "", "pods"), True),
        (rule("get"), Action("get", "apps", "pods"), False),
        (rule("get", groups="*"), Action("get", "apps", "pods"), True),
        (rule("get"), Action("get", "", "pods", "log"), False),
        (rule("get", "pods/log"), Action("get", "", "pods", "log"), True),
        (rule("get", "pods/log"), Action("get", "", "pods"), False),
        (rule("get", "*/scale"), Action("get", "", "deployments", "scale"), True),
        (rule("get", "*/scale"), Action("get", "", "deployments"), False),
        (rule("get", "*"), Action("get", "", "pods", "log"), True),
        (rule("get", "secrets", names="a b"), Action("get", "", "secrets", name="b"), True),
        (rule("get", "secrets", names="a b"), Action("get", "", "secrets", name="c"), False),
        (rule("list", "secrets", names="a"), Action("list", "", "secrets"), False),
        (rule("get", "", urls="/metrics"), Action("get", path="/metrics"), True),
        (rule("get", "", urls="/metrics"), Action("get", path="/metrics/slis"), False),
        (rule("get", "", urls="/apis/*"), Action("get", path="/apis/apps/v1"), True),
        (rule("get", "", urls="*"), Action("post", path="/x"), False),
        (rule("*", "*", "*"), Action("get", path="/version"), False),
    ],
)
def test_a_rule_allows_what_verb_group_resource_and_name_say(held, action, allowed):
    assert held.allows(action) is allowed


@pytest.mark.parametrize(
    ("held", "wanted", "missing"),
    [
        ([rule("get list")], rule("get"), []),
        ([rule("get"), rule("list")], rule("get list"), []),
        (
            [rule("get")],
            rule("get list delete"),
            ['{APIGroups:[""], Resources:["pods"], Verbs:["list" "delete"]}'],
        ),
        (
            [rule("get", names="a")],
            rule("get"),
            ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}'],
        ),
        ([rule("get")], rule("get", names="a"), []),
        ([rule("*", "*")], rule("get", "pods/exec"), []),
        ([rule("*", "*")], rule("*", "*"), []),
        (
            [rule("get list watch", "*")],
            rule("*", "*"),
            ['{APIGroups:[""], Resources:["*"], Verbs:["*"]}'],
        ),
        (
            [],
            rule("get", "", urls="/metrics"),
            ['{NonResourceURLs:["/metrics"], Verbs:["get"]}'],
        ),
        ([rule("get", "", urls="/m*")], rule("get", "", urls="/metrics"), []),
    ],
)
def test_what_is_not_held_is_told_in_the_words_of_a_real_server(held, wanted, missing):
    assert [str(one) for one in rbac.uncovered(held, [wanted])] == missing


def test_an_aggregated_role_gathers_each_rule_once_and_never_its_own():
    selector = {"clusterRoleSelectors": [{"matchLabels": {"to": "me"}}]}
    one, two = {"verbs": ["get"]}, {"verbs": ["list"]}
    me = {
        "metadata": {"name": "me", "labels": {"to": "me"}},
        "aggregationRule": selector,
        "rules": [{"verbs": ["old"]}],
    }
    others = [
        {"metadata": {"name": "b", "labels": {"to": "me"}}, "rules": [two, one]},
        {"metadata": {"name": "a", "labels": {"to": "me"}}, "rules": [one]},
        {"metadata": {"name": "c", "labels": {"to": "you"}}, "rules": [{"verbs": ["x"]}]},
    ]
    assert rbac.aggregated(me, [me, *others]) == [one, two]


def test_the_default_roles_build_on_each_other():
    roles = {obj["metadata"]["name"]: obj for _, obj in objects()}
    wanted = {"view": "edit", "edit": "admin", "system:aggregate-to-view": "view"}
    for name, target in wanted.items():
        label = f"rbac.authorization.k8s.io/aggregate-to-{target}"
        assert roles[name]["metadata"]["labels"][label] == "true"
        selector = roles[target]["aggregationRule"]["clusterRoleSelectors"][0]
        assert selector == {"matchLabels": {label: "true"}}
