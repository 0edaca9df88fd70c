"""Nonsense in any field is a `ManifestError` that names the object, and nothing else."""

import copy
import random

import pytest
import yaml

from k8slab import policy
from k8slab.errors import ManifestError
from k8slab.testing.chance import Chance

NONSENSE = (
    *(None, True, 0, -1, 1.5, 10**30, "", "x", "80", "a/b c", "\u0000", [], [None], [[]], {}),
    *({"a": {}}, {"": None}, [{}], {"matchLabels": []}, "10.0.0.0/99", {"cidr": 5}, float("nan")),
)
FAITHFUL = {
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "one", "labels": {"app": "web"}},
    "spec": {
        "nodeName": "n", "serviceAccountName": "s", "hostNetwork": False,
        "initContainers": [{"restartPolicy": "Always", "ports": [{"containerPort": 1}]}],
        "containers": [{"ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]}],
    },
    "status": {"podIPs": [{"ip": "10.0.0.1"}], "phase": "Running",
               "conditions": [{"type": "Ready", "status": "True"}]},
}  # fmt: skip
OTHERS = tuple(
    yaml.safe_load("""
- {kind: Namespace, metadata: {name: one, labels: {team: red}}}
- {kind: Node, metadata: {name: n}, status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}}
- kind: Deployment
  metadata: {name: d, namespace: one}
  spec: {template: {metadata: {labels: {app: d}}, spec: {containers: [{ports: [{name: http,
         containerPort: 80}]}]}}}
- kind: Service
  metadata: {name: s, namespace: one}
  spec: {selector: {app: web}, clusterIP: 10.96.0.9, type: NodePort,
         ports: [{name: a, port: 80, targetPort: http, nodePort: 30000}]}
- kind: EndpointSlice
  metadata: {name: e, labels: {kubernetes.io/service-name: s}}
  addressType: IPv4
  endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}]
  ports: [{name: a, port: 80}]
- kind: Ingress
  metadata: {name: i}
  spec: {rules: [{host: h, http: {paths: [{path: /, backend: {service: {name: s,
         port: {number: 80}}}}]}}]}
- kind: HTTPRoute
  metadata: {name: r}
  spec: {hostnames: [h], rules: [{matches: [{path: {value: /}}],
         backendRefs: [{name: s, port: 80}]}]}
""")
)


def places(value, path=()):
    """Yield the paths of all values within a value."""
    children = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for step, child in children:
        yield (*path, step)
        yield from places(child, (*path, step))


def spoilt(obj, chance):
    """Return the object with nonsense, or an unknown field, in one place."""
    found = copy.deepcopy(obj)
    path = chance.choice(
        [path for path in places(found) if path[0] in ("metadata", "spec", "status")]
    )
    parent = found
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = chance.choice(NONSENSE)
    return found


@pytest.mark.parametrize("part", range(2))
def test_nonsense_in_any_field_is_an_error_with_the_objects_name_or_means_something(part):
    chance = random.Random(1000 + part)
    made = Chance(2000 + part)
    refused = 0
    for number in range(600):
        faithful = chance.choice(
            (made.network_policy(number), made.cluster_policy(number), made.calico_policy(number),
             FAITHFUL, *OTHERS)
        )  # fmt: skip
        message = outcome([FAITHFUL, *OTHERS, spoilt(faithful, chance)])
        assert message == "" or message.startswith(faithful["kind"])
        refused += bool(message)
    assert refused > 150


def outcome(objects):
    """Return why objects are refused; empty when they mean something."""
    try:
        estate = policy.compile(objects)
    except ManifestError as error:
        return error.message
    assert list(estate.connections()) is not None
    return ""


ODD = [{}, {"kind": None}, {"kind": "NetworkPolicy"}, {"kind": ["Pod"]}]


@pytest.mark.parametrize(
    "obj", [*ODD, {"kind": "Pod", "metadata": "x"}, {"kind": "Pod", "spec": 1}]
)
def test_an_object_that_is_hardly_one_is_refused_or_means_nothing(obj):
    assert outcome([obj]).startswith(("", "NetworkPolicy", "Pod"))
