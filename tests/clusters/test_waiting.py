import pytest

from k8slab.clusters.waiting import describe, is_ready, predicate
from k8slab.errors import UsageError

DEPLOYMENT = {
    "kind": "Deployment",
    "metadata": {"name": "web", "generation": 2},
    "spec": {"replicas": 2},
    "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2},
}


def changed(obj, **status):
    return {**obj, "status": {**obj["status"], **status}}


def test_a_deployment_is_ready_when_its_rollout_is_done():
    assert is_ready(DEPLOYMENT)


@pytest.mark.parametrize(
    "status", [{"observedGeneration": 1}, {"readyReplicas": 1}, {"replicas": 3}]
)
def test_a_deployment_is_not_ready_before(status):
    assert not is_ready(changed(DEPLOYMENT, **status))


def test_a_deployment_scaled_to_nothing_is_ready():
    empty = {"observedGeneration": 2}
    assert is_ready({**DEPLOYMENT, "spec": {"replicas": 0}, "status": empty})


def test_a_daemonset_that_nobody_has_looked_at_is_not_ready():
    fresh = {"kind": "DaemonSet", "metadata": {"generation": 1}, "status": {}}
    assert not is_ready(fresh)
    seen = {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2}
    assert not is_ready(changed(fresh, **seen, numberReady=1))
    assert is_ready(changed(fresh, **seen, numberReady=2))


def test_a_kind_without_conditions_is_ready_as_soon_as_it_exists():
    assert is_ready({"kind": "ConfigMap", "metadata": {"name": "a"}})


@pytest.mark.parametrize(
    ("words", "fulfilled"),
    [
        ("condition=Ready", True),
        ("condition=Ready=True", True),
        ("condition=Ready=False", False),
        ("condition=ready=true", True),
        ("condition=ready=false", False),
        ("condition=Strange", False),
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath='{.status.phase}'=Pending", False),
        ("jsonpath={.status.podIPs[0].ip}=10.244.0.5", True),
        ("jsonpath={.status.podIPs[1].ip}=10.244.0.5", False),
        ("jsonpath={.status.podIP}", True),
        ("jsonpath={.status.missing}", False),
        (r"jsonpath={.metadata.labels.app\.kubernetes\.io/name}=web", True),
        ("jsonpath={.status.started}=true", True),
        ("create", True),
        ("delete", False),
    ],
)
def test_the_words_are_those_of_kubectl_wait(words, fulfilled):
    pod = {
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "web"}},
        "status": {
            "phase": "Running",
            "podIP": "10.244.0.5",
            "podIPs": [{"ip": "10.244.0.5"}],
            "started": True,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    assert predicate(words)(pod) is fulfilled


@pytest.mark.parametrize("words", ["", "soon", "condition=", "jsonpath={.a[}=1"])
def test_words_that_mean_nothing_are_refused(words):
    with pytest.raises(UsageError, match="cannot"):
        predicate(words)


def test_a_container_that_waits_is_described_with_its_reason():
    pod = {
        "status": {
            "phase": "Pending",
            "containerStatuses": [
                {
                    "name": "app",
                    "state": {"waiting": {"reason": "ErrImagePull", "message": "no image x"}},
                }
            ],
        }
    }
    assert describe(pod) == "Pending; app: ErrImagePull no image x"
    assert describe({}) == "no status"
