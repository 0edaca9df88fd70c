"""What labs rely on: how pods are replaced, wait, fail and come back, in a real cluster's words."""

import re
import threading

import pytest
from kubernetes import client, watch
from pods_kit import READY, WEB, app, container, first_words, pod, said, service, workload

DEPLOYMENTS = "deployments.apps"


def told(cluster, namespace, *wanted):
    """Wait until each wanted event (type, reason, message) has come; return all, in order."""
    core, seen = client.CoreV1Api(cluster.client), []
    for event in watch.Watch().stream(core.list_namespaced_event, namespace, timeout_seconds=60):
        one = event["raw_object"]
        seen.append((one["type"], one["reason"], one["message"]))
        if set(wanted) <= set(seen):
            return seen
    raise AssertionError(f"{set(wanted) - set(seen)} did not come, only {seen}")


def waiting(cluster, namespace, name, reason):
    """Wait until the pod's container waits for this reason; return its status then."""
    path = "{.status.containerStatuses[0].state.waiting.reason}"
    (found,) = cluster.wait("pods", name, namespace, until=f"jsonpath={path}={reason}")
    assert found["status"]["phase"] in ("Pending", "Running")
    return found["status"]["containerStatuses"][0]


def words(status):
    """Return what a container that waits says."""
    return status["state"]["waiting"]["message"]


# --- replacing


def test_a_replica_set_replaces_a_deleted_pod_under_another_name_and_address(cluster, namespace):
    cluster.apply([workload("Deployment", "web", 1)], namespace=namespace)
    cluster.wait(DEPLOYMENTS, "web", namespace)
    (old,) = cluster.list("pods", namespace)
    cluster.delete("pods", old["metadata"]["name"], namespace)
    cluster.wait("pods", old["metadata"]["name"], namespace, until="delete")
    cluster.wait("pods", namespace=namespace)  # the Deployment may not have noticed yet
    (new,) = cluster.list("pods", namespace)
    for path in (("metadata", "name"), ("metadata", "uid"), ("status", "podIP")):
        assert new[path[0]][path[1]] != old[path[0]][path[1]]
    assert new["metadata"]["ownerReferences"] == old["metadata"]["ownerReferences"]


def test_a_deleted_pod_is_out_of_its_service_before_it_is_told_to_stop(cluster, namespace):
    # Not by the name "web": in /etc/hosts of the pod that is its own, where nobody listens on 80.
    ask = "curl -s http://front/ | grep ^pod"
    last = f"for n in 1 2 3 4 5 6 7 8 9 10; do {ask}; done; exit"
    script = f"trap '{last}' TERM; until {ask} > /tmp/x; do :; done; echo up; "
    asker = container("busybox", f"{script} while :; do sleep 0.05; done", name="asker")
    # It answers on, as one whose end takes its time: only the Service can keep others from it.
    ending = {"preStop": {"sleep": {"seconds": 5}}}
    server = app(name="server", readinessProbe=READY, lifecycle=ending)
    other = pod("other", app(readinessProbe=READY), labels={"app": "web"})
    made = [pod("web", asker, server, grace=60), other, service("front", **WEB)]
    cluster.apply(made, namespace=namespace)
    cluster.wait("pods", "", namespace)
    first_words(cluster, namespace, "web", "asker")
    following = said(cluster, namespace, "web", container="asker")
    cluster.delete("pods", "web", namespace)
    assert following() == ["up", *["pod: other"] * 10]


def versions_seen(cluster, namespace, change):
    """Follow the pods while `change` is made; return what lived after each event, by version."""
    core, seen, begun = client.CoreV1Api(cluster.client), [], threading.Event()

    def follow():
        alive = {}
        for event in watch.Watch().stream(
            core.list_namespaced_pod, namespace, label_selector="app=web", timeout_seconds=60
        ):
            made = event["raw_object"]
            name = made["metadata"]["name"]
            alive.pop(name, None)
            if event["type"] != "DELETED":
                ready = any(
                    c["type"] == "Ready" and c["status"] == "True"
                    for c in made["status"].get("conditions") or ()
                )
                version = made["metadata"]["annotations"]["version"]
                alive[name] = (version, ready, "deletionTimestamp" not in made["metadata"])
            seen.append(list(alive.values()))
            if len(alive) == 2 and not begun.is_set():
                begun.set()
            if list(alive.values()) == [("2", True, True)] * 2:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    assert begun.wait(60)
    change()
    follower.join(60)
    assert not follower.is_alive()
    return seen


