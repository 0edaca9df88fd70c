"""Pods from creation to removal, with the real API and a runtime that only remembers."""

import asyncio
import gc
import warnings

import pytest
from controller_world import is_ready, pod_object

from k8slab.embedded.controllers.kubelet import lifecycle, records, worker
from k8slab.embedded.controllers.kubelet.probes import Attempt
from k8slab.errors import ApiStatusError


def state(pod, name="main", group="containerStatuses"):
    return next(c for c in pod["status"][group] if c["name"] == name)


def waiting(world, name, reason):
    def check():
        statuses = (world.pod(name) or {}).get("status", {}).get("containerStatuses") or ()
        return any((c["state"].get("waiting") or {}).get("reason") == reason for c in statuses)

    return check


def reasons(world, name):
    return [
        (e["reason"], e["message"])
        for e in world.api.list("events", "default")
        if e["involvedObject"]["name"] == name
    ]


def test_a_pod_becomes_ready_with_address_conditions_and_events(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a"))
        await world.until(lambda: is_ready(world.pod("a")))
        status = world.pod("a")["status"]
        assert status["phase"] == "Running"
        assert status["podIP"] == world.network.pods[world.pod("a")["metadata"]["uid"]][0]
        assert status["hostIP"] == "172.18.0.3"
        true = {c["type"] for c in status["conditions"] if c["status"] == "True"}
        assert true == {
            "PodScheduled",
            "Initialized",
            "ContainersReady",
            "Ready",
            "PodReadyToStartContainers",
        }
        await world.controllers.events.settle()
        told = [reason for reason, _ in reasons(world, "a")]
        assert told == ["Scheduled", "Pulled", "Created", "Started"]

    in_world(play)


def test_init_containers_run_one_after_the_other_before_the_rest(in_world):
    async def play(world):
        inits = [{"name": "one", "image": "done"}, {"name": "two", "image": "slow"}]
        world.runtime.ends_at_once = {"done": 0}
        world.api.create("pods", pod_object("a", initContainers=inits))
        await world.until(lambda: "start two" in world.runtime.history)
        assert "start main" not in world.runtime.history
        await world.until(lambda: "initContainerStatuses" in (world.pod("a").get("status") or {}))
        assert world.pod("a")["status"]["phase"] == "Pending"
        second = next(c for c in world.runtime.containers.values() if c.spec.name == "two")
        world.runtime.exit(second.id, 0)
        await world.until(lambda: is_ready(world.pod("a")))
        assert [h for h in world.runtime.history if h.startswith("start")] == [
            "start one",
            "start two",
            "start main",
        ]

    in_world(play)


def test_a_container_that_ends_is_started_again_at_once_and_then_waits(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a", image="crash"))
        world.runtime.ends_at_once = {"crash": 3}
        await world.until(waiting(world, "a", "CrashLoopBackOff"))
        status = state(world.pod("a"))
        assert status["restartCount"] == 1
        assert status["lastState"]["terminated"]["exitCode"] == 3
        message = status["state"]["waiting"]["message"]
        assert message.startswith("back-off 10s restarting failed container=main pod=a_default(")
        assert world.pod("a")["status"]["phase"] == "Running"
        await world.controllers.events.settle()
        assert "BackOff" in [reason for reason, _ in reasons(world, "a")]

    in_world(play)


def test_the_back_off_doubles_to_five_minutes_and_is_forgotten_after_ten():
    back_off = records.BackOff()
    delays = []
    now = 1000.0
    for _ in range(7):
        back_off.begin(now)
        delays.append(back_off.delay)
        now += 1
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    assert back_off.words == "5m0s"
    assert back_off.left(now, now + 100) == 200
    assert back_off.left(now, now + 700) == 0
    back_off.begin(now + 700)
    assert back_off.delay == 10


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        ("Never", 0, "Succeeded"),
        ("Never", 1, "Failed"),
        ("OnFailure", 0, "Succeeded"),
    ],
)
def test_a_pod_that_may_not_restart_ends(in_world, policy, code, phase):
    async def play(world):
        world.runtime.ends_at_once = {"job": code}
        world.api.create("pods", pod_object("a", image="job", restartPolicy=policy))
        await world.until(lambda: (world.pod("a").get("status") or {}).get("phase") == phase)
        assert state(world.pod("a"))["restartCount"] == 0
        assert not is_ready(world.pod("a"))

    in_world(play)


