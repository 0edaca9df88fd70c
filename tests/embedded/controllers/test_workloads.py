"""Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs over fake nodes."""

import itertools
from itertools import pairwise
from types import SimpleNamespace

import pytest
from controller_world import deployment, is_ready, pod_object

from k8slab.embedded.controllers import daemonsets
from k8slab.embedded.controllers.daemonsets import target_node
from k8slab.embedded.controllers.kubelet.probes import Attempt
from k8slab.errors import ApiStatusError
from k8slab.objects.meta import controller_of


def sets(world, app):
    found = world.api.list("replicasets.apps", "default")
    return sorted(
        (s for s in found if s["metadata"]["labels"].get("app") == app),
        key=lambda s: int(s["metadata"]["annotations"]["deployment.kubernetes.io/revision"]),
    )


def complete(world, name, replicas):
    def check():
        found = world.api.get("deployments.apps", name, "default")
        status = found.get("status") or {}
        return (
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("updatedReplicas", 0) == replicas
            and status.get("replicas", 0) == replicas
            and status.get("availableReplicas", 0) == replicas
        )

    return check


def set_image(world, name, image):
    found = world.api.get("deployments.apps", name, "default")
    template = found["spec"]["template"]
    containers = [{**template["spec"]["containers"][0], "image": image}]
    template = {**template, "spec": {**template["spec"], "containers": containers}}
    world.api.update("deployments.apps", {**found, "spec": {**found["spec"], "template": template}})


def condition(obj, kind):
    return next(c for c in obj["status"]["conditions"] if c["type"] == kind)


def test_a_deployment_makes_a_replica_set_with_the_hash_of_its_template(in_world):
    async def play(world):
        world.api.create("deployments.apps", deployment("web", 3))
        await world.until(complete(world, "web", 3))
        (owned,) = sets(world, "web")
        word = owned["metadata"]["labels"]["pod-template-hash"]
        assert owned["metadata"]["name"] == f"web-{word}"
        for pod in world.pods(app="web"):
            assert pod["metadata"]["labels"]["pod-template-hash"] == word
            assert pod["metadata"]["name"].startswith(f"web-{word}-")
        nodes = sorted(pod["spec"]["nodeName"] for pod in world.pods(app="web"))
        assert nodes == ["k8slab-worker", "k8slab-worker", "k8slab-worker2"]
        made = world.api.get("deployments.apps", "web", "default")
        assert condition(made, "Available")["status"] == "True"
        await world.until(
            lambda: (
                condition(world.api.get("deployments.apps", "web", "default"), "Progressing")[
                    "reason"
                ]
                == "NewReplicaSetAvailable"
            )
        )
        assert made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"

    in_world(play)


def test_a_deleted_pod_is_replaced_under_another_name_and_address(in_world):
    async def play(world):
        world.api.create("deployments.apps", deployment("web", 1))
        await world.until(complete(world, "web", 1))
        (before,) = world.pods(app="web")
        world.api.delete("pods", before["metadata"]["name"], "default")
        await world.until(
            lambda: [
                p
                for p in world.ready(app="web")
                if p["metadata"]["name"] != before["metadata"]["name"]
            ]
        )
        await world.until(lambda: len(world.pods(app="web")) == 1)
        (after,) = world.pods(app="web")
        assert after["status"]["podIP"] != before["status"]["podIP"]

    in_world(play)


def test_a_rolling_update_stays_between_its_limits_and_keeps_the_old_set(in_world):
    async def play(world):
        rolling = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}, "type": "RollingUpdate"}
        world.api.create("deployments.apps", deployment("web", 6, strategy=rolling))
        await world.until(complete(world, "web", 6))
        seen = []

        def watch(_):
            living = [p for p in world.pods(app="web") if "deletionTimestamp" not in p["metadata"]]
            seen.append((len(living), sum(map(is_ready, living))))

        unsubscribe = world.api.subscribe("pods", watch)
        set_image(world, "web", "web2")
        await world.until(complete(world, "web", 6))
        unsubscribe()
        assert max(count for count, _ in seen) <= 7
        assert min(ready for _, ready in seen) >= 5
        old, new = sets(world, "web")
        assert (old["spec"]["replicas"], new["spec"]["replicas"]) == (0, 6)
        await world.until(lambda: len(world.pods(app="web")) == 6)
        assert all(p["spec"]["containers"][0]["image"] == "web2" for p in world.ready(app="web"))

    in_world(play)


