"""Pods from creation to removal, with the real API and a runtime that only remembers."""

import asyncio
import gc
import warnings
from collections import defaultdict

import pytest
from controller_world import is_ready, pod_object

from k8slab.embedded.controllers.kubelet import lifecycle, records, worker
from k8slab.embedded.controllers.kubelet.probes import Attempt
from k8slab.embedded.runtime.spec import ContainerCannotRunError
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
        pulled = ("Pulled", 'Container image "web" already present on machine')
        await world.until(lambda: pulled in reasons(world, "a"))
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
        # Nobody is probed a second time after the usual period here.
        probe = {"tcpSocket": {"port": 80}, "failureThreshold": 1, "periodSeconds": 600}
        containers = [{"name": "main", "image": "web", "readinessProbe": probe}]
        world.prober.answers["main"] = Attempt(passed=False, message="refused", listening=False)
        world.api.create("pods", pod_object("a", containers=containers))
        await world.until(lambda: world.prober.count > 3)
        world.prober.answers["main"] = Attempt(passed=True)
        await world.until(lambda: is_ready(world.pod("a")))
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


@pytest.mark.parametrize("code", [0, 143])
def test_a_kubelet_that_was_stopped_on_the_way_down_tells_how_the_pod_ended(in_world, code):
    async def play(world):
        pod = pod_object("a", restartPolicy="Never")
        pod["metadata"]["finalizers"] = ["example.com/held"]
        world.api.create("pods", pod)
        await world.until(lambda: is_ready(world.pod("a")))
        (container,) = world.runtime.of(world.pod("a"))
        node = world.pod("a")["spec"]["nodeName"]
        world.runtime.ignores_term = True
        world.api.delete("pods", "a", "default")
        await world.until(lambda: container.graces)
        world.controllers.stop_agent(node)
        world.runtime.exit(container.id, code)
        for _ in range(50):  # all turns that its actor could take
            await asyncio.sleep(0)
        assert world.pod("a")["metadata"]["deletionGracePeriodSeconds"] == 30
        assert world.pod("a")["status"]["phase"] == "Running"
        world.controllers.start_agent(node)
        await world.until(lambda: world.pod("a")["metadata"]["deletionGracePeriodSeconds"] == 0)
        assert world.pod("a")["status"]["phase"] == ("Failed" if code else "Succeeded")
        ended = state(world.pod("a"))["state"]["terminated"]
        assert ended["exitCode"] == code
        assert world.pod("a")["metadata"]["uid"] not in world.network.pods

    in_world(play)


@pytest.mark.parametrize("moment", ["running", "on the way down", "starting"])
def test_what_the_control_plane_says_of_a_lost_pods_end_stays_when_its_kubelet_is_back(
    in_world, monkeypatch, moment
):
    """Source: kubelet, generateAPIPodStatus: no pod leaves a phase in which it has ended."""

    def lose(world):
        """Do as the control plane does when a node is gone."""
        found = world.pod("a")
        status = {**found["status"], "phase": "Failed"}
        world.api.update_status("pods", {**found, "status": status})
        world.api.delete("pods", "a", "default", grace=0)

    async def play(world):
        start = world.runtime.start_container

        async def lost_meanwhile(*arguments):
            lose(world)
            return await start(*arguments)

        if moment == "starting":
            monkeypatch.setattr(world.runtime, "start_container", lost_meanwhile)
        phases = []
        world.api.subscribe(
            "pods", lambda event: phases.append((event.object.get("status") or {}).get("phase"))
        )
        pod = pod_object("a", restartPolicy="Never")
        pod["metadata"]["finalizers"] = ["example.com/held"]
        world.api.create("pods", pod)
        if moment != "starting":
            await world.until(lambda: is_ready(world.pod("a")))
            (container,) = world.runtime.of(world.pod("a"))
            if moment == "on the way down":
                world.runtime.ignores_term = True
                world.api.delete("pods", "a", "default")
                await world.until(lambda: container.graces)
            node = world.pod("a")["spec"]["nodeName"]
            world.controllers.stop_agent(node)
            world.runtime.exit(container.id, 0)
            lose(world)
            world.controllers.start_agent(node)
        uid = world.pod("a")["metadata"]["uid"]
        agents = world.controllers.kubelets.agents.values()
        await world.until(lambda: "Failed" in phases)
        await world.until(lambda: all(uid not in agent.workers for agent in agents))
        assert set(phases[phases.index("Failed") :]) == {"Failed"}
        assert "terminated" in state(world.pod("a"))["state"]

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
        take, taken = getattr(world.runtime, step), []

        async def delete_meanwhile(*arguments):
            taken.append(arguments)
            world.api.delete("pods", "a", "default", grace=0)
            return await take(*arguments)

        monkeypatch.setattr(world.runtime, step, delete_meanwhile)
        world.api.create("pods", pod_object("a"))
        agents = world.controllers.kubelets.agents.values()
        await world.until(lambda: taken and not any(agent.workers for agent in agents))
        assert not world.runtime.sandboxes
        assert not world.runtime.containers
        assert not world.network.pods

    in_world(play)


