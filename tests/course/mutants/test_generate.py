from textwrap import dedent

import pytest

from k8slab.course import load
from k8slab.course.answers import Answer
from k8slab.course.mutants import mutants
from k8slab.objects import manifests

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: lab90-protect}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - namespaceSelector: {matchLabels: {team: a}}
          podSelector: {matchLabels: {app: web}}
        - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
      ports: [{port: 8080}, {port: dns, protocol: UDP}]
  egress:
    - to: [{namespaceSelector: {}}, {podSelector: {}}]
      ports: [{port: 53, protocol: UDP, endPort: 54}]
"""
CLUSTER_POLICY = """
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: c}
spec:
  tier: Admin
  priority: 10
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}}
  ingress:
    - action: Deny
      from: [{namespaces: {matchExpressions: [{key: team, operator: In, values: [a, b]}]}}]
      protocols: [{tcp: {destinationPort: {number: 8080}}}]
"""


@pytest.fixture(scope="module")
def exercise():
    return load("tests/data/solutions/90-example").exercise("protect")


def names(exercise, text):
    documents = tuple(manifests.load_values(dedent(text).encode(), "test"))
    return [
        mutant.name for mutant in mutants(exercise, Answer("reference", "reference", documents))
    ]


@pytest.mark.parametrize(
    "name",
    [
        "p policyTypes Ingress",
        "p policyTypes Egress",
        "p podSelector without app",
        "p podSelector app=db -> batch",
        "p ingress[0] dropped",
        "p ingress[0].from emptied: everybody",
        "p ingress[0].from[0] dropped",
        "p ingress[0].from[0] split (and -> or)",
        "p ingress[0].from[0].namespaceSelector dropped",
        "p ingress[0].from[0].podSelector dropped",
        "p ingress[0].from[0].podSelector app=web -> batch",
        "p ingress[0].from[1].ipBlock without except 10.1.0.0/16",
        "p ingress[0].from[1].ipBlock 10.0.0.0/8 -> 0.0.0.0/0",
        "p ingress[0].from[1].ipBlock 10.0.0.0/8 -> 10.0.0.0/7",
        "p ingress[0].from[1].ipBlock 10.0.0.0/8 -> 10.0.0.0/9",
        "p ingress[0].ports emptied: all ports",
        "p ingress[0].ports[0] 8080/TCP dropped",
        "p ingress[0].ports[0] 8080/TCP -> 8081",
        "p ingress[0].ports[0] 8080/TCP -> UDP",
        "p ingress[0].ports[1] dns/UDP -> dns-x",
        "p egress[0] dropped",
        "p egress[0].to[0] and [1] joined (or -> and)",
        "p egress[0].to[1] in every namespace",
        "p egress[0].ports[0] without endPort",
        "beside it everything open",
        "instead everything shut",
    ],
)
def test_a_network_policy_is_spoilt_in_every_way_that_people_spoil_it(exercise, name):
    assert name in names(exercise, POLICY)


@pytest.mark.parametrize(
    "name",
    [
        "c tier Admin -> Baseline",
        "c subject.pods.podSelector app=db -> batch",
        "c subject whole namespaces",
        "c ingress[0] dropped",
        "c ingress[0] Accept",
        "c ingress[0] Pass",
        "c ingress[0].from[0].namespaces team In -> NotIn",
        "c ingress[0].from[0].namespaces team In without a",
        "c ingress[0].protocols left out: all ports",
        "c ingress[0].protocols[0] 8080 -> 8081",
        "c ingress[0].protocols[0] tcp -> udp",
    ],
)
def test_a_cluster_network_policy_is_spoilt_too(exercise, name):
    assert name in names(exercise, CLUSTER_POLICY)


def test_other_objects_are_spoilt_where_something_depends_on_them(exercise):
    service = """
    apiVersion: v1
    kind: Service
    metadata: {name: db, labels: {note: nothing reads it}}
    spec:
      externalTrafficPolicy: Local
      selector: {app: db}
      ports: [{port: 80, targetPort: 8080}]
    """
    assert names(exercise, service) == [
        "service db name db -> db-x",
        "service db externalTrafficPolicy Local -> Cluster",
        "service db selector.app db -> batch",
        "service db ports[0].port 80 -> 81",
        "service db ports[0].targetPort 8080 -> 8081",
    ]


def test_containers_arguments_and_labels_of_pods_are_spoilt(exercise):
    pod = """
    apiVersion: v1
    kind: Pod
    metadata: {name: web, labels: {app: web}}
    spec:
      hostNetwork: true
      containers:
        - {name: a, image: k8slab/app, args: ["--port", "7000"]}
        - {name: b, image: k8slab/app, ports: [{containerPort: 1}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: s}
    spec: {selector: {app: web}, ports: [{port: 1}]}
    """
    assert [name for name in names(exercise, pod) if name.startswith("pod")] == [
        "pod web left out",
        "pod web name web -> web-x",
        "pod web label app dropped",
        "pod web label app=web -> batch",
        "pod web hostNetwork True -> False",
        "pod web containers[0].args[1] 7000 -> 7001",
        "pod web container a dropped",
        "pod web container b dropped",
    ]


def test_commands_and_what_is_typed_are_spoilt(exercise):
    text = """
    kubectl: [label pod web app=shop, expose pod web --port 80]
    ---
    answers: {address: {object: pods/web, path: status.podIP}, many: 3, open: "yes"}
    """
    assert names(exercise, text) == [
        "kubectl command 1 left out",
        "kubectl command 1: app=shop -> app=shop-x",
        "kubectl command 2 left out",
        "kubectl command 2: 80 -> 81",
        "answer address not answered",
        "answer address of db",
        "answer address of batch",
        "answer address as status.hostIP",
        "answer many not answered",
        "answer many 4",
        "answer open not answered",
        "answer open no",
    ]


@pytest.mark.parametrize("text", [POLICY, CLUSTER_POLICY])
def test_every_mutant_is_another_document_and_the_answer_stays_as_it_was(exercise, text):
    documents = tuple(manifests.load_values(text.encode(), "test"))
    found = mutants(exercise, Answer("reference", "reference", documents))
    texts = [repr(mutant.documents) for mutant in found]
    assert len({*texts, repr(documents)}) == len(texts) + 1
    assert len({mutant.name for mutant in found}) == len(found)
    assert documents == tuple(manifests.load_values(text.encode(), "test"))
