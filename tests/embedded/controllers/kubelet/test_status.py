"""Phases, conditions and container states from records."""

import pytest

from k8slab.embedded.controllers.kubelet import resources
from k8slab.embedded.controllers.kubelet.records import Record
from k8slab.embedded.controllers.kubelet.status import Facts, phase_of, pod_status
from k8slab.embedded.runtime.spec import ContainerExit

FACTS = Facts(
    started_at="2026-01-01T00:00:00Z",
    addresses=["10.0.0.1"],
    host_addresses=["172.18.0.3"],
    sandbox=True,
)


def record(state, kind="app", name="c", **spec):
    made = Record({"name": name, "image": "web", **spec}, kind)
    if state == "running":
        made.begin("id", 1.0)
        made.started = made.ready = True
    elif state == "waiting again":
        made.begin("id", 1.0)
        made.end(ContainerExit("id", 1))
        made.retire()
        made.wait("CrashLoopBackOff", "back-off")
    elif isinstance(state, int):
        made.begin("id", 1.0)
        made.end(ContainerExit("id", state, finished_at=2.0))
    return made


def pod(policy="Always", **spec):
    return {
        "metadata": {"name": "p", "generation": 2},
        "spec": {"restartPolicy": policy, "containers": [], **spec},
    }


PHASES = {
    "nothing started": ("Always", ["new"], "Pending"),
    "one of two started": ("Always", ["running", "new"], "Pending"),
    "all run": ("Always", ["running", "running"], "Running"),
    "one ended, one runs": ("Never", ["running", 1], "Running"),
    "crashing": ("Always", ["waiting again"], "Running"),
    "ended, but to be restarted": ("Always", [0], "Running"),
    "all succeeded": ("OnFailure", [0, 0], "Succeeded"),
    "one failed for good": ("Never", [0, 3], "Failed"),
    "one failed, to be restarted": ("OnFailure", [0, 3], "Running"),
}


@pytest.mark.parametrize(("policy", "states", "phase"), PHASES.values(), ids=PHASES)
def test_the_phase(policy, states, phase):
    assert phase_of(pod(policy), [record(state) for state in states]) == phase


INITS = {
    "it runs": ("Always", "running", {}, "Pending"),
    "it failed and may run again": ("Always", 1, {}, "Pending"),
    "it failed for good": ("Never", 1, {}, "Failed"),
    "it is done": ("Always", 0, {}, "Running"),
    "it is a sidecar": ("Always", "running", {"restartPolicy": "Always"}, "Running"),
}


@pytest.mark.parametrize(("policy", "state", "spec", "phase"), INITS.values(), ids=INITS)
def test_the_phase_with_an_init_container(policy, state, spec, phase):
    records = [record(state, "init", "i", **spec), record("running")]
    assert phase_of(pod(policy), records) == phase


def conditions(status):
    return {c["type"]: (c["status"], c.get("reason")) for c in status["conditions"]}


def test_a_container_that_is_not_ready_is_named():
    unready = record("running", name="slow")
    unready.ready = False
    status = pod_status(pod(), [record("running"), unready], FACTS)
    assert conditions(status)["Ready"] == ("False", "ContainersNotReady")
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert ready["message"] == "containers with unready status: [slow]"
    assert conditions(status)["PodScheduled"] == ("True", None)


def test_an_init_container_that_is_missing_is_named():
    status = pod_status(pod(), [record("running", "init", "one"), record("new")], FACTS)
    assert conditions(status)["Initialized"] == ("False", "ContainersNotInitialized")
    (waiting,) = status["containerStatuses"]
    assert waiting["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_a_finished_pod_says_so_in_its_conditions():
    status = pod_status(pod("Never"), [record(0)], FACTS)
    assert conditions(status)["Ready"] == ("False", "PodCompleted")
    assert conditions(status)["Initialized"] == ("True", "PodCompleted")
    failed = pod_status(pod("Never"), [record(3)], FACTS)
    assert conditions(failed)["Ready"] == ("False", "PodFailed")
    (ended,) = failed["containerStatuses"]
    assert ended["state"]["terminated"] == {
        "exitCode": 3,
        "reason": "Error",
        "startedAt": "1970-01-01T00:00:01Z",
        "finishedAt": "1970-01-01T00:00:02Z",
        "containerID": "k8slab://id",
    }


def test_a_readiness_gate_keeps_a_pod_unready_until_its_condition_is_true():
    gated = pod(readinessGates=[{"conditionType": "example.com/lb"}])
    status = pod_status(gated, [record("running")], FACTS)
    assert conditions(status)["Ready"] == ("False", "ReadinessGatesNotReady")
    assert conditions(status)["ContainersReady"] == ("True", None)
    lb = {"type": "example.com/lb", "status": "True"}
    told = {**gated, "status": {"conditions": [lb]}}
    status = pod_status(told, [record("running")], FACTS)
    assert conditions(status)["Ready"] == ("True", None)
    assert conditions(status)["example.com/lb"] == ("True", None)


def test_conditions_stand_in_the_order_of_a_kubelet_after_those_of_others():
    scheduled = {"type": "PodScheduled", "status": "True"}
    told = {**pod(), "status": {"conditions": [scheduled, {"type": "a.b/lb", "status": "True"}]}}
    status = pod_status(told, [record("running")], FACTS)
    assert [condition["type"] for condition in status["conditions"]] == [
        "a.b/lb",
        *("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"),
    ]


def test_the_transition_time_stays_while_the_status_word_does():
    first = pod_status(pod(), [record("running")], FACTS)
    for condition in first["conditions"]:
        condition["lastTransitionTime"] = "2020-01-01T00:00:00Z"
    unready = record("running")
    unready.ready = False
    second = pod_status({**pod(), "status": first}, [unready], FACTS)
    times = {c["type"]: c["lastTransitionTime"] for c in second["conditions"]}
    assert times["PodScheduled"] == "2020-01-01T00:00:00Z"
    assert times["Ready"] != "2020-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "number"),
    [("100m", "0.1"), ("1e3", "1000"), ("64Mi", "67108864"), ("2", "2"), ("1.5G", "1500000000")],
)
def test_quantities(text, number):
    assert str(resources.quantity(text).normalize().__format__("f")) == number


def test_what_is_no_quantity_is_refused():
    with pytest.raises(ValueError, match="is no quantity"):
        resources.quantity("5Xi")


def test_a_pod_that_has_ended_stays_so_whatever_its_containers_did_with_the_words_said_of_it():
    known = {"phase": "Failed", "reason": "Evicted", "message": "no room"}
    status = pod_status({**pod("Never"), "status": known}, [record(0)], FACTS)
    assert {key: status[key] for key in known} == known
    assert [c["state"]["terminated"]["exitCode"] for c in status["containerStatuses"]] == [0]
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert ready["reason"] == "PodFailed"


def test_a_container_has_what_it_asks_for():
    amounts = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    running = record("running")
    running.spec = {**running.spec, "resources": amounts}
    (shown,) = pod_status(pod(), [running], FACTS)["containerStatuses"]
    assert (shown["resources"], shown["allocatedResources"]) == (amounts, {"cpu": "100m"})
    (plain,) = pod_status(pod(), [record("running")], FACTS)["containerStatuses"]
    assert plain["resources"] == {}
    assert "allocatedResources" not in plain