def test_a_sandbox_that_cannot_be_made_is_told_and_made_later(in_world, monkeypatch):
    monkeypatch.setattr(worker, "SANDBOX_RETRY", 0.01)

    async def play(world):
        make, refused = world.runtime.create_sandbox, []

        async def refuse(spec):
            if len(refused) < 2:
                refused.append(spec)
                raise ContainerCannotRunError("[Errno 2] No such file: '/proc/sys/net/nonsense'")
            return await make(spec)

        monkeypatch.setattr(world.runtime, "create_sandbox", refuse)
        world.api.create("pods", pod_object("a"))
        await world.until(lambda: is_ready(world.pod("a")))
        (event,) = [e for e in world.api.list("events") if e["reason"] == "FailedCreatePodSandBox"]
        assert "/proc/sys/net/nonsense" in event["message"]

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


def test_a_sidecar_that_ends_before_its_turn_is_not_stopped_once_more(in_world, monkeypatch):
    async def play(world):
        stop, stopped = world.runtime.stop_container, []

        def note(container_id, grace):
            stopped.append(container_id)
            return stop(container_id, grace)

        monkeypatch.setattr(world.runtime, "stop_container", note)
        world.runtime.ignores_term = True
        first, second = (
            {"name": name, "image": "web", "restartPolicy": "Always"} for name in ("one", "two")
        )
        world.api.create("pods", pod_object("a", initContainers=[first, second]))
        await world.until(lambda: is_ready(world.pod("a")))
        found = {one.spec.name: one.id for one in world.runtime.of(world.pod("a"))}
        world.api.delete("pods", "a", "default")
        for name in ("main", "two"):
            await world.until(lambda name=name: stopped and stopped[-1] == found[name])
            if name == "two":
                world.runtime.exit(found["one"], 0)
            world.runtime.exit(found[name], 0)
        await world.until(lambda: world.pod("a") is None)
        assert stopped == [found["main"], found["two"]]

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


HANGING = {"sleep": {"seconds": 3000}}
"""Longer than any test waits; the API allows it where the grace period is no shorter."""
PATIENT = {"terminationGracePeriodSeconds": 3000}


def hooked(name="main", **hooks):
    return {"name": name, "image": "web", "lifecycle": hooks}


def started(world, name="main"):
    return lambda: f"start {name}" in world.runtime.history


def readiness_shown(world):
    """Return a list that grows with each form of a pod: whether it, or a container, is ready."""
    shown = []

    def note(event):
        statuses = (event.object.get("status") or {}).get("containerStatuses") or ()
        shown.append(is_ready(event.object) or any(c["ready"] for c in statuses))

    world.api.subscribe("pods", note)
    return shown


@pytest.mark.parametrize("grace", [20, 0])
def test_a_pod_whose_post_start_hook_hangs_can_be_deleted(in_world, grace):
    async def play(world):
        both = [hooked("main", postStart=HANGING), hooked("other", postStart=HANGING)]
        shown = readiness_shown(world)
        world.api.create("pods", pod_object("a", containers=both, **PATIENT))
        await world.until(started(world))
        uid = world.pod("a")["metadata"]["uid"]
        world.api.delete("pods", "a", "default", grace=grace)
        await world.until(lambda: world.pod("a") is None and uid not in world.runtime.sandboxes)
        assert world.runtime.history == ["start main", "end main"]
        assert True not in shown

    in_world(play)


