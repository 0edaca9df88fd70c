"""The grader on the real embedded cluster: real packets, real drops."""

from pathlib import Path

import pytest

from k8slab import clusters
from k8slab.course import Journal, Session, load
from k8slab.grading import Blame, Context, Status, Want
from k8slab.grading.canaries import Canaries
from k8slab.grading.checks import run_check
from k8slab.grading.flows import check_flows
from k8slab.grading.polling import Polling
from k8slab.objects import manifests, meta
from k8slab.policy import Flow

LAB = Path(__file__).parents[1] / "data" / "solutions" / "90-example"


@pytest.fixture
def session(cluster, tmp_path):
    session = Session(load(LAB), cluster, Journal(tmp_path / "progress.sqlite"))
    yield session
    for exercise in session.lab.exercises.values():
        cluster.delete("namespaces", exercise.namespace)
        cluster.wait("namespaces", exercise.namespace, until="delete")


def apply_solution(session, change=lambda text: text):
    text = change(session.lab.exercise("protect").solution)
    session.cluster.apply(manifests.load(text), namespace="lab90-protect")


def test_an_exercise_is_failed_and_then_solved_with_real_packets(session):
    session.begin("protect")
    before = session.check("protect")
    assert before.status is Status.FAILED
    assert before.counterexample.what.startswith("lab90-protect/batch -> lab90-protect/db")
    apply_solution(session)
    told = session.check("protect").text().splitlines()
    assert told[0] == "+ protect: solved, 2 of 2 points"
    assert told[1:4] == [
        "  + nothing else changed",
        "  + flows",
        " " * 6 + "all 3 flows are as wanted",
    ]
    assert told[-2] == "  + the same with new pods"


@pytest.mark.parametrize(
    ("mutant", "what"),
    [
        (lambda text: text.replace("app: web", "app: batch"), "web -> lab90-protect/db"),
        (lambda text: text.replace("port: http", "port: 9"), "web -> lab90-protect/db"),
        (lambda text: text.replace("{app: db}", "{app: nobody}"), "batch -> lab90-protect/db"),
        (lambda text: text.replace("matchLabels: {app: db}", ""), "batch -> lab90-protect/web"),
    ],
)
def test_wrong_answers_fail_with_the_flow_that_shows_it(session, mutant, what):
    session.begin("protect")
    apply_solution(session, mutant)
    result = session.check("protect")
    assert result.status is Status.FAILED
    assert f"lab90-protect/{what}" in result.counterexample.what


def test_a_dead_server_is_inconclusive_on_the_real_cluster(cluster, namespace):
    text = (LAB / "manifests" / "shop.yaml").read_text()
    cluster.apply(manifests.load(text), namespace=namespace)
    cluster.wait("pods", "", namespace, until="ready")
    deny = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny}, spec: {podSelector: {}}}"  # noqa: E501
    cluster.apply(manifests.load(deny), namespace=namespace)
    flow = Flow.of("batch", "db", 8081, namespace=namespace)
    context = Context(cluster, namespace, baseline=frozenset({str(flow)}), deadline=2)
    finding = check_flows(context, [Want(flow, "blocked")])
    assert finding.status is Status.INCONCLUSIVE
    assert "nothing answers on port 8081/TCP" in finding.lines[0]


def test_a_service_before_addresses_that_are_no_pods_can_be_blocked(cluster, namespace):
    text = (LAB / "manifests" / "shop.yaml").read_text()
    deny = (
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny}, "
        "spec: {podSelector: {}, policyTypes: [Egress]}}"
    )
    cluster.apply(manifests.load(f"{text}---\n{deny}"), namespace=namespace)
    cluster.wait("pods", "", namespace, until="ready")
    flow = Flow.of("web", "svc:default/kubernetes", 443, namespace=namespace)
    context = Context(cluster, namespace, baseline=frozenset({str(flow)}))
    finding = check_flows(context, [Want(flow, "silent")])
    assert finding.status is Status.PASSED, finding
    assert finding.flows[0].predicted == "deny"
    # Nobody can ask the node's inside: without the baseline nothing is known.
    unknown = check_flows(Context(cluster, namespace), [Want(flow, "silent")])
    assert unknown.status is Status.INCONCLUSIVE
    assert "it is not known that svc:default/kubernetes ever answered" in unknown.lines[0]


def test_canaries_show_that_this_cluster_enforces_on_every_node(cluster):
    nodes = [node["metadata"]["name"] for node in cluster.list("nodes")]
    assert Canaries(cluster).failing(nodes, 10) == ()


