import threading
import time

import pytest

from k8slab.errors import (
    ApiStatusError,
    ClusterNotReadyError,
    EnvironmentLacksError,
    ManifestError,
    UsageError,
)

PODS = "/api/v1/namespaces/shop/pods"


def pod(name, ready="True"):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": ready, "reason": "ContainersNotReady"}],
        },
    }


def test_an_object_that_is_not_there_is_none(cluster):
    assert cluster.get("pods", "web", "shop") is None


def test_an_object_is_found_by_plural_kind_short_name_and_group(api, cluster):
    api.put(f"{PODS}/web", pod("web"))
    assert [cluster.get(word, "web", "shop") for word in ("pods", "Pod", "po")] == [
        api.objects[f"{PODS}/web"]
    ] * 3
    assert cluster.resources.named("deployments.apps").path(namespace="a", name="b") == (
        "/apis/apps/v1/namespaces/a/deployments/b"
    )


def test_requests_carry_the_token_and_say_who_we_are(api, cluster):
    cluster.get("pods", "web", "shop")
    headers = api.requests[-1][3]
    assert headers["Authorization"] == "Bearer secret"
    assert headers["User-Agent"].startswith("k8slab/")


def test_an_error_status_becomes_an_exception_with_its_parts(api, cluster):
    details = {"name": "web", "causes": [{"field": "spec.containers"}]}
    body = {"message": "Pod web is invalid", "reason": "Invalid", "details": details}
    api.answers["/api/v1/namespaces/shop/pods/web"] = (422, body)
    with pytest.raises(ApiStatusError, match="Pod web is invalid") as caught:
        cluster.get("pods", "web", "shop")
    assert (caught.value.code, caught.value.reason, caught.value.details) == (
        422,
        "Invalid",
        details,
    )


def test_an_error_that_is_no_status_is_shown_as_it_is(api, cluster):
    api.answers["/version"] = (503, "upstream is down")
    with pytest.raises(ApiStatusError, match="upstream is down") as caught:
        cluster.request("GET", "/version")
    assert caught.value.code == 503


def test_no_answer_says_how_to_start_the_cluster(api, cluster):
    api.close()
    with pytest.raises(ClusterNotReadyError, match="does not answer") as caught:
        cluster.request("GET", "/version")
    assert "k8slab up" in caught.value.hint


def test_one_connection_serves_many_requests(api, cluster):
    for _ in range(3):
        cluster.get("pods", "web", "shop")
    first = cluster.rest._thread.kept.connection.sock
    cluster.get("pods", "web", "shop")
    assert cluster.rest._thread.kept.connection.sock is first


def test_a_connection_that_the_server_has_closed_is_replaced_before_use(api, cluster):
    api.answers["/version"] = (200, {"gitVersion": "v1"})
    cluster.request("GET", "/version")
    old = cluster.rest._thread.kept.connection.sock
    old.shutdown(2)
    assert cluster.request("POST", "/version", {"a": 1}) == {"gitVersion": "v1"}
    assert [request[0] for request in api.requests] == ["GET", "POST"]


def test_apply_is_a_forced_server_side_apply_in_the_order_of_the_manifest(api, cluster):
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n"
    text += "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
    answers = cluster.apply(text, namespace="shop")
    assert [answer["kind"] for answer in answers] == ["Namespace", "Deployment"]
    asked = "?fieldManager=k8slab&force=true&fieldValidation=Strict"
    assert [request[:2] for request in api.requests] == [
        ("PATCH", f"/api/v1/namespaces/shop{asked}"),
        ("PATCH", f"/apis/apps/v1/namespaces/shop/deployments/web{asked}"),
    ]
    assert api.requests[0][3]["Content-Type"] == "application/apply-patch+yaml"


def test_what_is_applied_without_a_namespace_goes_to_default(api, cluster):
    cluster.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}])
    assert "/api/v1/namespaces/default/configmaps/a" in api.objects


