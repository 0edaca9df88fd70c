"""The checks that measure: spread over pods, DNS queries, certificates; on the real cluster."""

import pytest

from k8slab.errors import ExerciseError
from k8slab.grading import Context, Status, certificates, queries
from k8slab.grading.checks import CHECKS, run_check
from k8slab.objects import manifests

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: k8slab/toolbox, command: [sleep, infinity]}]
---
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: web, track: old}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: web, track: new}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: half}
spec: {selector: {track: old}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec: {selector: {app: web}, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.fixture(scope="module")
def context(cluster):
    space = "test-measured-checks"
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}])
    cluster.apply(manifests.load(PODS), namespace=space)
    cluster.wait("pods", "", space, until="ready")
    context = Context(cluster, space, deadline=20)
    # The servers listen before anything is counted.
    ask = {"check": "http", "from": "client", "status": 200}
    assert run_check(context, {**ask, "url": "http://web/"}).status is Status.PASSED
    assert run_check(context, {**ask, "url": "http://half/"}).status is Status.PASSED
    yield context
    cluster.delete("namespaces", space)


def spread(context, service, **wanted):
    url = f"http://{service}/hostname"
    return run_check(context, {"check": "distribution", "from": "client", "url": url, **wanted})


def test_a_service_spreads_requests_over_its_pods(context):
    finding = spread(context, "web", pods="app=web")
    assert finding.status is Status.PASSED, finding.lines
    assert "one " in finding.lines[0]
    assert "two " in finding.lines[0]


@pytest.mark.parametrize("service", ["half", "sticky"])
def test_a_pod_that_gets_nothing_is_named(context, service):
    finding = spread(context, service, pods="app=web")
    assert finding.status is Status.FAILED
    assert "it got 0" in " ".join(finding.lines)


def test_sticking_to_one_pod_is_told_from_chance(context):
    assert spread(context, "sticky", sticks="app=web").status is Status.PASSED
    finding = spread(context, "web", sticks="app=web")
    assert finding.status is Status.FAILED
    assert "one pod is to answer all of them: one " in finding.lines[0]
    alone = spread(context, "half", sticks="track=old")
    assert "of two and more it can be told" in alone.lines[0]


def test_where_nobody_answers_the_first_request_tells(context):
    finding = spread(context, "web:81", pods="app=web")
    assert finding.lines == ("every request to be answered; request 1 was not",)


def test_who_should_not_answer_is_named(context):
    finding = spread(context, "web", pods="track=old")
    assert finding.status is Status.FAILED
    assert "two answered, who should not" in finding.lines


def test_weights_are_compared_too(context):
    even = {"track=old": 50, "track=new": 50}
    assert spread(context, "web", shares=even).status is Status.PASSED
    uneven = {"track=old": 90, "track=new": 10}
    assert spread(context, "web", shares=uneven).status is Status.FAILED


def count(context, *argv, **wanted):
    return run_check(context, {"check": "queries", "from": "client", "argv": argv, **wanted})


def test_a_full_name_costs_less_queries_than_one_that_is_searched_for(context):
    full = f"web.{context.namespace}.svc.cluster.local."
    assert count(context, "getent", "ahostsv4", full, at_most=2).status is Status.PASSED
    # Three search domains come first: resolv.conf(5), ndots.
    finding = count(context, "getent", "ahostsv4", "example.com", at_least=4)
    assert finding.status is Status.PASSED, finding.lines
    finding = count(context, "getent", "ahostsv4", "example.com", at_most=2)
    assert finding.status is Status.FAILED
    assert finding.counterexample.wanted == "at most 2"


def test_a_command_that_asks_for_no_name_costs_nothing(context):
    assert count(context, "true", equals=0).status is Status.PASSED


def test_datagrams_of_both_families_are_counted():
    text = "Udp: InDatagrams OutDatagrams\nUdp: 7 5\nUdpLite: OutDatagrams\nUdpLite: 9\n"
    assert queries.sent(text + "Udp6InDatagrams 3\nUdp6OutDatagrams 4\n") == 9


def https(context, **wanted):
    spec = {"check": "http", "from": "client", "url": "https://example.com/"}
    return run_check(context, {**spec, "certificate": wanted})


def test_a_certificate_is_read_from_the_server(context):
    assert https(context, names=["example.com"]).status is Status.PASSED
    finding = https(context, names=["shop.test"], issuer="Nobody")
    assert finding.status is Status.FAILED
    assert finding.counterexample.wanted == (
        "a certificate whose issuer is Nobody and a certificate for shop.test"
    )


def test_a_name_is_compared_by_its_parts():
    found = certificates.Certificate("CN=shop,O=Shop", "CN=ca", ("shop.test",))
    assert certificates.misses(found, {"subject": "shop", "issuer": "CN=ca"}) == []
    assert certificates.misses(found, {"subject": "O=Shop", "names": ["shop.test"]}) == []
    assert certificates.misses(found, {"subject": "sho"}) == ["a certificate whose subject is sho"]
    assert certificates.misses(None, {}) == ["a certificate"]


def test_an_answer_may_take_as_long_as_the_check_says(context):
    slow = {"check": "http", "from": "client", "url": "http://web/delay/1500"}
    assert run_check(context, slow).status is Status.PASSED
    finding = run_check(context, {**slow, "seconds": 1})
    assert finding.status is Status.FAILED
    assert finding.lines == ("http://web/delay/1500: no answer in time (curl 28)",)
    assert "curl -sS -i -m 1 " in finding.counterexample.replay


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"check": "queries", "from": "a", "argv": ["true"]}, "needs one of equals"),
        ({"check": "queries", "from": "a", "argv": [], "equals": 1}, "argv is empty"),
        ({"check": "distribution", "from": "a", "url": "x"}, "needs one of pods"),
        ({"check": "http", "from": "a", "url": "x", "certificate": {"issue": "x"}}, "'issue'"),
        ({"check": "http", "from": "a", "url": "x", "seconds": 0}, "more than no time"),
    ],
)
def test_a_check_that_is_written_wrongly_is_refused(check, message):
    with pytest.raises(ExerciseError, match=message):
        CHECKS[check["check"]].validate(check, "here")