def test_dns_http_field_and_answer_are_read_from_the_cluster(cluster, namespace):
    text = (LAB / "manifests" / "shop.yaml").read_text()
    service = (
        "{apiVersion: v1, kind: Service, metadata: {name: db}, "
        "spec: {selector: {app: db}, ports: [{port: 80, targetPort: http}]}}"
    )
    cluster.apply(manifests.load(f"{text}---\n{service}"), namespace=namespace)
    cluster.wait("pods", "", namespace, until="ready")
    context = Context(cluster, namespace, answers={"ip": "nonsense"}, deadline=3)

    def status(**spec):
        return run_check(context, spec).status

    address = {"object": "services/db", "path": "spec.clusterIP"}
    dns = {"check": "dns", "from": "web", "name": "db"}
    assert status(**dns, resolves=address) is Status.PASSED
    assert status(**dns, resolves=False) is Status.FAILED
    assert status(check="dns", **{"from": "web"}, name="no-such", resolves=False) is Status.PASSED
    for zone in ("default.pod.cluster.local", "ip.example.net"):  # names that nobody has written
        assert status(**(dns | {"name": f"{{drawn}}.{zone}"})) is Status.PASSED
    ask = {"check": "http", "from": "web", "url": "http://db/json"}
    assert status(**ask, json={"pod": "db"}) is Status.PASSED
    assert status(**ask, json={"pod": "web"}) is Status.FAILED
    assert status(**ask, status=404) is Status.FAILED
    assert status(check="field", count="pods", equals=3) is Status.PASSED
    answer = {"check": "answer", "id": "ip", "question": "?"}
    where = {"object": "pods/web", "path": "status.podIP"}
    assert status(**answer, value=where) is Status.FAILED
    context.answers["ip"] = cluster.get("pods", "web", namespace)["status"]["podIP"]
    assert status(**answer, value=where) is Status.PASSED


HOOKS = ("forward-egress", "forward-ingress", "input-egress")


@pytest.fixture
def unenforced(k8slab_home):
    """Make a cluster of one's own, since its network is spoilt; say how to spoil it."""
    made = clusters.up("unenforced", provider="embedded")

    def spoil():
        for node in made.list("nodes"):
            for chain in HOOKS:
                argv = ["nft", "flush", "chain", "ip", "network-policy", chain]
                assert made.node_run(node["metadata"]["name"], argv).code == 0

    yield made, spoil
    clusters.delete("unenforced")


def test_on_a_network_that_enforces_nothing_nobody_is_to_blame_but_the_network(unenforced):
    made, spoil = unenforced
    text = (LAB / "manifests" / "shop.yaml").read_text()
    deny = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny}, spec: {podSelector: {}}}"  # noqa: E501
    made.apply(manifests.load(f"{text}---\n{deny}"), namespace="default")
    made.wait("pods", "", "default", until="ready")
    flow = Flow.of("batch", "db", 8080, namespace="default")
    context = Context(made, "default", baseline=frozenset({str(flow)}), deadline=1)
    for _ in range(5):  # the network mends itself every 30 s, perhaps just now
        spoil()
        finding = check_flows(context, [Want(flow, "silent")])
        if finding.status is not Status.PASSED:
            break
    assert finding.status is Status.INCONCLUSIVE, finding
    assert finding.blame is Blame.NOT_ENFORCED
    told = " ".join(finding.lines)
    assert "not enforced: policies are not enforced on unenforced-" in told
    assert finding.flows[0].predicted == "deny"
    assert finding.flows[0].observed == "open"


LATE = """
apiVersion: v1
kind: Pod
metadata: {name: late}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: web, image: k8slab/app, command: [bash, -c, "sleep 1; exec nc -lk -p 8080"]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: k8slab/app}]
"""


def test_a_server_that_has_just_started_is_given_time_to_listen(cluster, namespace):
    cluster.apply(manifests.load(LATE), namespace=namespace)
    cluster.wait("pods", "", namespace, until="ready")
    wants = [Want(Flow.of("client", "late", 8080, namespace=namespace), "open")]
    finding = check_flows(Context(cluster, namespace), wants)
    assert finding.status is Status.PASSED, finding


WORKLOAD = """
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  {fields}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, version: "{version}"}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: k8slab/app
          readinessProbe:
            httpGet: {{path: /, port: 8080}}
            initialDelaySeconds: 1
            periodSeconds: 1
"""


def workloads(version):
    together = "podManagementPolicy: Parallel\n  replicas: 2"
    rows = [("StatefulSet", "db", together), ("DaemonSet", "agent", "minReadySeconds: 0")]
    return [
        obj
        for kind, name, fields in rows
        for obj in manifests.load(
            WORKLOAD.format(kind=kind, name=name, version=version, fields=fields)
        )
    ]


def test_what_is_settled_has_the_pods_of_the_newest_templates_alone(cluster, namespace):
    context = Context(cluster, namespace)
    for version in ("1", "2"):
        cluster.apply(workloads(version), namespace=namespace)
        there = Polling(
            look=context.read,
            good=context.settled,
            quiet=lambda _: False,
            deadline=60,
            settled=1,
        ).run()
        pods = context.listed(there, "pods")
        assert {meta.labels_of(pod)["version"] for pod in pods} == {version}
        assert {meta.labels_of(pod)["app"] for pod in pods} == {"db", "agent"}
        if version == "1":  # pods that are not ready are all replaced at once: nothing to see
            cluster.wait("pods", "", namespace, until="ready")