@pytest.mark.parametrize("strategy", ["Recreate", "RollingUpdate"])
def test_a_new_version_comes_as_the_strategy_says(cluster, namespace, strategy):
    wanted = {"type": strategy}
    if strategy == "RollingUpdate":
        wanted["rollingUpdate"] = {"maxSurge": 1, "maxUnavailable": 0}
    made = workload("Deployment", "web", 2, strategy=wanted)
    note = made["spec"]["template"]["metadata"]["annotations"] = {"version": "1"}
    cluster.apply([made], namespace=namespace)
    cluster.wait(DEPLOYMENTS, "web", namespace)

    def change():
        note["version"] = "2"
        cluster.apply([made], namespace=namespace)

    seen = versions_seen(cluster, namespace, change)
    mixed = [alive for alive in seen if len({version for version, *_ in alive}) == 2]
    if strategy == "Recreate":
        assert mixed == []  # not one pod of the new version before the last old one is gone
    else:
        assert mixed
        begun = next(n for n, alive in enumerate(seen) if sum(ready for _, ready, _ in alive) == 2)
        assert min(sum(r and here for _, r, here in alive) for alive in seen[begun:]) >= 2
        assert max(len([here for *_, here in alive if here]) for alive in seen) == 3


# --- failing


def test_a_container_that_keeps_failing_is_backed_off_from(cluster, namespace):
    made = pod("crash", container("busybox", "echo boom; exit 3"))
    (made,) = cluster.apply([made], namespace=namespace)
    status = waiting(cluster, namespace, "crash", "CrashLoopBackOff")
    name = f"crash_{namespace}({made['metadata']['uid']})"
    assert words(status) == f"back-off 10s restarting failed container=main pod={name}"
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["reason"] == "Error"
    assert (status["restartCount"], status["ready"], status["started"]) == (1, False, False)
    text = f"Back-off restarting failed container main in pod {name}"
    found = told(cluster, namespace, ("Warning", "BackOff", text))
    reasons = list(dict.fromkeys(reason for _, reason, _ in found))
    assert reasons[:4] == ["Scheduled", "Pulled", "Created", "Started"]
    assert cluster.get("pods", "crash", namespace)["status"]["phase"] == "Running"


def test_a_container_waits_for_the_config_map_it_names_and_starts_with_it(cluster, namespace):
    source = {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "color"}}}
    cluster.apply(
        [pod("wants", container("busybox", "echo $COLOR; sleep 999", env=[source]))],
        namespace=namespace,
    )
    message = words(waiting(cluster, namespace, "wants", "CreateContainerConfigError"))
    assert message == 'configmap "late" not found'
    told(cluster, namespace, ("Warning", "Failed", f"Error: {message}"))
    late = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}}
    cluster.apply([{**late, "data": {"color": "red"}}], namespace=namespace)
    cluster.wait("pods", "wants", namespace)
    assert first_words(cluster, namespace, "wants") == "red\n"


def test_an_image_that_is_not_there_fails_to_be_pulled_and_is_backed_off_from(cluster, namespace):
    cluster.apply([pod("typo", container("ngnix", "true"))], namespace=namespace)
    first = words(waiting(cluster, namespace, "typo", "ErrImagePull"))
    assert "ngnix" in first
    later = waiting(cluster, namespace, "typo", "ImagePullBackOff")
    assert words(later).startswith('Back-off pulling image "ngnix": ErrImagePull: ')
    told(
        cluster,
        namespace,
        ("Normal", "Pulling", 'Pulling image "ngnix"'),
        ("Warning", "Failed", f'Failed to pull image "ngnix": {first}'),
        ("Warning", "Failed", "Error: ErrImagePull"),
        ("Warning", "Failed", "Error: ImagePullBackOff"),
        ("Normal", "BackOff", 'Back-off pulling image "ngnix"'),
    )
    assert cluster.get("pods", "typo", namespace)["status"]["phase"] == "Pending"