def test_an_unknown_image_shows_the_error_and_then_the_back_off(in_world, monkeypatch):
    monkeypatch.setattr(lifecycle, "SHOW_IMAGE_ERROR", 0.02)

    async def play(world):
        world.api.create("pods", pod_object("a", image="nowhere"))
        await world.until(waiting(world, "a", "ErrImagePull"))
        assert world.pod("a")["status"]["phase"] == "Pending"
        text = "image 'nowhere' is not in the catalogue. look there"
        failed = ("Failed", f'Failed to pull image "nowhere": {text}')
        # One line, for kubectl describe.
        await world.until(lambda: failed in reasons(world, "a"))
        await world.until(waiting(world, "a", "ImagePullBackOff"))
        message = state(world.pod("a"))["state"]["waiting"]["message"]
        assert message.startswith('Back-off pulling image "nowhere": ErrImagePull: image')

    in_world(play)


def test_a_missing_key_is_told_and_the_container_starts_when_it_is_there(in_world):
    async def play(world):
        entry = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}}
        containers = [{"name": "main", "image": "web", "env": [entry]}]
        world.api.create("pods", pod_object("a", containers=containers))
        await world.until(waiting(world, "a", "CreateContainerConfigError"))
        message = state(world.pod("a"))["state"]["waiting"]["message"]
        assert message == 'configmap "conf" not found'
        made = {"metadata": {"name": "conf", "namespace": "default"}, "data": {"a": "1"}}
        world.api.create("configmaps", made)
        await world.until(lambda: is_ready(world.pod("a")))
        (container,) = world.runtime.of(world.pod("a"))
        assert container.spec.environment["A"] == "1"

    in_world(play)


def test_a_pod_waits_for_the_source_of_its_volume_and_sees_its_changes(in_world):
    async def play(world):
        mount = {"name": "conf", "mountPath": "/conf"}
        containers = [{"name": "main", "image": "web", "volumeMounts": [mount]}]
        volumes = [{"name": "conf", "configMap": {"name": "conf"}}]
        world.api.create("pods", pod_object("a", containers=containers, volumes=volumes))
        uid = world.pod("a")["metadata"]["uid"]
        await world.until(lambda: any(reason == "FailedMount" for reason, _ in reasons(world, "a")))
        text = 'MountVolume.SetUp failed for volume "conf" : configmap "conf" not found'
        assert ("FailedMount", text) in reasons(world, "a")
        await world.until(waiting(world, "a", "ContainerCreating"))
        assert uid not in world.runtime.sandboxes
        source = {"metadata": {"name": "conf", "namespace": "default"}, "data": {"a": "1"}}
        world.api.create("configmaps", source)
        await world.until(lambda: is_ready(world.pod("a")))
        (container,) = world.runtime.of(world.pod("a"))
        mounts = {m.path: m.files for m in container.spec.mounts}
        assert mounts["/conf"] == {"a": b"1"}
        world.api.patch("configmaps", "conf", "default", {"data": {"a": "2"}})
        await world.until(lambda: world.runtime.volumes.get((uid, "conf")) == {"a": b"2"})

    in_world(play)


def test_readiness_follows_its_probe_and_failures_are_told(in_world):
    async def play(world):
        probe = {"httpGet": {"port": 80}, "periodSeconds": 1, "failureThreshold": 1}
        containers = [{"name": "main", "image": "web", "readinessProbe": probe}]
        world.prober.answers["main"] = Attempt(passed=False, message="statuscode: 500")
        world.api.create("pods", pod_object("a", containers=containers))
        await world.until(
            lambda: ("Unhealthy", "Readiness probe failed: statuscode: 500") in reasons(world, "a")
        )
        assert world.pod("a")["status"]["phase"] == "Running"
        assert not is_ready(world.pod("a"))
        world.prober.answers["main"] = Attempt(passed=True)
        await world.until(lambda: is_ready(world.pod("a")))
        world.prober.answers["main"] = Attempt(passed=False)
        await world.until(lambda: not is_ready(world.pod("a")))

    in_world(play)


def test_a_server_that_is_not_listening_yet_is_asked_again_without_being_counted(in_world):
    async def play(world):
        probe = {"tcpSocket": {"port": 80}, "failureThreshold": 1}
        containers = [{"name": "main", "image": "web", "readinessProbe": probe}]
        world.prober.answers["main"] = Attempt(passed=False, message="refused", listening=False)
        world.api.create("pods", pod_object("a", containers=containers))
        await world.until(lambda: world.prober.count > 3)
        world.prober.answers["main"] = Attempt(passed=True)
        await world.until(lambda: is_ready(world.pod("a")), seconds=2)
        await world.controllers.events.settle()
        assert "Unhealthy" not in [reason for reason, _ in reasons(world, "a")]

    in_world(play)


