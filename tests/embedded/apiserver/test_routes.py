"""What a path means, and which verb, name and resource have to be authorized for it."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from k8slab.embedded.apiserver.http import Request
from k8slab.embedded.apiserver.kinds import KindTable
from k8slab.embedded.apiserver.rbac import Action
from k8slab.embedded.apiserver.routes import action_of, target_of, verb_of
from k8slab.errors import ApiStatusError

PODS = "/api/v1/namespaces/shop/pods"


def request(method, url):
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    asked = SimpleNamespace(method=method, path=parts.path, query=query)
    asked.parameter = lambda name: Request.parameter(asked, name)
    asked.flag = lambda name: Request.flag(asked, name)
    return asked


@pytest.mark.parametrize(
    ("method", "url", "verb", "name"),
    [
        ("GET", f"{PODS}/a", "get", "a"),
        ("HEAD", f"{PODS}/a", "get", "a"),
        ("GET", f"{PODS}/a?watch=true", "get", "a"),
        ("GET", PODS, "list", ""),
        ("GET", f"{PODS}?watch=0", "list", ""),
        ("GET", f"{PODS}?watch=false", "list", ""),
        ("GET", f"{PODS}?watch", "watch", ""),
        ("GET", f"{PODS}?watch=yes", "watch", ""),
        ("GET", f"{PODS}?fieldSelector=metadata.name%3Da", "list", "a"),
        (
            "GET",
            f"{PODS}?watch=1&fieldSelector=spec.nodeName%3Dn,metadata.name%3D%3Da",
            "watch",
            "a",
        ),
        ("GET", f"{PODS}?fieldSelector=metadata.name!%3Da", "list", ""),
        ("DELETE", PODS, "deletecollection", ""),
        ("DELETE", f"{PODS}?fieldSelector=metadata.name%3Da", "deletecollection", ""),
        ("GET", "/api/v1/watch/namespaces/shop/pods", "watch", ""),
        ("GET", "/api/v1/watch/namespaces/shop/pods/a", "watch", "a"),
    ],
)
def test_the_verb_and_the_name_that_are_authorized(method, url, verb, name):
    asked = request(method, url)
    assert action_of(asked) == Action(verb, "", "pods", "", "shop", name)
    target = target_of(asked.path, KindTable.built_in())
    assert verb_of(asked, target) == verb


def test_a_watch_by_its_path_has_no_subresource_and_is_read_only():
    kinds = KindTable.built_in()
    assert target_of("/api/v1/watch/namespaces/shop/pods/a/status", kinds) is None
    assert target_of("/api/v1/watch", kinds) is None
    assert target_of("/api/v1/watch/namespaces/shop/status", kinds) is None
    assert target_of("/api/v1/watch/namespaces/shop/finalize", kinds) is None
    target = target_of("/apis/apps/v1/watch/deployments", kinds)
    assert (target.kind.plural, target.is_watch) == ("deployments", True)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("url", ["/api/v1/watch/namespaces/shop/pods/a", "/api/v1/watch/pods"])
def test_what_is_authorized_as_a_watch_by_its_path_is_never_carried_out_as_a_write(method, url):
    asked = request(method, url)
    assert action_of(asked).verb == "watch"
    with pytest.raises(ApiStatusError) as refused:
        verb_of(asked, target_of(asked.path, KindTable.built_in()))
    assert refused.value.code == 405
