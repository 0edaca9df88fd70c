"""What a real server refuses in pods, and in changes of pods, in its words."""

from __future__ import annotations

import copy

import pytest

from k8slab.embedded.apiserver.api import Writer
from k8slab.errors import ApiStatusError

COST = "controller.kubernetes.io/pod-deletion-cost"
CLIENT = Writer("kubectl")
COMMAND = {"exec": {"command": ["true"]}}
PORT = {"tcpSocket": {"port": 80}}
INIT = "may not be set for init containers without restartPolicy=Always"
GUEST = "cannot be set for an Ephemeral Container"


def message(error) -> str:
    assert error.value.code == 422, error.value
    return error.value.message.split(" is invalid: ", 1)[1]


def said(api, body) -> str:
    with pytest.raises(ApiStatusError) as error:
        api.create("pods", body, writer=CLIENT)
    return message(error)


def resources(requests=None, limits=None):
    return {"resources": {"requests": requests or {}, "limits": limits or {}}}


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (
            resources({"cpu": "2"}, {"cpu": "1500m"}),
            (
                'resources.requests: Invalid value: "2": '
                "must be less than or equal to cpu limit of 1500m"
            ),
        ),
        (
            resources({"memory": "1Gi"}, {"memory": "1G"}),
            (
                'resources.requests: Invalid value: "1Gi": '
                "must be less than or equal to memory limit of 1G"
            ),
        ),
        (
            resources({"x.io/gpu": "1"}, {"x.io/gpu": "2"}),
            'resources.requests: Invalid value: "1": must be equal to x.io/gpu limit of 2',
        ),
        (
            resources({"x.io/gpu": "1"}),
            "resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            resources({}, {"x.io/gpu": "500m"}),
            'resources.limits[x.io/gpu]: Invalid value: "500m": must be an integer',
        ),
        (
            resources({}, {"hugepages-2Mi": "4Mi"}),
            "resources: Forbidden: HugePages require cpu or memory",
        ),
        (
            resources({}, {"cpu": "1", "hugepages-2Mi": "3Mi"}),
            (
                'resources.limits[hugepages-2Mi]: Invalid value: "3Mi": '
                "3Mi is not positive integer multiple of hugepages-2Mi"
            ),
        ),
        (
            resources({}, {"pods": "1"}),
            (
                'resources.limits[pods]: Invalid value: "pods": '
                "must be a standard resource for containers"
            ),
        ),
        (
            {"lifecycle": {"postStart": {}}},
            "lifecycle.postStart: Required value: must specify a handler type",
        ),
        (
            {"lifecycle": {"preStop": {**COMMAND, **PORT}}},
            "lifecycle.preStop.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (
            {"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}},
            (
                "lifecycle.preStop.sleep: Invalid value: 31: "
                "must be non-negative and less than terminationGracePeriodSeconds (30)"
            ),
        ),
        (
            {"readinessProbe": {**COMMAND, **PORT}},
            "readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (
            {"livenessProbe": {"periodSeconds": 1}},
            "livenessProbe: Required value: must specify a handler type",
        ),
        (
            {"readinessProbe": {**PORT, "terminationGracePeriodSeconds": 1}},
            (
                "readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: "
                "must not be set for readinessProbes"
            ),
        ),
    ],
)
def test_a_container_that_cannot_be_is_refused(api, make_pod, more, what):
    body = make_pod()
    body["spec"]["containers"][0] |= more
    # What is limited is asked for too: some things are told twice.
    assert said(api, body).removeprefix("[").startswith(f"spec.containers[0].{what}")


def test_a_misspelt_resource_is_told_by_its_name(api, make_pod):
    body = make_pod()
    body["spec"]["containers"][0] |= resources({}, {"mem": "1Gi"})
    path = 'spec.containers[0].resources.limits[mem]: Invalid value: "mem": must be a standard'
    assert said(api, body).startswith(
        f"[{path} resource type or fully qualified, {path} resource for containers, "
    )