def test_a_pod_whose_sidecars_post_start_hook_hangs_can_be_deleted(in_world):
    async def play(world):
        side = {**hooked("side", postStart=HANGING), "restartPolicy": "Always"}
        world.api.create("pods", pod_object("a", initContainers=[side], **PATIENT))
        await world.until(started(world, "side"))
        world.api.delete("pods", "a", "default")
        await world.until(lambda: world.pod("a") is None)
        assert world.runtime.history == ["start side", "end side"]

    in_world(play)


def test_a_container_that_ends_in_its_post_start_hook_is_started_again(in_world):
    async def play(world):
        pod = pod_object("a", containers=[hooked(postStart=HANGING)], **PATIENT)
        world.api.create("pods", pod)
        await world.until(started(world))
        (container,) = world.runtime.of(world.pod("a"))
        world.runtime.exit(container.id, 1)
        await world.until(lambda: world.runtime.history.count("start main") == 2)

    in_world(play)


def test_a_post_start_hook_that_fails_stops_the_container_in_order(in_world):
    async def play(world):
        failing = {"exec": {"command": ["false"]}}
        world.prober.answers["main"] = Attempt(passed=False, message="exit code 1")
        pod = pod_object(
            "a", containers=[hooked(postStart=failing)], terminationGracePeriodSeconds=7
        )
        world.runtime.ignores_term = True
        world.api.create("pods", pod)
        await world.until(started(world))
        (container,) = world.runtime.of(world.pod("a"))
        await world.until(lambda: container.graces)
        assert container.graces == [7]
        await world.controllers.events.settle()
        assert ("FailedPostStartHook", "exit code 1") in reasons(world, "a")

    in_world(play)


def test_a_container_whose_post_start_hook_failed_is_not_ready_while_it_is_stopped(in_world):
    async def play(world):
        shown = readiness_shown(world)
        world.prober.answers["main"] = Attempt(passed=False, message="exit code 1")
        failing = {"exec": {"command": ["false"]}}
        world.runtime.ignores_term = True
        world.api.create("pods", pod_object("a", containers=[hooked(postStart=failing)]))
        await world.until(started(world))
        (container,) = world.runtime.of(world.pod("a"))
        await world.until(lambda: container.graces)
        await world.until(lambda: (world.pod("a").get("status") or {}).get("containerStatuses"))
        world.runtime.exit(container.id, 137)
        await world.until(lambda: state(world.pod("a"))["restartCount"] == 1)
        assert True not in shown

    in_world(play)


def test_a_shorter_grace_ends_a_pre_stop_hook_that_hangs(in_world):
    async def play(world):
        pod = pod_object("a", containers=[hooked(preStop=HANGING)], **PATIENT)
        world.api.create("pods", pod)
        await world.until(lambda: is_ready(world.pod("a")))
        uid = world.pod("a")["metadata"]["uid"]
        world.api.delete("pods", "a", "default")
        await world.until(lambda: ("Killing", "Stopping container main") in reasons(world, "a"))
        world.api.delete("pods", "a", "default", grace=1)
        await world.until(lambda: world.pod("a") is None and uid not in world.runtime.sandboxes)

    in_world(play)


def test_the_pre_stop_hook_runs_before_a_container_that_is_not_alive_is_stopped(in_world):
    async def play(world):
        probe = {"tcpSocket": {"port": 80}, "failureThreshold": 1, "periodSeconds": 1}
        hook = {"preStop": {"sleep": {"seconds": 0}}}
        main = {"name": "main", "image": "web", "livenessProbe": probe, "lifecycle": hook}
        world.prober.answers["main"] = Attempt(passed=False, message="refused")
        world.api.create("pods", pod_object("a", containers=[main]))
        await world.until(started(world))
        (container,) = world.runtime.of(world.pod("a"))
        await world.until(lambda: container.graces)
        assert 2 <= container.graces[0] < 30  # the hook has used some of it up

    in_world(play)


