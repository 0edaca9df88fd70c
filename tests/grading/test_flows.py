import pytest

from k8slab.grading import Context, Status, Want, baseline
from k8slab.grading.flows import check_flows
from k8slab.objects import manifests
from k8slab.policy import Flow

ONLY_WEB = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]
"""
NOBODY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
"""


def want(source, destination, wish, port=8080):
    return Want(Flow.of(source, destination, port, namespace="shop"), wish)


WANTS = [want("web", "db", "open"), want("batch", "db", "blocked"), want("batch", "web", "open")]


@pytest.fixture
def check(shop):
    opened = baseline(Context(shop, "shop"), WANTS)

    def run(wants=WANTS, **changed):
        context = Context(shop, "shop", baseline=opened, deadline=0.1)
        return check_flows(Context(**{**vars(context), **changed}), wants)

    return run


def apply(shop, text):
    shop.apply(manifests.load(text))


def test_the_right_policy_passes(shop, check):
    apply(shop, ONLY_WEB)
    assert check().status is Status.PASSED


def test_an_untouched_start_fails_with_one_counterexample(check):
    finding = check()
    assert finding.status is Status.FAILED
    assert finding.counterexample.what == "shop/batch -> shop/db port 8080/TCP"
    assert finding.counterexample.wanted == "blocked"
    assert finding.counterexample.seen.startswith("open")
    assert "nc -zvw 2 10.244." in finding.counterexample.replay


def test_the_walk_says_why_a_rule_does_not_match(shop, check):
    apply(shop, ONLY_WEB.replace("app: web}}}", "app: fe}}}"))
    finding = check()
    assert finding.status is Status.FAILED
    assert any("label app=web is not app=fe" in line for line in finding.counterexample.why)


def test_a_dead_server_is_inconclusive_and_never_blocked(shop, check):
    apply(shop, ONLY_WEB)
    shop.dead.add("shop/db")
    finding = check([want("batch", "db", "blocked")])
    assert finding.status is Status.INCONCLUSIVE
    assert "nothing answers on port 8080/TCP inside shop/db" in finding.lines[0]


def test_a_refusal_by_a_dead_server_is_inconclusive_too(shop, check):
    shop.dead.add("shop/db")
    assert check([want("batch", "db", "blocked")]).status is Status.INCONCLUSIVE


def test_a_deleted_client_gives_no_points(shop, check):
    apply(shop, ONLY_WEB)
    shop.delete("pods", "batch", "shop")
    finding = check([want("batch", "db", "blocked")])
    assert finding.status is Status.FAILED
    assert "there is no pod shop/batch" in finding.counterexample.seen


def test_a_network_that_enforces_nothing_is_inconclusive(shop, check):
    # The flow is silent for another reason: here, the canaries of a cluster without policies.
    apply(shop, ONLY_WEB)
    shop.enforces = False
    shop.dead.add("shop/db")
    finding = check([want("batch", "db", "blocked")])
    assert finding.status is Status.INCONCLUSIVE


def test_canaries_are_asked_when_no_denial_was_reported(shop, check):
    apply(shop, ONLY_WEB)
    assert check().status is Status.PASSED
    assert {p["metadata"]["name"] for p in shop.list("pods", "k8slab-canaries")} >= {
        "friend",
        "stranger",
    }


def test_a_reported_denial_is_evidence_enough(shop, check):
    shop.reports_denials = True
    apply(shop, ONLY_WEB)
    assert check().status is Status.PASSED
    assert shop.list("pods", "k8slab-canaries") == []


def test_deny_all_in_both_directions_can_be_graded(shop, check):
    apply(shop, NOBODY)
    blocked = [want(a, b, "blocked") for a, b in (("web", "db"), ("batch", "db"))]
    opened = baseline_of(shop, blocked)
    assert check(blocked, baseline=opened).status is Status.PASSED


def baseline_of(shop, wants):
    """Return all flows as text, as they were open before the policy."""
    del shop
    return frozenset(str(one.flow) for one in wants)


def test_without_a_baseline_a_mute_client_is_inconclusive(shop, check):
    apply(shop, NOBODY)
    finding = check([want("web", "db", "blocked")], baseline=frozenset())
    assert finding.status is Status.INCONCLUSIVE
    assert "set the exercise up again" in finding.lines[1]


def test_a_service_without_pods_is_not_blocked(shop, check):
    apply(
        shop,
        "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop},"
        " spec: {clusterIP: 10.96.0.50, selector: {app: none}, ports: [{port: 8080}]}}",
    )
    finding = check([want("batch", "svc:db", "blocked")])
    assert finding.status is Status.INCONCLUSIVE
    assert "no pod stands behind svc:shop/db" in finding.lines[0]


def test_a_workload_stands_for_all_its_pods(shop, check):
    apply(
        shop,
        """
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: a, image: i, ports: [{containerPort: 8080}]}]}
""",
    )
    assert check([want("web", "deployment/api", "open")]).status is Status.PASSED
    shop.dead.add("shop/api-1-1")
    finding = check([want("web", "deployment/api", "open")])
    assert finding.counterexample.what == "shop/web -> shop/api-1-1 port 8080/TCP"