def test_a_failed_liveness_probe_restarts_the_container(in_world):
    async def play(world):
        probe = {"tcpSocket": {"port": 80}, "failureThreshold": 1, "periodSeconds": 1}
        containers = [{"name": "main", "image": "web", "livenessProbe": probe}]
        world.prober.answers["main"] = Attempt(passed=False, message="refused")
        world.api.create("pods", pod_object("a", containers=containers))
        await world.until(
            lambda: (
                ("Killing", "Container main failed liveness probe, will be restarted")
                in reasons(world, "a")
            )
        )
        world.prober.answers["main"] = Attempt(passed=True)
        await world.until(lambda: state(world.pod("a"))["restartCount"] == 1)

    in_world(play)


def test_other_probes_wait_for_the_startup_probe(in_world):
    async def play(world):
        probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
        containers = [{"name": "main", "image": "web", "startupProbe": probe}]
        world.prober.answers["main"] = Attempt(passed=False, message="not yet")
        world.api.create("pods", pod_object("a", containers=containers))
        await world.until(lambda: world.pod("a")["status"].get("phase") == "Running")
        assert state(world.pod("a"))["started"] is False
        assert not is_ready(world.pod("a"))
        world.prober.answers["main"] = Attempt(passed=True)
        await world.until(lambda: is_ready(world.pod("a")))
        assert state(world.pod("a"))["started"] is True

    in_world(play)


