"""What is refused, and the words in which a real server refuses it."""

from __future__ import annotations

import pytest

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.validation import names
from k8slab.errors import ApiStatusError

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
CONTAINER = {"name": "main", "image": "nginx"}


def said(api, resource, obj) -> str:
    obj = {"metadata": {"name": "x", "namespace": "default"}, **obj}
    with pytest.raises(ApiStatusError) as error:
        api.create(resource, obj)
    assert error.value.code == 422, error.value
    return error.value.message.split(" is invalid: ", 1)[1]


@pytest.mark.parametrize("name", ["Web", "-a", "a_b", "a..b", "é", "a b", "a" * 254])
def test_names_are_dns_subdomains(api, name):
    with pytest.raises(ApiStatusError) as error:
        api.create("configmaps", {"metadata": {"name": name, "namespace": "default"}})
    assert "metadata.name: Invalid value: " in error.value.message


def test_a_bad_name_is_explained_in_the_words_of_a_real_server():
    assert names.dns_subdomain("A") == [
        (
            "a lowercase RFC 1123 subdomain must consist of lower case "
            "alphanumeric characters, '-' or "
            "'.', and must start and end with an alphanumeric character "
            "(e.g. 'example.com', regex used "
            "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
    ]
    assert names.dns_1035_label("1a") == [
        (
            "a DNS-1035 label must consist of lower case alphanumeric "
            "characters or '-', start with an "
            "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
            "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    ]
    assert names.label_value("a b") == [
        (
            "a valid label must be an empty string or consist of "
            "alphanumeric characters, '-', '_' or "
            "'.', and must start and end with an alphanumeric character "
            "(e.g. 'MyValue',  or 'my_value'"
            ",  or '12345', regex used for validation is "
            "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        )
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec.containers: Required value"),
        ({"containers": [{"name": "a"}]}, "spec.containers[0].image: Required value"),
        ({"containers": [{"image": "a"}]}, "spec.containers[0].name: Required value"),
        (
            {"containers": [CONTAINER, CONTAINER]},
            'spec.containers[1].name: Duplicate value: "main"',
        ),
        (
            {"containers": [CONTAINER], "restartPolicy": "Sometimes"},
            (
                'spec.restartPolicy: Unsupported value: "Sometimes": supported values: '
                '"Always", "OnFailure", "Never"'
            ),
        ),
        (
            {"containers": [{**CONTAINER, "ports": [{"containerPort": 70000}]}]},
            (
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: "
                "must be between 1 and 65535, inclusive"
            ),
        ),
        (
            {"containers": [{**CONTAINER, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
            'spec.containers[0].volumeMounts[0].name: Not found: "v"',
        ),
        (
            {"containers": [{**CONTAINER, "readinessProbe": {}}]},
            "spec.containers[0].readinessProbe: Required value: must specify a handler type",
        ),
        (
            {"containers": [{**CONTAINER, "resources": {"requests": {"cpu": "much"}}}]},
            (
                "spec.containers[0].resources.requests[cpu]: Invalid value: "
                '"much": quantities must match '
                "the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            ),
        ),
    ],
)
def test_a_wrong_pod_is_refused(api, spec, message):
    assert said(api, "pods", {"spec": spec}) == message


def test_most_of_a_pod_cannot_change(api, make_pod):
    api.create("pods", make_pod())
    changed = api.patch("pods", "web", "default", {"spec": {"activeDeadlineSeconds": 5}})
    assert changed["spec"]["activeDeadlineSeconds"] == 5
    with pytest.raises(ApiStatusError, match="pod updates may not change fields other than"):
        api.patch("pods", "web", "default", {"spec": {"hostname": "other"}})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec.ports: Required value"),
        (
            {"ports": [{"port": 0}]},
            (
                "[spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, "
                "spec.ports[0].targetPort: Invalid value: 0: must be between "
                "1 and 65535, inclusive]"
            ),
        ),
        (
            {"ports": [{"port": 1}, {"port": 2}]},
            "[spec.ports[0].name: Required value, spec.ports[1].name: Required value]",
        ),
        (
            {"ports": [{"port": 1}], "type": "Cluster"},
            (
                'spec.type: Unsupported value: "Cluster": supported values: '
                '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
            ),
        ),
        (
            {"ports": [{"port": 1}], "clusterIP": "abc"},
            (
                'spec.clusterIPs[0]: Invalid value: "abc": must be a valid IP address, '
                "(e.g. 10.9.8.7 or 2001:db8::ffff)"
            ),
        ),
        (
            {"ports": [{"port": 1}], "clusterIP": "None", "type": "NodePort"},
            (
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' "
                "for NodePort services"
            ),
        ),
        (
            {"ports": [{"port": 1, "nodePort": 30000}]},
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        (
            {"ports": [{"port": 1}], "externalTrafficPolicy": "Local"},
            (
                'spec.externalTrafficPolicy: Invalid value: "Local": '
                "may only be set for externally-accessible services"
            ),
        ),
        (
            {"ports": [{"port": 1}], "trafficDistribution": "Near"},
            (
                'spec.trafficDistribution: Unsupported value: "Near": supported values: '
                '"PreferClose", "PreferSameZone", "PreferSameNode"'
            ),
        ),
    ],
)
def test_a_wrong_service_is_refused(api, spec, message):
    assert said(api, "services", {"spec": spec}) == message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"ingress": [{"from": [{}]}]},
            "spec.ingress[0].from[0]: Required value: must specify a peer",
        ),
        (
            {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}]},
            (
                'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.1": '
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            ),
        ),
        (
            {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]},
            (
                'spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": '
                "must be a strict subset of `cidr`"
            ),
        ),
        (
            {
                "ingress": [
                    {"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]},
                ]
            },
            "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
        ),
        (
            {"ingress": [{"ports": [{"port": 80, "endPort": 70}]}]},
            (
                "spec.ingress[0].ports[0].endPort: Invalid value: 70: "
                "must be greater than or equal to `port`"
            ),
        ),
        (
            {"ingress": [{"ports": [{"port": "http", "endPort": 70}]}]},
            (
                "spec.ingress[0].ports[0].endPort: Invalid value: 70: "
                "may not be specified when `port` is non-numeric"
            ),
        ),
        (
            {"policyTypes": ["Outgress"]},
            (
                'spec.policyTypes[0]: Unsupported value: "Outgress": supported values: '
                '"Ingress", "Egress"'
            ),
        ),
        (
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            (
                "spec.podSelector.matchExpressions[0].values: Required value: "
                "must be specified when `operator` is 'In' or 'NotIn'"
            ),
        ),
    ],
)
def test_a_wrong_network_policy_is_refused(api, spec, message):
    assert said(api, "networkpolicies.networking.k8s.io", {"spec": spec}) == message


