"""Each flow three times, wanted, predicted, observed; and whose matter a difference is."""

import json

import pytest

from k8slab.grading import Blame, Context, Status, Want, baseline
from k8slab.grading.flows import SILENCE, check_flows
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
SECRET = "swordfish"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path))
    return tmp_path


def want(source, destination, wish, port=8080, **more):
    return Want(Flow.of(source, destination, port, namespace="shop"), wish, **more)


@pytest.fixture
def check(shop):
    def run(*wants, policy=ONLY_WEB, before=lambda: None):
        opened = baseline(Context(shop, "shop"), wants)
        shop.apply(manifests.load(policy))
        before()
        return check_flows(Context(shop, "shop", baseline=opened, deadline=0.1), wants)

    return run


def test_wanted_predicted_and_observed_stand_side_by_side(check):
    finding = check(want("web", "db", "open"), want("batch", "db", "blocked"))
    assert [(f.wanted, f.predicted, f.observed, f.blame) for f in finding.flows] == [
        ("open", "allow", "open", None),
        ("blocked", "deny", "silent", None),
    ]
    assert finding.blame is None


def test_an_answer_is_blamed_when_policies_and_packets_agree(check):
    finding = check(want("batch", "db", "open"))
    assert (finding.status, finding.blame) == (Status.FAILED, Blame.ANSWER)
    assert finding.counterexample.predicted == "deny"
    assert "the policies say deny, seen silent" in finding.counterexample.told()


def test_nothing_is_graded_where_nothing_is_enforced(shop, check):
    shop.enforces = False
    finding = check(want("batch", "db", "blocked"))
    assert (finding.status, finding.blame) == (Status.INCONCLUSIVE, Blame.NOT_ENFORCED)
    assert "not enforced" in " ".join(finding.lines)


def test_an_open_flow_counts_for_nothing_where_policies_deny_it_and_nothing_enforces(shop, check):
    shop.enforces = False
    finding = check(want("batch", "db", "open"))
    assert (finding.status, finding.blame) == (Status.INCONCLUSIVE, Blame.NOT_ENFORCED)


def test_a_server_that_does_not_listen_is_not_ready(shop, check):
    finding = check(want("web", "db", "open"), before=lambda: shop.dead.add("shop/db"))
    assert (finding.status, finding.blame) == (Status.FAILED, Blame.NOT_READY)
    assert "nobody listens on port 8080/TCP" in " ".join(finding.lines)


def test_a_probe_that_does_not_work_is_not_ready(shop, check):
    def stop():
        shop.get("pods", "web", "shop")["status"]["phase"] = "Failed"

    finding = check(want("web", "db", "open"), before=stop)
    assert (finding.status, finding.blame) == (Status.FAILED, Blame.NOT_READY)


def test_a_kernel_that_does_otherwise_is_our_fault_and_a_file_tells_it(shop, check, home):
    container = shop.get("pods", "web", "shop")["spec"]["containers"][0]
    container["env"] = [{"name": "PASSWORD", "value": SECRET}]
    shop.unprotected.add("shop/db")
    finding = check(want("batch", "db", "blocked"))
    assert (finding.status, finding.blame) == (Status.ERROR, Blame.BUG)
    (path,) = (home / "reports").iterdir()
    assert str(path) in " ".join(finding.lines)
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert SECRET not in text
    told = json.loads(text)
    assert told["flows"][0]["predicted"] == "deny"
    assert told["flows"][0]["observed"]["outcome"] == "open"
    assert "only-web" in {obj["metadata"]["name"] for obj in told["objects"]}
    check(want("batch", "db", "blocked"))
    assert len(list((home / "reports").iterdir())) == 1


def test_silence_that_no_policy_makes_gives_nothing(shop, check):
    finding = check(want("web", "batch", "blocked"), before=lambda: shop.walled.add("shop/batch"))
    assert (finding.status, finding.blame) == (Status.FAILED, Blame.ANSWER)
    assert "no policy stops this flow: something else does" in " ".join(finding.lines)


def test_something_else_than_policies_may_be_what_is_meant(shop, check):
    meant = want("web", "batch", "blocked", predicted=False)
    finding = check(meant, before=lambda: shop.walled.add("shop/batch"))
    assert finding.status is Status.PASSED
    assert finding.flows[0].predicted == ""


def test_a_name_is_predicted_by_the_address_that_was_found(shop, check):
    service = (
        "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop},"
        " spec: {clusterIP: 10.96.0.50, selector: {app: db}, ports: [{port: 8080}]}}"
    )
    shop.apply(manifests.load(service))
    finding = check(want("batch", "name:db", "silent"), want("batch", "svc:db", "silent"))
    assert {row.predicted for row in finding.flows} == {"deny"}


def test_a_service_whose_pods_are_not_all_denied_is_not_predicted(shop, check):
    service = (
        "{apiVersion: v1, kind: Service, metadata: {name: all, namespace: shop},"
        " spec: {clusterIP: 10.96.0.51, selector: {}, ports: [{port: 8080}]}}"
    )
    shop.apply(manifests.load(service))
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "all-1",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "all"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [shop.get("pods", name, "shop")["status"]["podIP"]],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": name, "namespace": "shop"},
            }
            for name in ("db", "web")
        ],
    }
    shop.apply([slices])
    finding = check(want("batch", "svc:all", "open"))
    assert finding.flows[0].predicted == ""


def test_silence_without_a_report_is_tried_three_times_beyond_each_repeated_syn(shop, check):
    finding = check(want("batch", "db", "silent"))
    assert finding.status is Status.PASSED
    assert [one for one in shop.deadlines if one > 1] == [*SILENCE]
    assert all(seconds > again for seconds, again in zip(SILENCE, (1, 3, 7), strict=True))


def test_a_drop_that_the_kernel_reported_needs_no_further_attempt(shop, check):
    shop.reports_denials = True
    assert check(want("batch", "db", "silent")).status is Status.PASSED
    assert max(shop.deadlines) <= 1


def test_silence_that_ends_at_a_later_attempt_is_no_silence(shop, check):
    class Late(set):
        def __contains__(self, name):
            return name == "shop/db" and len([d for d in shop.deadlines if d > 1]) > 1

    shop.unprotected = Late()
    finding = check(want("batch", "db", "silent"))
    assert finding.status is not Status.PASSED