def test_a_deleted_pod_is_stopped_within_its_grace_and_then_removed(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a", terminationGracePeriodSeconds=7))
        await world.until(lambda: is_ready(world.pod("a")))
        uid = world.pod("a")["metadata"]["uid"]
        (container,) = world.runtime.of(world.pod("a"))
        world.runtime.ignores_term = True
        world.api.delete("pods", "a", "default")
        await world.until(lambda: container.graces)
        assert container.graces == [7.0]
        assert world.pod("a")["metadata"]["deletionTimestamp"]
        world.runtime.exit(container.id, 143)
        await world.until(lambda: world.pod("a") is None)
        assert uid not in world.runtime.sandboxes
        assert uid not in world.network.pods

    in_world(play)


def test_a_second_delete_shortens_the_grace_and_force_ends_at_once(in_world):
    async def play(world):
        for name in ("a", "b"):
            world.api.create("pods", pod_object(name))
            await world.until(lambda name=name: is_ready(world.pod(name)))
        world.runtime.ignores_term = True
        (first,) = world.runtime.of(world.pod("a"))
        (second,) = world.runtime.of(world.pod("b"))
        for name in ("a", "b"):
            world.api.delete("pods", name, "default")
        await world.until(lambda: first.graces and second.graces)
        world.api.delete("pods", "a", "default", grace=5)
        world.api.delete("pods", "b", "default", grace=0)
        assert world.pod("b") is None
        await world.until(lambda: second.id not in world.runtime.containers)
        await world.until(lambda: 5.0 in first.graces)

    in_world(play)


@pytest.mark.parametrize("step", ["create_sandbox", "start_container"])
def test_a_pod_that_is_forced_away_while_it_starts_leaves_nothing(in_world, monkeypatch, step):
    async def play(world):
        take = getattr(world.runtime, step)

        async def delete_meanwhile(*arguments):
            world.api.delete("pods", "a", "default", grace=0)
            return await take(*arguments)

        monkeypatch.setattr(world.runtime, step, delete_meanwhile)
        world.api.create("pods", pod_object("a"))
        agents = world.controllers.kubelets.agents.values()
        await world.until(lambda: any(agent.workers for agent in agents))
        await world.until(lambda: not any(agent.workers for agent in agents))
        assert not world.runtime.sandboxes
        assert not world.runtime.containers
        assert not world.network.pods

    in_world(play)


def test_a_status_that_could_not_be_written_is_written_later(in_world, monkeypatch):
    monkeypatch.setattr(worker, "SANDBOX_RETRY", 0.01)

    async def play(world):
        write = world.api.update_status
        refused = []

        def refuse(resource, obj):
            if resource == "pods" and len(refused) < 3:
                refused.append(obj)
                raise ApiStatusError("the disk is full", code=500, reason="InternalError")
            return write(resource, obj)

        monkeypatch.setattr(world.api, "update_status", refuse)
        world.api.create("pods", pod_object("a"))
        await world.until(lambda: is_ready(world.pod("a")))
        assert len(refused) == 3

    in_world(play)


def test_the_pre_stop_hook_runs_before_term_and_uses_up_the_grace(in_world):
    async def play(world):
        hook = {"preStop": {"sleep": {"seconds": 0}}}
        containers = [{"name": "main", "image": "web", "lifecycle": hook}]
        world.api.create("pods", pod_object("a", containers=containers))
        await world.until(lambda: is_ready(world.pod("a")))
        (container,) = world.runtime.of(world.pod("a"))
        world.api.delete("pods", "a", "default", grace=10)
        await world.until(lambda: world.pod("a") is None)
        assert 2 <= container.graces[0] < 10

    in_world(play)


def test_a_pod_without_node_goes_at_once(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a", nodeSelector={"no": "where"}))
        await world.until(lambda: (world.pod("a").get("status") or {}).get("conditions"))
        world.api.delete("pods", "a", "default")
        assert world.pod("a") is None

    in_world(play)


def test_a_host_network_pod_has_its_nodes_address_and_no_link(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a", hostNetwork=True))
        await world.until(lambda: is_ready(world.pod("a")))
        pod = world.pod("a")
        assert pod["status"]["podIP"] == pod["status"]["hostIP"]
        uid = pod["metadata"]["uid"]
        assert uid not in world.network.pods
        assert world.runtime.sandboxes[uid].network is not None

    in_world(play)


def test_an_ephemeral_container_joins_a_running_pod_and_is_not_restarted(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a"))
        await world.until(lambda: is_ready(world.pod("a")))
        (main,) = world.runtime.of(world.pod("a"))
        pod = world.pod("a")
        extra = {"name": "debug", "image": "tools", "targetContainerName": "main"}
        spec = {**pod["spec"], "ephemeralContainers": [extra]}
        world.api.update("pods", {**pod, "spec": spec}, subresource="ephemeralcontainers")
        await world.until(lambda: "start debug" in world.runtime.history)
        debug = next(c for c in world.runtime.containers.values() if c.spec.name == "debug")
        assert debug.spec.share_processes_with == main.id
        world.runtime.exit(debug.id, 0)
        group = "ephemeralContainerStatuses"
        await world.until(lambda: "terminated" in state(world.pod("a"), "debug", group)["state"])
        await asyncio.sleep(0)
        assert world.runtime.history.count("start debug") == 1
        assert is_ready(world.pod("a"))

    in_world(play)


def test_a_sidecar_starts_before_and_stops_after_the_others(in_world):
    async def play(world):
        side = {"name": "side", "image": "web", "restartPolicy": "Always"}
        world.api.create("pods", pod_object("a", initContainers=[side]))
        await world.until(lambda: is_ready(world.pod("a")))
        world.api.delete("pods", "a", "default")
        await world.until(lambda: world.pod("a") is None)
        assert world.runtime.history == ["start side", "start main", "end main", "end side"]

    in_world(play)


def test_the_daemon_finds_container_and_logs(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a"))
        await world.until(lambda: is_ready(world.pod("a")))
        pod = world.pod("a")
        (container,) = world.runtime.of(pod)
        info = world.controllers.kubelets.container(pod, "main")
        assert (info.id, info.running, info.previous_log) == (container.id, True, None)
        assert str(info.log) == container.spec.log_path
        world.runtime.exit(container.id, 1)
        await world.until(lambda: state(world.pod("a"))["restartCount"] == 1)
        again = world.controllers.kubelets.container(world.pod("a"), "main")
        assert again.previous_log == info.log
        assert again.log != info.log
        assert world.controllers.kubelets.container(pod, "other") is None

    in_world(play)


def test_a_token_is_replaced_when_most_of_its_life_is_over(in_world):
    async def play(world):
        source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}
        volume = {"name": "token", "projected": {"sources": [source]}}
        made = pod_object("a", volumes=[volume], automountServiceAccountToken=False)
        world.api.create("pods", made)
        await world.until(lambda: is_ready(world.pod("a")))
        uid = world.pod("a")["metadata"]["uid"]
        agent = world.controllers.kubelets.agents[world.pod("a")["spec"]["nodeName"]]
        worker = agent.workers[uid]
        world.controllers.kubelets.agents[agent.name].context.credentials.number = 2
        worker._tokens_until = 0
        worker.wake()
        await world.until(lambda: world.runtime.volumes.get((uid, "token")))
        assert world.runtime.volumes[uid, "token"] == {"token": b"token 2 of a"}
        assert worker._tokens_until > 100

    in_world(play)


def test_closing_a_worker_that_has_just_asked_for_a_stop_leaves_nothing_behind(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a"))
        await world.until(lambda: is_ready(world.pod("a")))
        agent = world.controllers.kubelets.agents[world.pod("a")["spec"]["nodeName"]]
        worker = agent.workers[world.pod("a")["metadata"]["uid"]]
        worker.stop_soon(worker.records["main"], 0)
        # The stop's task is cancelled before it ran: nothing that it was made of may be left.
        await worker.close()
        assert world.runtime.containers

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        in_world(play)
        gc.collect()
    assert [str(one.message) for one in told if "never awaited" in str(one.message)] == []