def test_a_broken_update_stops_and_going_back_takes_the_old_set_as_a_new_revision(in_world):
    async def play(world):
        world.api.create("deployments.apps", deployment("web", 4))
        await world.until(complete(world, "web", 4))
        (first,) = sets(world, "web")
        set_image(world, "web", "nowhere")
        await world.until(lambda: len(sets(world, "web")) == 2)
        await world.until(lambda: len(world.pods(app="web")) == 5)
        assert len(world.ready(app="web")) >= 3
        set_image(world, "web", "web")
        await world.until(complete(world, "web", 4))
        last = sets(world, "web")[-1]
        assert last["metadata"]["uid"] == first["metadata"]["uid"]
        assert last["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"

    in_world(play)


def test_recreate_ends_all_old_pods_before_the_first_new_one(in_world):
    async def play(world):
        made = deployment("web", 3, strategy={"type": "Recreate"})
        world.api.create("deployments.apps", made)
        await world.until(complete(world, "web", 3))
        mixed = []

        def watch(_):
            images = {p["spec"]["containers"][0]["image"] for p in world.pods(app="web")}
            mixed.append(len(images) > 1)

        unsubscribe = world.api.subscribe("pods", watch)
        set_image(world, "web", "web2")
        await world.until(complete(world, "web", 3))
        unsubscribe()
        assert mixed
        assert not any(mixed)

    in_world(play)


def test_a_paused_deployment_follows_its_size_but_not_its_template(in_world):
    async def play(world):
        world.api.create("deployments.apps", deployment("web", 1))
        await world.until(complete(world, "web", 1))
        world.api.patch("deployments.apps", "web", "default", {"spec": {"paused": True}})
        set_image(world, "web", "web2")
        world.api.patch("deployments.apps", "web", "default", {"spec": {"replicas": 3}})
        await world.until(lambda: len(world.ready(app="web")) == 3)
        assert len(sets(world, "web")) == 1
        world.api.patch("deployments.apps", "web", "default", {"spec": {"paused": None}})
        await world.until(complete(world, "web", 3))
        assert len(sets(world, "web")) == 2

    in_world(play)


def test_scaling_down_takes_the_pods_that_are_not_ready_first(in_world):
    async def play(world):
        # Nobody is probed a second time here.
        probe = {"tcpSocket": {"port": 80}, "failureThreshold": 1, "periodSeconds": 600}
        made = deployment("web", 2)
        made["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = probe
        world.api.create("deployments.apps", made)
        await world.until(complete(world, "web", 2))
        kept = {p["metadata"]["name"] for p in world.ready(app="web")}
        world.prober.answers["main"] = Attempt(passed=False)
        world.api.patch("deployments.apps", "web", "default", {"spec": {"replicas": 4}})
        await world.until(lambda: len(world.pods(app="web")) == 4)
        world.api.patch("deployments.apps", "web", "default", {"spec": {"replicas": 2}})
        await world.until(lambda: len(world.pods(app="web")) == 2)
        assert {p["metadata"]["name"] for p in world.pods(app="web")} == kept

    in_world(play)


def test_a_replica_set_adopts_orphans_and_lets_go_of_relabelled_pods(in_world):
    async def play(world):
        world.api.create("deployments.apps", deployment("web", 2))
        await world.until(complete(world, "web", 2))
        (owned,) = sets(world, "web")
        pod = world.pods(app="web")[0]
        name = pod["metadata"]["name"]
        world.api.patch("pods", name, "default", {"metadata": {"labels": {"app": "other"}}})
        await world.until(lambda: not world.pod(name)["metadata"].get("ownerReferences"))
        await world.until(lambda: len(world.ready(app="web")) == 2)
        orphan = pod_object("stray", labels=dict(owned["spec"]["selector"]["matchLabels"]))
        world.api.create("pods", orphan)
        await world.until(lambda: len(world.pods(app="web")) == 2)
        assert world.pod(name)

    in_world(play)


def stateful(name, replicas, **spec):
    made = deployment(name, replicas, serviceName=name, **spec)
    return {**made, "kind": "StatefulSet"}


def set_status(world, name):
    return world.api.get("statefulsets.apps", name, "default").get("status") or {}


def test_a_stateful_set_adopts_a_pod_of_its_labels_only_if_it_has_a_name_of_the_set(in_world):
    async def play(world):
        for name in ("db-x1", "db-a-1", "db-0"):
            world.api.create("pods", pod_object(name, labels={"app": "db"}))
        theirs = world.pod("db-x1")
        world.api.create("statefulsets.apps", stateful("db", 2))
        complete = {"updatedReplicas": 2, "readyReplicas": 2}.items()
        await world.until(lambda: set_status(world, "db").items() >= complete)
        owned = [p["metadata"]["name"] for p in world.pods(app="db") if controller_of(p)]
        assert sorted(owned) == ["db-0", "db-1"]
        owner = controller_of(world.pod("db-0"))
        world.api.patch("pods", "db-x1", "default", {"metadata": {"ownerReferences": [owner]}})
        await world.until(lambda: not world.pod("db-x1")["metadata"].get("ownerReferences"))
        assert world.pod("db-x1")["metadata"]["uid"] == theirs["metadata"]["uid"]

    in_world(play)


def test_a_stateful_set_makes_named_pods_in_order(in_world):
    async def play(world):
        order = []
        world.api.subscribe(
            "pods", lambda e: e.type == "ADDED" and order.append(e.object["metadata"]["name"])
        )
        world.api.create("statefulsets.apps", stateful("db", 3))
        await world.until(lambda: len(world.ready(app="db")) == 3)
        assert order == ["db-0", "db-1", "db-2"]
        pod = world.pod("db-1")
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
        assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
        (container,) = world.runtime.of(pod)
        hosts = container.spec.files["/etc/hosts"].decode()
        assert "db-1.db.default.svc.cluster.local\tdb-1" in hosts

    in_world(play)


def test_an_ordered_stateful_set_waits_for_each_pod_and_shrinks_from_the_end(in_world):
    async def play(world):
        made = stateful("db", 3)
        made["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {
            "tcpSocket": {"port": 1},
            "periodSeconds": 1,
        }
        world.prober.answers["main"] = Attempt(passed=False)
        world.api.create("statefulsets.apps", made)
        await world.until(lambda: world.pods(app="db"))
        await world.until(lambda: world.prober.count > 0)
        assert [p["metadata"]["name"] for p in world.pods(app="db")] == ["db-0"]
        world.prober.answers["main"] = Attempt(passed=True)
        await world.until(lambda: len(world.ready(app="db")) == 3)
        world.api.patch("statefulsets.apps", "db", "default", {"spec": {"replicas": 1}})
        await world.until(lambda: len(world.pods(app="db")) == 1)
        assert world.pod("db-0")

    in_world(play)


def test_a_stateful_set_updates_from_the_last_pod_down_to_the_partition(in_world):
    async def play(world):
        world.api.create("statefulsets.apps", stateful("db", 3, podManagementPolicy="Parallel"))
        await world.until(lambda: len(world.ready(app="db")) == 3)
        found = world.api.get("statefulsets.apps", "db", "default")
        template = found["spec"]["template"]
        container = {**template["spec"]["containers"][0], "image": "db2"}
        template = {**template, "spec": {**template["spec"], "containers": [container]}}
        update = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        spec = {**found["spec"], "template": template, "updateStrategy": update}
        world.api.update("statefulsets.apps", {**found, "spec": spec})

        def images():
            ready = sorted(world.ready(app="db"), key=lambda p: p["metadata"]["name"])
            return [p["spec"]["containers"][0]["image"] for p in ready]

        await world.until(lambda: images() == ["web", "db2", "db2"])

    in_world(play)


def test_a_daemon_set_runs_once_on_each_node_that_it_tolerates(in_world):
    async def play(world):
        made = deployment("agent", 1)
        made["kind"] = "DaemonSet"
        del made["spec"]["replicas"]
        world.api.create("daemonsets.apps", made)
        await world.until(lambda: len(world.ready(app="agent")) == 2)
        nodes = sorted(p["spec"]["nodeName"] for p in world.pods(app="agent"))
        assert nodes == ["k8slab-worker", "k8slab-worker2"]
        everywhere = {"tolerations": [{"operator": "Exists"}]}
        world.api.patch(
            "daemonsets.apps", "agent", "default", {"spec": {"template": {"spec": everywhere}}}
        )
        await world.until(lambda: len(world.ready(app="agent")) == 3)
        await world.until(
            lambda: (
                world.api.get("daemonsets.apps", "agent", "default")["status"].get("numberReady")
                == 3
            )
        )

    in_world(play)


def test_a_job_completes_and_runs_so_many_at_a_time(in_world):
    async def play(world):
        world.runtime.ends_at_once = {"work": 0}
        job = {
            "metadata": {"name": "j", "namespace": "default"},
            "spec": {
                "completions": 3,
                "parallelism": 2,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "main", "image": "work"}],
                    }
                },
            },
        }
        world.api.create("jobs.batch", job)

        def done():
            status = world.api.get("jobs.batch", "j", "default").get("status") or {}
            return any(c["type"] == "Complete" for c in status.get("conditions") or ())

        await world.until(done)
        status = world.api.get("jobs.batch", "j", "default")["status"]
        assert status["succeeded"] == 3
        assert len(world.pods()) == 3

    in_world(play)