def test_what_can_be_asked_for_is_taken(api, make_pod):
    body = make_pod()
    body["spec"]["containers"][0] |= {
        **resources(
            {"cpu": "500m", "ephemeral-storage": "1Gi", "x.io/gpu": "1"},
            {"cpu": "500m", "memory": "1Gi", "x.io/gpu": "1", "hugepages-2Mi": "4Mi"},
        ),
        "lifecycle": {"preStop": {"sleep": {"seconds": 0}}, "postStart": COMMAND},
    }
    body["spec"]["containers"][0]["resources"]["requests"]["hugepages-2Mi"] = "4Mi"
    assert api.create("pods", body, writer=CLIENT)


def test_only_a_sidecar_has_probes_and_a_lifecycle_among_init_containers(api, make_pod):
    init = {
        "name": "first",
        "image": "nginx",
        "lifecycle": {"preStop": COMMAND},
        "livenessProbe": COMMAND,
        "readinessProbe": PORT,
        "startupProbe": COMMAND,
    }
    body = make_pod(initContainers=[init])
    fields = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
    wanted = ", ".join(f"spec.initContainers[0].{field}: Forbidden: {INIT}" for field in fields)
    assert said(api, body) == f"[{wanted}]"
    init["restartPolicy"] = "Always"
    assert api.create("pods", body, writer=CLIENT)


@pytest.mark.parametrize("cost", ["+1", "08", "", "x", "1.5", "2147483648", "-2147483649"])
def test_a_deletion_cost_is_a_number_of_32_bits(api, make_pod, make_deployment, cost):
    body = make_pod()
    body["metadata"]["annotations"] = {COST: cost}
    why = f'[{COST}]: Invalid value: "": must be a 32bit integer'
    assert said(api, body) == f"metadata.annotations{why}"
    parent = make_deployment()
    parent["spec"]["template"]["metadata"]["annotations"] = {COST: cost}
    with pytest.raises(ApiStatusError) as error:
        api.create("deployments.apps", parent)
    assert message(error) == f"spec.template.annotations{why}"


@pytest.mark.parametrize("cost", ["0", "1", "-1", "-08", "2147483647", "-2147483648"])
def test_a_deletion_cost_that_is_one_is_taken(api, make_pod, cost):
    body = make_pod()
    body["metadata"]["annotations"] = {COST: cost}
    assert api.create("pods", body, writer=CLIENT)


def test_a_deletion_cost_that_was_wrong_before_may_stay_so(api, make_pod):
    made = api.create("pods", make_pod())
    wrong = copy.deepcopy(made)
    wrong["metadata"]["annotations"] = {COST: "+1"}
    assert "32bit" in changed(api, wrong)
    api.store.put("pods", wrong)
    wrong["metadata"]["labels"] = {"a": "b"}
    assert api.update("pods", wrong, writer=CLIENT)["metadata"]["labels"] == {"a": "b"}


@pytest.mark.parametrize(
    ("toleration", "what"),
    [
        (
            {"value": "x", "effect": "NoSchedule"},
            (
                '.operator: Invalid value: "": operator must be Exists when `key` is empty, '
                'which means "match all values and all keys"'
            ),
        ),
        (
            {"key": "k", "operator": "Exists", "tolerationSeconds": 1, "effect": "NoSchedule"},
            (
                '.effect: Invalid value: "NoSchedule": '
                "effect must be 'NoExecute' when `tolerationSeconds` is set"
            ),
        ),
        ({"key": "a b", "operator": "Exists"}, '.key: Invalid value: "a b": name part must'),
        ({"key": "k", "value": "a b"}, '.operator: Invalid value: "a b": a valid label must'),
    ],
)
def test_a_toleration_that_tolerates_nothing_is_refused(api, make_pod, toleration, what):
    refused = said(api, make_pod(tolerations=[toleration]))
    assert refused.startswith(f"spec.tolerations[0]{what}")