def held_hooks(world, monkeypatch):
    """Have hooks that are commands wait; return the containers that had one, and what ends each."""
    begun, ends = [], defaultdict(asyncio.Event)

    async def attempt(_hook, target):
        begun.append(target.container["name"])
        await ends[target.container["name"]].wait()
        return Attempt(passed=True)

    monkeypatch.setattr(world.prober, "attempt", attempt)
    return begun, ends


COMMAND = {"exec": {"command": ["true"]}}


def test_a_kubelet_that_is_stopped_in_a_pre_stop_hook_ends_nothing_before_it_is_back(
    in_world, monkeypatch
):
    async def play(world):
        begun, ends = held_hooks(world, monkeypatch)
        world.api.create("pods", pod_object("a", containers=[hooked(preStop=COMMAND)]))
        await world.until(lambda: is_ready(world.pod("a")))
        (container,) = world.runtime.of(world.pod("a"))
        node = world.pod("a")["spec"]["nodeName"]
        world.api.delete("pods", "a", "default")
        await world.until(lambda: begun)
        world.controllers.stop_agent(node)
        ends["main"].set()
        for _ in range(50):  # all turns that its actor could take
            await asyncio.sleep(0)
        assert container.graces == []
        world.controllers.start_agent(node)
        await world.until(lambda: world.pod("a") is None)
        assert begun == ["main", "main"]
        assert 2 <= container.graces[0] < 30

    in_world(play)


def test_a_kubelet_that_is_stopped_and_started_between_two_hooks_kills_no_container(
    in_world, monkeypatch
):
    async def play(world):
        begun, ends = held_hooks(world, monkeypatch)
        both = [hooked(name, preStop=COMMAND) for name in ("quick", "slow")]
        world.api.create("pods", pod_object("a", containers=both))
        await world.until(lambda: is_ready(world.pod("a")))
        node = world.pod("a")["spec"]["nodeName"]
        found = world.runtime.of(world.pod("a"))
        world.api.delete("pods", "a", "default")
        await world.until(lambda: len(begun) == 2)
        world.controllers.stop_agent(node)
        ends["quick"].set()
        for _ in range(50):  # all turns that its actor could take
            await asyncio.sleep(0)
        world.controllers.start_agent(node)
        ends["slow"].set()
        await world.until(lambda: world.pod("a") is None)
        assert all(container.graces for container in found)

    in_world(play)


def test_a_sidecars_pre_stop_hook_begins_with_those_of_the_apps_and_all_share_one_grace(
    in_world, monkeypatch
):
    async def play(world):
        begun, ends = held_hooks(world, monkeypatch)
        side = {**hooked("side", preStop=COMMAND), "restartPolicy": "Always"}
        main = hooked("main", preStop=COMMAND)
        other = {"name": "other", "image": "web", "restartPolicy": "Always"}
        spec = {"initContainers": [side, other], "containers": [main]}
        world.api.create("pods", pod_object("a", **spec))
        await world.until(lambda: is_ready(world.pod("a")))
        found = {one.spec.name: one for one in world.runtime.of(world.pod("a"))}
        world.api.delete("pods", "a", "default")
        await world.until(lambda: sorted(begun) == ["main", "side"])
        ends["main"].set()
        ends["side"].set()
        await world.until(lambda: world.pod("a") is None)
        assert world.runtime.history[3:] == ["end main", "end other", "end side"]
        assert all(2 <= one.graces[0] < 30 for one in found.values())

    in_world(play)


def test_a_sidecar_waits_no_longer_for_an_app_than_the_grace(in_world, monkeypatch):
    async def play(world):
        side = {"name": "side", "image": "web", "restartPolicy": "Always"}
        world.api.create("pods", pod_object("a", initContainers=[side]))
        await world.until(lambda: is_ready(world.pod("a")))
        found = {one.spec.name: one for one in world.runtime.of(world.pod("a"))}
        world.runtime.ignores_term = True
        monkeypatch.setattr(worker, "_grace", lambda _pod: 0.05)
        world.api.delete("pods", "a", "default")
        await world.until(lambda: found["side"].graces)
        assert found["main"].graces == [0.05]
        assert found["side"].graces == [2.0]
        assert not found["main"].ended.is_set()
        for one in found.values():
            world.runtime.exit(one.id, 143)
        await world.until(lambda: world.pod("a") is None)

    in_world(play)