def test_a_job_fails_at_its_back_off_limit(in_world):
    async def play(world):
        world.runtime.ends_at_once = {"work": 1}
        job = {
            "metadata": {"name": "j", "namespace": "default"},
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "main", "image": "work"}],
                    }
                },
            },
        }
        world.api.create("jobs.batch", job)

        def failed():
            status = world.api.get("jobs.batch", "j", "default").get("status") or {}
            return [c["reason"] for c in status.get("conditions") or () if c["type"] == "Failed"]

        assert await world.until(failed) == ["BackoffLimitExceeded"]

    in_world(play)


def test_others_have_their_turn_while_a_replica_set_makes_its_pods(in_world, monkeypatch):
    async def play(world):
        monkeypatch.setattr("k8slab.embedded.controllers.loop.SLICE", 0.0)  # others run after each
        fewer = {"spec": {"replicas": 1}}
        added = world.at_third_pod(
            lambda: world.api.patch("replicasets.apps", "web", "default", fewer)
        )
        made = deployment("web", 50)
        world.api.create("replicasets.apps", {**made, "kind": "ReplicaSet"})
        await world.until(lambda: len(world.ready(app="web")) == len(world.pods(app="web")) == 1)
        assert len(added) == 3
        await world.until(
            lambda: world.api.get("replicasets.apps", "web", "default")["status"]["replicas"] == 1
        )

    in_world(play)