# --- changes


@pytest.fixture
def running(api, make_pod):
    kept = {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    body = make_pod(tolerations=[kept], activeDeadlineSeconds=100)
    return copy.deepcopy(api.bind(api.create("pods", body), "node-1"))


def changed(api, body, **more) -> str:
    with pytest.raises(ApiStatusError) as error:
        api.update("pods", copy.deepcopy(body), writer=CLIENT, **more)
    return message(error)


def test_tolerations_are_added_and_may_last_otherwise(api, running):
    first, *_ = running["spec"]["tolerations"]
    first["tolerationSeconds"] = 5
    running["spec"]["tolerations"].append({"key": "new", "operator": "Exists"})
    made = api.update("pods", copy.deepcopy(running), writer=CLIENT)
    assert made["spec"]["tolerations"] == running["spec"]["tolerations"]
    first["key"] = "other"
    running["metadata"] = made["metadata"]
    assert changed(api, running) == (
        "spec.tolerations: Forbidden: "
        "existing toleration can not be modified except its tolerationSeconds"
    )


def test_a_replacement_without_the_tolerations_that_every_pod_gets_has_them(api, running):
    """Source: plugin DefaultTolerationSeconds, which admits creations and updates."""
    added = copy.deepcopy(running["spec"]["tolerations"])
    del running["spec"]["tolerations"][1:]
    assert api.update("pods", running, writer=CLIENT)["spec"]["tolerations"] == added


def test_a_deadline_only_comes_nearer(api, running):
    path = "spec.activeDeadlineSeconds: Invalid value: "
    running["spec"]["activeDeadlineSeconds"] = 101
    assert changed(api, running) == f"{path}101: must be less than or equal to previous value"
    del running["spec"]["activeDeadlineSeconds"]
    why = "must not update from a positive integer to nil value"
    assert changed(api, running) == f"{path}null: {why}"
    running["spec"]["activeDeadlineSeconds"] = 50
    assert api.update("pods", running, writer=CLIENT)


def test_containers_are_neither_added_nor_removed(api, running):
    running["spec"]["containers"].append({"name": "more", "image": "nginx"})
    why = "Forbidden: pod updates may not add or remove containers"
    assert changed(api, running) == f"spec.containers: {why}"
    running["spec"]["containers"].pop()
    running["spec"]["initContainers"] = [{"name": "more", "image": "nginx"}]
    assert changed(api, running) == f"spec.initContainers: {why}"


def test_nothing_but_the_image_of_a_container_changes(api, running):
    (main,) = running["spec"]["containers"]
    main["image"] = "httpd"
    made = api.update("pods", copy.deepcopy(running), writer=CLIENT)
    running["metadata"] = made["metadata"]
    main["env"] = [{"name": "A", "value": "b"}]
    assert changed(api, running).startswith(
        "spec: Forbidden: pod updates may not change fields other than"
    )


def test_gates_are_taken_away_and_a_gated_pods_nodes_become_fewer(api, make_pod):
    gates = [{"name": "x.io/a"}, {"name": "x.io/b"}]
    made = api.create("pods", make_pod(schedulingGates=gates, nodeSelector={"a": "b"}))
    body = copy.deepcopy(made)
    body["spec"]["schedulingGates"] = [{"name": "x.io/c"}]
    assert changed(api, body) == (
        "spec.schedulingGates: Forbidden: "
        "only deletion is allowed, but found new scheduling gate 'x.io/c'"
    )
    body["spec"] |= {"schedulingGates": gates[:1], "nodeSelector": {"c": "d"}}
    assert "only additions to spec.nodeSelector are allowed" in changed(api, body)
    body["spec"]["nodeSelector"] = {"a": "b", "c": "d"}
    body["metadata"] = api.update("pods", copy.deepcopy(body), writer=CLIENT)["metadata"]
    del body["spec"]["schedulingGates"]
    free = api.update("pods", copy.deepcopy(body), writer=CLIENT)
    body["metadata"] = free["metadata"]
    body["spec"]["nodeSelector"] = {"a": "b"}
    assert changed(api, body).startswith("spec: Forbidden: pod updates may not change fields")


def node_affinity(*terms, **more):
    """Return an affinity for nodes that have all labels of one of the terms."""
    found = [
        {"matchExpressions": [{"key": key, "operator": "Exists"} for key in term]} for term in terms
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": found}}
    return {"nodeAffinity": {**required, **more}}


PREFERRED = [{"weight": 1, "preference": node_affinity("x")["nodeAffinity"][
    "requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]}]  # fmt: skip


def test_the_node_affinity_of_a_gated_pod_is_set_and_narrowed_until_it_is_free(api, make_pod):
    made = api.create("pods", make_pod(schedulingGates=[{"name": "x.io/a"}]))
    body = copy.deepcopy(made)

    def accept(affinity):
        body["spec"]["affinity"] = affinity
        body["metadata"] = api.update("pods", copy.deepcopy(body), writer=CLIENT)["metadata"]

    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": PREFERRED}
    accept({"nodeAffinity": preferred})
    accept(node_affinity("a", "b"))
    accept(node_affinity("a", "bc", **preferred))
    path = (
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
        ".nodeSelectorTerms"
    )
    for wrong, where, why in (
        (node_affinity("a"), "", "no additions/deletions to non-empty NodeSelectorTerms list"),
        (None, "", "no additions/deletions to non-empty NodeSelectorTerms list"),
        (node_affinity("a", "b"), "[1]", "only additions are allowed (no mutations or deletions)"),
        (node_affinity("xa", "bc"), "[0]", "only additions are allowed (no mutations or"),
    ):
        told = changed(api, {**body, "spec": {**body["spec"], "affinity": wrong}})
        assert told.startswith(f"{path}{where}: Invalid value: ")
        assert why in told
    mine = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    other = {**node_affinity("a", "bc"), **mine}
    told = changed(api, {**body, "spec": {**body["spec"], "affinity": other}})
    assert told.startswith("spec: Forbidden: pod updates may not change fields")
    del body["spec"]["schedulingGates"]
    accept(node_affinity("a", "bcd"))
    told = changed(api, {**body, "spec": {**body["spec"], "affinity": node_affinity("a", "bcde")}})
    assert told.startswith("spec: Forbidden: pod updates may not change fields")


def test_ephemeral_containers_come_later_and_claim_nothing(api, make_pod, make_deployment, running):
    guest = {"name": "guest", "image": "busybox"}
    assert said(api, make_pod("other", ephemeralContainers=[guest])) == (
        "spec.ephemeralContainers: Forbidden: cannot be set on create"
    )
    parent = make_deployment()
    parent["spec"]["template"]["spec"]["ephemeralContainers"] = [guest]
    with pytest.raises(ApiStatusError) as error:
        api.create("deployments.apps", parent)
    assert "ephemeral containers not allowed in pod template" in message(error)
    greedy = {**guest, "ports": [{"containerPort": 80}], "livenessProbe": COMMAND}
    running["spec"]["ephemeralContainers"] = [greedy]
    path = "spec.ephemeralContainers[0]"
    assert changed(api, running, subresource="ephemeralcontainers") == (
        f"[{path}.ports: Forbidden: {GUEST}, {path}.livenessProbe: Forbidden: {GUEST}]"
    )
    running["spec"]["ephemeralContainers"] = [guest]
    made = api.update("pods", running, writer=CLIENT, subresource="ephemeralcontainers")
    assert made["spec"]["ephemeralContainers"][0]["name"] == "guest"


QOS = {
    "nothing": ({}, "BestEffort"),
    "a request": ({"requests": {"cpu": "1"}}, "Burstable"),
    "limits for one": ({"limits": {"cpu": "1"}}, "Burstable"),
    "limits for both": ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
    "requests below limits": (
        {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
        "Burstable",
    ),
    "a request of something else": ({"requests": {"ephemeral-storage": "1Gi"}}, "BestEffort"),
    "a request of nothing": ({"requests": {"cpu": "0"}}, "BestEffort"),
    "limits for one and something else": (
        {
            "limits": {"cpu": "1", "ephemeral-storage": "1Gi"},
            "requests": {"cpu": "1", "ephemeral-storage": "1Gi"},
        },
        "Burstable",
    ),
    "less of something else": (
        {
            "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "2Gi"},
            "requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"},
        },
        "Guaranteed",
    ),
    "equal in other words": (
        {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}},
        "Guaranteed",
    ),
}


@pytest.mark.parametrize(("amounts", "wanted"), QOS.values(), ids=QOS)
def test_the_quality_of_service(api, make_pod, amounts, wanted):
    container = {"name": "main", "image": "web", "resources": amounts}
    made = api.create("pods", make_pod("a", containers=[container]), writer=CLIENT)
    assert made["status"]["qosClass"] == wanted


def sized(api, make_pod, **amounts):
    body = make_pod("sized", containers=[{"name": "main", "image": "web", "resources": amounts}])
    return copy.deepcopy(api.bind(api.create("pods", body, writer=CLIENT), "node-1"))


SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "1Gi"}}


def test_a_pod_is_resized_in_place_and_nothing_else_changes(api, make_pod):
    pod = sized(api, make_pod, **SMALL)
    (main,) = pod["spec"]["containers"]
    main["resources"]["requests"] = {"cpu": "150m", "memory": "64Mi"}
    main["resizePolicy"] = [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]
    main["image"] = "other"
    pod["metadata"]["labels"] = {"new": "one"}
    pod["spec"]["nodeName"] = "node-2"
    made = api.update("pods", copy.deepcopy(pod), writer=CLIENT, subresource="resize")
    (shown,) = made["spec"]["containers"]
    assert shown["resources"]["requests"] == {"cpu": "150m", "memory": "64Mi"}
    assert shown["resizePolicy"] == main["resizePolicy"]
    assert (shown["image"], made["spec"]["nodeName"]) == ("web", "node-1")
    assert "new" not in (made["metadata"].get("labels") or {})
    assert made["metadata"]["generation"] == pod["metadata"]["generation"] + 1


ONLY = "spec: Forbidden: only cpu and memory resources are mutable"
QUALITY = "Pod QOS Class may not change as a result of resizing"


@pytest.mark.parametrize(
    ("amounts", "told"),
    [
        (
            {"requests": SMALL["requests"], "limits": {"cpu": "200m"}},
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        (
            {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}},
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
        ),
        ({"requests": SMALL["limits"], "limits": SMALL["limits"]}, QUALITY),
        (
            {"requests": {"cpu": "300m", "memory": "64Mi"}, "limits": SMALL["limits"]},
            "must be less than or equal to cpu limit of 200m",
        ),
        ({**SMALL, "limits": {**SMALL["limits"], "x.io/gpu": "1"}}, ONLY),
    ],
)
def test_a_resize_is_refused_that_a_node_could_not_make(api, make_pod, amounts, told):
    pod = sized(api, make_pod, **SMALL)
    pod["spec"]["containers"][0]["resources"] = amounts
    assert told in changed(api, pod, subresource="resize")


def test_a_resize_neither_adds_nor_renames_containers(api, make_pod):
    pod = sized(api, make_pod, **SMALL)
    pod["spec"]["containers"].append({"name": "other", "image": "web"})
    assert ONLY in changed(api, pod, subresource="resize")
    pod["spec"]["containers"] = [{**pod["spec"]["containers"][0], "name": "renamed"}]
    assert ONLY in changed(api, pod, subresource="resize")