@pytest.mark.parametrize("hook", [None, COMMAND])
def test_a_shorter_grace_leaves_a_sidecar_its_turn(in_world, monkeypatch, hook):
    async def play(world):
        begun, _ = held_hooks(world, monkeypatch)
        side = hooked("side", preStop=hook) if hook else {"name": "side", "image": "web"}
        side = {**side, "restartPolicy": "Always"}
        world.api.create("pods", pod_object("a", initContainers=[side]))
        await world.until(lambda: is_ready(world.pod("a")))
        found = {one.spec.name: one for one in world.runtime.of(world.pod("a"))}
        world.runtime.ignores_term = True
        world.api.delete("pods", "a", "default")
        await world.until(lambda: found["main"].graces and (begun or not hook))
        world.api.delete("pods", "a", "default", grace=1)
        await world.until(lambda: 1.0 in found["main"].graces)
        assert found["side"].graces == []
        if not hook:
            world.runtime.exit(found["main"].id, 143)
        await world.until(lambda: found["side"].graces)  # with a hook: when the second is over
        assert found["side"].graces == [worker.SHORTEST_GRACE]
        for one in found.values():
            if not one.ended.is_set():
                world.runtime.exit(one.id, 143)
        await world.until(lambda: world.pod("a") is None)

    in_world(play)


def test_force_ends_a_sidecar_that_waits_for_its_turn(in_world):
    async def play(world):
        side = {"name": "side", "image": "web", "restartPolicy": "Always"}
        world.api.create("pods", pod_object("a", initContainers=[side]))
        await world.until(lambda: is_ready(world.pod("a")))
        found = {one.spec.name: one for one in world.runtime.of(world.pod("a"))}
        world.runtime.ignores_term = True
        world.api.delete("pods", "a", "default")
        await world.until(lambda: found["main"].graces)
        world.api.delete("pods", "a", "default", grace=0)
        await world.until(lambda: not world.runtime.containers)
        assert found["side"].graces == [0]

    in_world(play)


@pytest.mark.parametrize("probe", ["readinessProbe", "livenessProbe"])
def test_a_stopped_kubelet_probes_nothing_and_minds_no_attempt_that_ends_meanwhile(
    in_world, monkeypatch, probe
):
    async def play(world):
        asked, answers = [], asyncio.Queue()

        async def attempt(_probe, _target):
            asked.append(answers)
            return await answers.get()

        monkeypatch.setattr(world.prober, "attempt", attempt)
        wanted = {"tcpSocket": {"port": 80}, "failureThreshold": 1, "periodSeconds": 1}
        main = {"name": "main", "image": "web", probe: wanted}
        answers.put_nowait(Attempt(passed=True))
        world.api.create("pods", pod_object("a", containers=[main]))
        await world.until(lambda: is_ready(world.pod("a")) and len(asked) == 2)
        (container,) = world.runtime.of(world.pod("a"))
        node = world.pod("a")["spec"]["nodeName"]
        told = []
        world.api.subscribe("pods", lambda event: told.append(is_ready(event.object)))
        world.controllers.stop_agent(node)
        answers.put_nowait(Attempt(passed=False, message="refused"))
        await world.until(lambda: not answers.qsize())
        for _ in range(50):  # all turns that the probe could take
            await asyncio.sleep(0)
        assert len(asked) == 2
        world.controllers.start_agent(node)
        answers.put_nowait(Attempt(passed=True))
        await world.until(lambda: len(asked) == 4)  # the one that was made anew, and the next
        assert container.graces == []
        assert all(told)
        await world.controllers.events.settle()
        assert "Unhealthy" not in [reason for reason, _ in reasons(world, "a")]

    in_world(play)