def test_a_pod_that_may_not_be_deleted_keeps_no_other_of_its_set_from_it(in_world):
    async def play(world):
        made = deployment("web", 3)
        world.api.create("replicasets.apps", {**made, "kind": "ReplicaSet"})
        await world.until(lambda: len(world.ready(app="web")) == 3)
        kept = world.refuse_first_deletion()
        none = {"spec": {"replicas": 0}}
        world.api.patch("replicasets.apps", "web", "default", none)
        await world.until(lambda: world.names() == kept)

    in_world(play)


def test_a_pod_that_may_not_be_deleted_keeps_no_other_of_its_daemon_set_from_it(in_world):
    async def play(world):
        made = deployment("agent", 1)
        made["kind"] = "DaemonSet"
        del made["spec"]["replicas"]
        everywhere = {"tolerations": [{"operator": "Exists"}]}
        made["spec"]["template"]["spec"] |= everywhere
        world.api.create("daemonsets.apps", made)
        count = len(world.api.list("nodes"))
        await world.until(lambda: len(world.ready(app="agent")) == count)
        kept = world.refuse_first_deletion()
        nowhere = {"spec": {"template": {"spec": {"nodeSelector": {"disk": "none"}}}}}
        world.api.patch("daemonsets.apps", "agent", "default", nowhere)
        await world.until(lambda: world.names() == kept)
        await world.until(
            lambda: (
                world.api.get("daemonsets.apps", "agent", "default")["status"].get(
                    "numberMisscheduled"
                )
                == 1
            )
        )

    in_world(play)