def test_a_command_that_is_not_there_is_a_start_error(cluster, namespace):
    made = pod("none", {"name": "main", "image": "busybox", "command": ["/nosuch"]})
    cluster.apply([made], namespace=namespace)
    path = "jsonpath={.status.containerStatuses[0].lastState.terminated.reason}=StartError"
    (found,) = cluster.wait("pods", "none", namespace, until=path)
    ended = found["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert ended["exitCode"] == 128
    assert ended["startedAt"] == "1970-01-01T00:00:00Z"
    events = cluster.list("events", namespace)
    assert {"Pulled", "Created", "Failed"} <= {event["reason"] for event in events}
    assert "no such file or directory" in ended["message"]


# --- waiting for a node

_VAIN = "no new claims to deallocate, preemption: 0/3 nodes are available: "
_MASTER = r"1 node\(s\) had untolerated taint\(s\)[^,]*"
_NO_VICTIMS = (
    r"1 Preemption is not helpful for scheduling, "
    r"2 No preemption victims found for incoming pod\."
)
_UNHELPFUL = r"3 Preemption is not helpful for scheduling\."


def _affinity(kind, **term):
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}, **term}
    return {"affinity": {kind: {required: [term]}}}


CLAIM = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}

PENDING = {
    "no node has the label": (
        {"nodeSelector": {"disk": "ssd"}},
        rf"{_MASTER}, 2 node\(s\) didn't match Pod's node affinity/selector\. {_VAIN}{_UNHELPFUL}",
    ),
    "no node has as much CPU": (
        {"resources": {"requests": {"cpu": "9k"}}},
        rf"{_MASTER}, 2 Insufficient cpu\. {_VAIN}{_NO_VICTIMS}",
    ),
    "nobody is there to be near to": (
        _affinity("podAffinity", labelSelector={"matchLabels": {"app": "nobody"}}),
        rf"{_MASTER}, 2 node\(s\) didn't match pod affinity rules\. {_VAIN}{_UNHELPFUL}",
    ),
    "the claim is not there": (
        CLAIM,
        rf'persistentvolumeclaim "data" not found\. {_VAIN}{_UNHELPFUL}',
    ),
}


@pytest.mark.parametrize("why", PENDING)
def test_a_pod_without_a_node_says_as_a_real_scheduler_why(cluster, namespace, why):
    spec, message = PENDING[why]
    main = container("busybox", "true", **{k: v for k, v in spec.items() if k == "resources"})
    rest = {key: value for key, value in spec.items() if key != "resources"}
    cluster.apply([pod("pending", main, **rest)], namespace=namespace)
    until = "jsonpath={.status.conditions[0].reason}=Unschedulable"
    (found,) = cluster.wait("pods", "pending", namespace, until=until)
    (condition,) = found["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "False")
    wanted = rf"0/3 nodes are available: {message}"
    assert re.fullmatch(wanted, condition["message"]), condition["message"]
    assert found["status"]["phase"] == "Pending"
    assert "podIP" not in found["status"]
    told(cluster, namespace, ("Warning", "FailedScheduling", condition["message"]))


def test_a_stateful_set_with_claims_waits_for_a_volume_as_without_a_provisioner(cluster, namespace):
    template = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    made = workload("StatefulSet", "db", 2, serviceName="db", volumeClaimTemplates=[template])
    cluster.apply([made], namespace=namespace)
    until = "jsonpath={.status.conditions[0].reason}=Unschedulable"
    (first,) = cluster.wait("pods", "db-0", namespace, until=until)
    assert first["status"]["conditions"][0]["message"].startswith(
        "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. "
    )
    (claim,) = cluster.list("persistentvolumeclaims", namespace)
    assert claim["metadata"]["name"] == "data-db-0"
    assert claim["status"]["phase"] == "Pending"
    text = "no persistent volumes available for this claim and no storage class is set"
    told(cluster, namespace, ("Normal", "FailedBinding", text))
    assert cluster.get("pods", "db-1", namespace) is None  # in order, one after the other