def test_policy_types_default_by_the_sections_that_are_there(api):
    for number, (spec, types) in enumerate(
        [
            ({}, ["Ingress"]),
            ({"egress": []}, ["Ingress"]),
            ({"egress": [{}]}, ["Ingress", "Egress"]),
            ({"policyTypes": ["Egress"]}, ["Egress"]),
        ]
    ):
        made = api.create(
            "networkpolicies.networking.k8s.io",
            {"metadata": {"name": f"p{number}", "namespace": "default"}, "spec": spec},
        )
        assert made["spec"]["policyTypes"] == types


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"selector": None}, "spec.selector: Required value"),
        (
            {"selector": {}},
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        ),
        (
            {"selector": {"matchLabels": {"app": "other"}}},
            (
                'spec.template.metadata.labels: Invalid value: {"app":"x"}: '
                "`selector` does not match template `labels`"
            ),
        ),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            (
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` "
                "is 'Recreate'"
            ),
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            (
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: "
                "may not be 0 when `maxSurge` is 0"
            ),
        ),
    ],
)
def test_a_wrong_deployment_is_refused(api, make_deployment, change, message):
    wrong = make_deployment("x")
    wrong["spec"].update(change)
    assert said(api, "deployments.apps", wrong) == message


def test_the_selector_of_a_deployment_cannot_change(api, make_deployment):
    api.create("deployments.apps", make_deployment())
    labels = {"app": "other"}
    patch = {
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}
    }
    with pytest.raises(ApiStatusError, match="field is immutable"):
        api.patch("deployments.apps", "web", "default", patch)


def test_a_config_map_is_limited_to_a_mebibyte(api):
    assert "[]: Too long: may not be more than 1048576 bytes" in said(
        api, "configmaps", {"data": {"a": "x" * (1024 * 1024 + 1)}}
    )
    assert "a valid config key must consist of" in said(api, "configmaps", {"data": {"a/b": ""}})


def test_a_secret_holds_base64_and_its_text_is_encoded(api):
    made = api.create(
        "secrets", {"metadata": {"name": "s", "namespace": "default"}, "stringData": {"a": "b"}}
    )
    assert made["data"] == {"a": "Yg=="}
    assert "stringData" not in made
    assert "illegal base64" in said(api, "secrets", {"data": {"a": "%"}})


def test_several_errors_are_told_together(api):
    message = said(api, "pods", {"spec": {"containers": [{}], "dnsPolicy": "Mine"}})
    assert message.startswith("[spec.containers[0].name: Required value, ")
    assert 'spec.dnsPolicy: Unsupported value: "Mine"' in message


@pytest.mark.parametrize(
    ("affinity", "message"),
    [
        (
            {"nodeAffinity": {REQUIRED: {}}},
            "nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            {
                "nodeAffinity": {
                    REQUIRED: {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "a", "operator": "Gt", "values": []}]}
                        ]
                    }
                }
            },
            "Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        (
            {"podAffinity": {REQUIRED: [{"labelSelector": {"matchExpressions": [{}]}}]}},
            'operator: Invalid value: "": not a valid selector operator',
        ),
        (
            {"podAntiAffinity": {REQUIRED: [{"labelSelector": {}}]}},
            "topologyKey: Required value: can not be empty",
        ),
    ],
)
def test_an_affinity_that_no_scheduler_understands_is_refused(api, affinity, message):
    containers = [{"name": "a", "image": "nginx"}]
    assert message in said(api, "pods", {"spec": {"affinity": affinity, "containers": containers}})


@pytest.mark.parametrize(
    ("rolling", "message"),
    [
        ({"maxSurge": "10.0.0.1"}, "a valid percent string must be a numeric string"),
        ({"maxSurge": 1}, "may not be set when maxUnavailable is non-zero"),
        ({"maxUnavailable": 0}, "cannot be 0 when maxSurge is not set"),
    ],
)
def test_a_daemon_set_rolls_one_way(api, make_deployment, rolling, message):
    spec = make_deployment()["spec"]
    spec["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert message in said(api, "daemonsets.apps", {"spec": spec})


def test_an_aggregation_rule_needs_selectors_that_can_be_read(api):
    roles = "clusterroles.rbac.authorization.k8s.io"
    empty = {"metadata": {"name": "x"}, "aggregationRule": {}}
    assert "at least one clusterRoleSelector required" in said(api, roles, empty)
    odd = {"clusterRoleSelectors": [{"matchExpressions": [{"key": "a"}]}]}
    obj = {"metadata": {"name": "x"}, "aggregationRule": odd}
    assert "not a valid selector operator" in said(api, roles, obj)


def test_of_very_many_errors_the_first_are_told(api):
    metadata = {"name": "x", "namespace": "default", "ownerReferences": [{}] * 1000}
    with pytest.raises(ApiStatusError) as error:
        api.create("configmaps", {"metadata": metadata})
    assert len(error.value.details["causes"]) == 500
    assert error.value.message.endswith(", and more errors]")


def test_nobody_looks_for_more_errors_than_are_told():
    errors, seen = [], []
    for place, item in statuses.each(range(60_000), errors):
        seen.append((place, item))
        errors.append(statuses.required(f"spec.items[{place}]"))
    assert seen == [(number, number) for number in range(statuses.MOST_ERRORS + 1)]


def test_a_service_has_at_most_two_addresses(api):
    addresses = ["10.96.0.77"] * 3
    spec = {"clusterIP": addresses[0], "clusterIPs": addresses, "ports": [{"port": 80}]}
    listed = '["10.96.0.77","10.96.0.77","10.96.0.77"]'
    message = f"spec.clusterIPs: Invalid value: {listed}: may only hold up to 2 values"
    assert said(api, "services", {"spec": spec}) == message


PRIORITIES = "priorityclasses.scheduling.k8s.io"


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        (
            "big",
            {"value": 1_000_000_001},
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
        ),
        (
            "system-mine",
            {"value": 1},
            (
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved "
                "for system use only. error: system-mine is not a known system priority class"
            ),
        ),
        (
            "system-node-critical",
            {"value": 1},
            (
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved "
                "for system use only. error: value of system-node-critical PriorityClass must be "
                "2000001000"
            ),
        ),
        (
            "odd",
            {"value": 1, "preemptionPolicy": "Always"},
            (
                'preemptionPolicy: Unsupported value: "Always": '
                'supported values: "PreemptLowerPriority", "Never"'
            ),
        ),
    ],
)
def test_a_priority_class_of_a_user_stays_below_the_systems(api, name, body, message):
    assert said(api, PRIORITIES, {"metadata": {"name": name}, **body}) == message


def test_one_priority_class_is_for_pods_without_one(api, make_pod):
    default = {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True}
    api.create(PRIORITIES, {**default, "preemptionPolicy": "Never"})
    second = {**default, "metadata": {"name": "second"}}
    words = "PriorityClass usual is already marked as default. Only one default can exist"
    with pytest.raises(ApiStatusError, match=words):
        api.create(PRIORITIES, second)
    api.create(PRIORITIES, {**second, "globalDefault": False})
    with pytest.raises(ApiStatusError, match=words):
        api.patch(PRIORITIES, "second", "", {"globalDefault": True})
    spec = api.create("pods", make_pod())["spec"]
    found = {field: spec[field] for field in ("priorityClassName", "priority", "preemptionPolicy")}
    assert found == {"priorityClassName": "usual", "priority": 7, "preemptionPolicy": "Never"}
    with pytest.raises(ApiStatusError, match=r"integer value of priority \(5\) must not be provi"):
        api.create("pods", make_pod("other", priority=5))


CLAIMS = "persistentvolumeclaims"


@pytest.fixture
def resize(api):
    """Make a claim of 2Gi, and return a function that changes its spec."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    api.create(CLAIMS, {"metadata": {"name": "c", "namespace": "default"}, "spec": spec})

    def changed(storage=None, **fields):
        if storage:
            fields["resources"] = {"requests": {"storage": storage}}
        return api.patch(CLAIMS, "c", "default", {"spec": fields})["spec"]

    return changed


def test_a_claim_that_is_not_bound_gets_its_volume_and_its_class_and_changes_in_nothing_else(
    resize,
):
    for change in ({"storage": "3Gi"}, {"storage": "1Gi"}, {"accessModes": ["ReadOnlyMany"]}):
        with pytest.raises(ApiStatusError, match="spec is immutable after creation except"):
            resize(**change)
    assert resize("2048Mi")["resources"]["requests"]["storage"] == "2048Mi"
    assert resize(volumeName="v", storageClassName="s")["volumeName"] == "v"
    for change in ({"volumeName": "w"}, {"storageClassName": "t"}, {"storageClassName": None}):
        with pytest.raises(ApiStatusError, match="spec is immutable after creation except"):
            resize(**change)


def test_a_bound_claim_grows_and_takes_back_no_more_than_what_it_has_not_got(api, resize):
    status = {"phase": "Bound", "capacity": {"storage": "2Gi"}}
    api.patch(CLAIMS, "c", "default", {"status": status}, subresource="status")
    assert resize("4Gi")["resources"]["requests"]["storage"] == "4Gi"
    assert resize("3Gi", volumeAttributesClassName="fast")["volumeAttributesClassName"] == "fast"
    for less in ("2Gi", "1Gi"):
        with pytest.raises(ApiStatusError, match=r"can not be less than status\.capacity"):
            resize(less)
    with pytest.raises(ApiStatusError, match="spec is immutable after creation except"):
        resize(accessModes=["ReadOnlyMany"])


def test_a_lease_lasts_and_counts_upwards(api):
    spec = {"leaseDurationSeconds": 0, "leaseTransitions": -1}
    assert said(api, "leases.coordination.k8s.io", {"spec": spec}) == (
        "[spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0, "
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0]"
    )


def test_a_slice_has_at_most_a_thousand_addresses_that_others_reach(api):
    slices = "endpointslices.discovery.k8s.io"
    many = [{"addresses": ["10.0.0.1"]}] * 1001
    assert said(api, slices, {"addressType": "IPv4", "endpoints": many}) == (
        "endpoints: Too many: 1001: must have at most 1000 items"
    )
    own = [{"addresses": ["127.0.0.1"]}]
    assert said(api, slices, {"addressType": "IPv4", "endpoints": own}) == (
        'endpoints[0].addresses[0]: Invalid value: "127.0.0.1": '
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    )


BALANCED = "may only be used when `type` is 'LoadBalancer'"
NAMED = "may not be set for ExternalName services"
GROUP = 'supported values: "rbac.authorization.k8s.io"'


def web(**spec):
    return {"spec": {"ports": [{"port": 80}], **spec}}


def bound(subject=None, **role):
    reference = {"kind": "Role", "name": "r", **role}
    return {"roleRef": reference, "subjects": [subject] if subject else []}


def tainted(*taints):
    return {"spec": {"taints": list(taints)}}


@pytest.mark.parametrize(
    ("resource", "obj", "what"),
    [
        ("services", web(externalIPs=["127.0.0.1"]), "may not be in the loopback range"),
        (
            "services",
            web(loadBalancerClass="x.io/y"),
            f"spec.loadBalancerClass: Forbidden: {BALANCED}",
        ),
        (
            "services",
            web(allocateLoadBalancerNodePorts=False),
            f"spec.allocateLoadBalancerNodePorts: Forbidden: {BALANCED}",
        ),
        (
            "services",
            web(loadBalancerSourceRanges=["10.0.0.0/8"]),
            f"spec.LoadBalancerSourceRanges: Forbidden: {BALANCED}",
        ),
        (
            "services",
            {"spec": {"type": "ExternalName", "externalName": "a.b", "ipFamilies": ["IPv4"]}},
            f"spec.ipFamilies: Forbidden: {NAMED}",
        ),
        (
            "poddisruptionbudgets.policy",
            {"spec": {"maxUnavailable": "150%"}},
            'spec.maxUnavailable: Invalid value: "150%": must not be greater than 100%',
        ),
        (
            "rolebindings.rbac.authorization.k8s.io",
            bound(apiGroup="x"),
            f'roleRef.apiGroup: Unsupported value: "x": {GROUP}',
        ),
        (
            "rolebindings.rbac.authorization.k8s.io",
            bound({"kind": "User", "name": "u", "apiGroup": "x"}),
            f'subjects[0].apiGroup: Unsupported value: "x": {GROUP}',
        ),
        (
            "rolebindings.rbac.authorization.k8s.io",
            bound({"kind": "ServiceAccount", "name": "u", "namespace": "n", "apiGroup": "x"}),
            'subjects[0].apiGroup: Unsupported value: "x": supported values: ""',
        ),
        (
            "ingresses.networking.k8s.io",
            {
                "spec": {
                    "defaultBackend": {"service": {"name": "s", "port": {"name": "p", "number": 1}}}
                }
            },
            "cannot set both port name & port number",
        ),
        (
            "ingresses.networking.k8s.io",
            {
                "spec": {
                    "defaultBackend": {"service": {"name": "s", "port": {"number": 1}}},
                    "tls": [{"hosts": ["a.b", "_"]}],
                }
            },
            'spec.tls[0].hosts[1]: Invalid value: "_": a lowercase RFC 1123 subdomain',
        ),
        (
            "pods",
            {
                "spec": {
                    "containers": [
                        {
                            **CONTAINER,
                            "securityContext": {
                                "privileged": True,
                                "allowPrivilegeEscalation": False,
                            },
                        }
                    ]
                }
            },
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
        ("storageclasses.storage.k8s.io", {}, "provisioner: Required value"),
        (
            "nodes",
            tainted({"key": "a", "effect": "Never"}),
            (
                'metadata.taints[0].effect: Unsupported value: "Never": supported values: '
                '"NoSchedule", "PreferNoSchedule", "NoExecute"'
            ),
        ),
        (
            "nodes",
            tainted({"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}),
            "taints must be unique by key and effect pair",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(api, resource, obj, what):
    if resource in ("nodes", "storageclasses.storage.k8s.io"):
        obj = {**obj, "metadata": {"name": "x"}}
    assert what in said(api, resource, obj)


def test_a_label_key_is_refused_in_the_words_of_its_own_check():
    """Source: IsLabelKey in k8s.io/apimachinery/pkg/api/validate/content."""
    must = (
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
        "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    )
    assert names.qualified_name("a/b/c") == [
        (
            f"a valid label key {must} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        )
    ]
    assert names.qualified_name("a" * 64) == ["name part must be no more than 63 bytes"]
    assert names.qualified_name("a" * 254 + "/b") == ["prefix part must be no more than 253 bytes"]
    assert names.qualified_name("a b") == [f"name part {must}"]