def test_a_daemon_set_whose_pods_are_refused_asks_once_a_look_and_every_node_has_its_turn(
    in_world, monkeypatch
):
    """What a quota refuses is refused on each node: one Event a try says so."""

    async def play(world):
        create, listed, asked = world.api.create, world.api.list, []
        forbidden = {"k8slab-worker", "k8slab-worker2"}

        def refusing(resource, obj, *args, **more):
            if resource == "pods":
                asked.append(target_node(obj))
                if asked[-1] in forbidden:
                    raise ApiStatusError("exceeded quota", code=403, reason="Forbidden")
            return create(resource, obj, *args, **more)

        def looking(resource, *args, **more):
            if resource == "nodes":
                asked.append("")
            return listed(resource, *args, **more)

        monkeypatch.setattr(world.api, "create", refusing)
        monkeypatch.setattr(world.api, "list", looking)
        made = deployment("agent", 1)
        made["kind"] = "DaemonSet"
        del made["spec"]["replicas"]
        create("daemonsets.apps", made)
        await world.until(lambda: forbidden <= {*asked})
        assert not any(one and other for one, other in pairwise(asked))
        forbidden.discard("k8slab-worker2")  # whatever node comes first, it does not hinder this
        await world.until(lambda: len(world.ready(app="agent")) == 1)

    in_world(play)


def turned():
    """Return what takes the place of `random.sample`: each answer begins with another item."""
    turns = itertools.count()

    def sample(items, _number):
        first = next(turns) % len(items)
        return [*items[first:], *items[:first]]

    return sample


def changed_at(pod):
    return int(pod["metadata"]["resourceVersion"])


@pytest.mark.parametrize(
    ("rolling", "order"),
    [({"maxSurge": "100%", "maxUnavailable": 0}, target_node), ({}, changed_at)],
)
def test_a_node_that_is_refused_its_new_pod_keeps_no_other_from_it(
    in_world, monkeypatch, rolling, order
):
    # By chance the closed node could come first more often than a test can wait.
    monkeypatch.setattr(daemonsets, "random", SimpleNamespace(sample=turned()))

    async def play(world):
        create, delete = world.api.create, world.api.delete
        made = deployment("agent", 1, updateStrategy={"rollingUpdate": rolling})
        made["kind"] = "DaemonSet"
        del made["spec"]["replicas"]
        made["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]
        create("daemonsets.apps", made)
        nodes = {node["metadata"]["name"] for node in world.api.list("nodes")}
        await world.until(lambda: len(world.ready(app="agent")) == len(nodes))
        closed = target_node(min(world.pods(app="agent"), key=order))

        def demand_open(pod):
            if target_node(pod) == closed:
                raise ApiStatusError("exceeded quota", code=403, reason="Forbidden")

        def refuse(resource, obj, **more):
            if resource == "pods":
                demand_open(obj)
            return create(resource, obj, **more)

        def keep(resource, name, *args, **more):
            if resource == "pods":
                demand_open(world.pod(name))
            return delete(resource, name, *args, **more)

        monkeypatch.setattr(world.api, "create", refuse)
        monkeypatch.setattr(world.api, "delete", keep)
        newer = {"containers": [{"name": "main", "image": "web2"}]}
        template = {"spec": {**made["spec"]["template"]["spec"], **newer}}
        world.api.patch("daemonsets.apps", "agent", "default", {"spec": {"template": template}})

        def is_new(pod):
            return pod["spec"]["containers"][0]["image"] == "web2"

        await world.until(
            lambda: set(map(target_node, filter(is_new, world.ready()))) == nodes - {closed}
        )

    in_world(play)