def test_a_broken_manifest_touches_nothing(api, cluster):
    with pytest.raises(ManifestError):
        cluster.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nkind: [\n")
    assert api.requests == []


def test_a_kind_that_only_the_cluster_knows_is_discovered(api, cluster):
    api.answers["/apis/stable.example.com/v1"] = (
        200,
        {"resources": [{"name": "crons", "kind": "Cron", "namespaced": True, "shortNames": ["c"]}]},
    )
    cluster.apply(
        [{"apiVersion": "stable.example.com/v1", "kind": "Cron", "metadata": {"name": "x"}}]
    )
    assert "/apis/stable.example.com/v1/namespaces/default/crons/x" in api.objects


def test_a_kind_that_nobody_serves_is_named(cluster):
    with pytest.raises(UsageError, match=r"does not serve Nothing in example\.com/v1"):
        cluster.apply(
            [{"apiVersion": "example.com/v1", "kind": "Nothing", "metadata": {"name": "x"}}]
        )


def test_a_list_carries_the_selector_and_its_items_know_their_kind(api, cluster):
    item = pod("web")
    del item["kind"], item["apiVersion"]
    api.put(f"{PODS}/web", item)
    (found,) = cluster.list("pods", "shop", selector="app=web,tier in (a,b)")
    assert (found["kind"], found["apiVersion"]) == ("Pod", "v1")
    assert "labelSelector=app%3Dweb%2Ctier+in+%28a%2Cb%29" in api.requests[-1][1]


def test_deleting_what_is_not_there_is_done(api, cluster):
    api.put(f"{PODS}/web", pod("web"))
    cluster.delete("pods", "web", "shop", grace=0)
    cluster.delete("pods", "web", "shop")
    assert api.requests[0][2]["gracePeriodSeconds"] == 0
    assert "gracePeriodSeconds" not in api.requests[1][2]


def later(seconds, function, *arguments):
    timer = threading.Timer(seconds, function, arguments)
    timer.start()
    return timer


def test_a_wait_ends_at_the_change_itself(api, cluster):
    api.put(f"{PODS}/web", pod("web", ready="False"))
    timer = later(0.1, api.put, f"{PODS}/web", pod("web"))
    started = time.monotonic()
    (found,) = cluster.wait("pods", "web", "shop", deadline=60)
    assert found["status"]["conditions"][0]["status"] == "True"
    assert time.monotonic() - started < 30
    timer.join()


def test_a_wait_for_all_needs_at_least_one(api, cluster):
    timer = later(0.05, api.put, f"{PODS}/web", pod("web"))
    assert len(cluster.wait("pods", namespace="shop", deadline=60)) == 1
    timer.join()


def test_a_wait_for_deletion_ends_when_none_is_left(api, cluster):
    api.put(f"{PODS}/web", pod("web"))
    timer = later(0.05, api.remove, f"{PODS}/web")
    assert cluster.wait("pods", "web", "shop", until="delete", deadline=60) == []
    timer.join()
    assert cluster.wait("pods", "web", "shop", until="delete", deadline=60) == []


def test_a_wait_that_ends_in_vain_says_what_was_missing(api, cluster):
    api.put(f"{PODS}/web", pod("web", ready="False"))
    with pytest.raises(ClusterNotReadyError) as caught:
        cluster.wait("pods", "web", "shop", deadline=0.1)
    assert str(caught.value) == (
        "pods web in shop: not ready after 0.1 s\n  web: Running; Ready: ContainersNotReady"
    )


def test_a_wait_for_what_never_comes_says_so(cluster):
    with pytest.raises(ClusterNotReadyError, match="there is no such object"):
        cluster.wait("pods", "web", "shop", deadline=0.1)


def test_a_wait_lists_again_when_the_server_has_forgotten_its_revision(api, cluster):
    api.put(f"{PODS}/web", pod("web", ready="False"))
    api.gone_once = True
    timer = later(0.1, api.put, f"{PODS}/web", pod("web"))
    assert cluster.wait("pods", "web", "shop", deadline=60)
    timer.join()


def test_a_wait_takes_a_function(api, cluster):
    api.put(f"{PODS}/web", pod("web"))
    found = cluster.wait(
        "pods", namespace="shop", until=lambda obj: obj["metadata"]["name"] == "web"
    )
    assert len(found) == 1


def test_a_watch_yields_what_happens_from_now_on(api, cluster):
    api.put(f"{PODS}/old", pod("old"))
    events = cluster.watch("pods", "shop", deadline=60)

    def put_once_it_is_watched():
        while not any("watch=1" in request[1] for request in [*api.requests]):
            threading.Event().wait(0.002)
        api.put(f"{PODS}/new", pod("new"))

    other = threading.Thread(target=put_once_it_is_watched)
    other.start()
    event = next(events)
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "new")
    events.close()
    other.join()


def test_logs_are_text(api, cluster):
    api.answers[f"{PODS}/web/log"] = (200, "one\ntwo\n")
    assert cluster.logs("shop", "web", tail=2) == "one\ntwo\n"
    assert api.requests[-1][1].endswith("/log?tailLines=2")


def test_a_cluster_without_node_access_says_which_has(cluster):
    with pytest.raises(EnvironmentLacksError, match="gives no shell on its nodes"):
        cluster.node_run("node", ["ip", "route"])


def test_threads_have_connections_of_their_own(api, cluster):
    api.put(f"{PODS}/web", pod("web"))
    found = []

    def work():
        found.extend(cluster.list("pods", "shop"))
        cluster.rest.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
