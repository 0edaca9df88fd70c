"""Policies reach the network: before the answer, and before a pod does."""

from controller_world import is_ready, pod_object

RESOURCE = "networkpolicies.networking.k8s.io"


def policy(name, selector, **spec):
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"podSelector": {"matchLabels": selector}, **spec},
    }


def uid(world, name):
    return world.pod(name)["metadata"]["uid"]


def test_an_answered_policy_is_enforced_and_a_deleted_one_is_not(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a", labels={"app": "web"}))
        await world.until(lambda: is_ready(world.pod("a")))
        made = world.api.create(RESOURCE, policy("deny", {"app": "web"}))
        await world.api.settle(RESOURCE, made)
        (section,) = world.network.policies
        assert (section.policy, section.direction) == ("default/deny", "ingress")
        assert section.subjects == {uid(world, "a")}
        changed = world.api.patch(
            RESOURCE, "deny", "default", {"spec": {"policyTypes": ["Ingress", "Egress"]}}
        )
        await world.api.settle(RESOURCE, changed)
        assert [d.direction for d in world.network.policies] == ["ingress", "egress"]
        world.api.delete(RESOURCE, "deny", "default")
        await world.api.settle(RESOURCE, changed)
        assert world.network.policies == []

    in_world(play)


def test_a_pod_is_isolated_before_it_has_an_address(in_world):
    async def play(world):
        made = world.api.create(RESOURCE, policy("deny", {"app": "web"}))
        await world.api.settle(RESOURCE, made)
        world.api.create("pods", pod_object("a", labels={"app": "web"}))
        await world.until(lambda: is_ready(world.pod("a")))
        steps = [
            kind
            for kind, what in world.network.log
            if (kind == "attach" and what == uid(world, "a"))
            or (kind == "policies" and any(uid(world, "a") in d.subjects for d in what))
        ]
        assert steps[:2] == ["policies", "attach"]

    in_world(play)


def test_the_rules_of_its_peers_know_a_pod_before_its_first_container_runs(in_world):
    async def play(world):
        rule = {"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}
        world.api.create(RESOURCE, policy("allow", {"app": "web"}, ingress=[rule]))
        known = []
        real = world.runtime.start_container

        async def start(sandbox_uid, spec):
            addresses = world.network.pods[sandbox_uid]
            rules = [r for d in world.network.policies for r in d.rules]
            known.append(any(set(addresses) <= r.addresses for r in rules))
            return await real(sandbox_uid, spec)

        world.runtime.start_container = start
        world.api.create("pods", pod_object("c", labels={"app": "client"}))
        await world.until(lambda: is_ready(world.pod("c")))
        assert known == [True]

    in_world(play)


def test_the_rules_forget_a_pod_that_was_forced_away_while_it_was_connected(in_world):
    async def play(world):
        rule = {"from": [{"podSelector": {}}]}
        made = world.api.create(RESOURCE, policy("allow", {"app": "web"}, ingress=[rule]))
        real = world.network.attach_pod

        async def attach(**more):
            world.api.delete("pods", "a", "default", grace=0)
            return await real(**more)

        world.network.attach_pod = attach
        world.api.create("pods", pod_object("a"))
        await world.until(lambda: world.network.log and world.network.log[-1][0] == "detach")
        await world.api.settle(RESOURCE, made)
        assert [r.addresses for d in world.network.policies for r in d.rules] == [frozenset()]

    in_world(play)


def test_changes_of_pods_and_namespaces_reach_the_rules(in_world):
    async def play(world):
        other = {"metadata": {"name": "other", "labels": {"team": "x"}}}
        world.api.create("namespaces", other)
        rule = {"from": [{"namespaceSelector": {"matchLabels": {"team": "y"}}}]}
        world.api.create(RESOURCE, policy("allow", {"app": "web"}, ingress=[rule]))
        client = pod_object("c")
        client["metadata"]["namespace"] = "other"
        world.api.create("pods", client)
        await world.until(lambda: is_ready(world.pod("c", "other") or {}))

        def addresses():
            return [r.addresses for d in world.network.policies for r in d.rules]

        await world.controllers.policies.settle()
        assert addresses() == [frozenset()]
        labels = {"metadata": {"labels": {"team": "y"}}}
        changed = world.api.patch("namespaces", "other", "", labels)
        await world.api.settle("namespaces", changed)
        address = world.pod("c", "other")["status"]["podIP"]
        assert addresses() == [frozenset({address})]
        world.api.delete("pods", "c", "other", grace=0)
        await world.controllers.policies.settle()
        assert addresses() == [frozenset()]

    in_world(play)


def test_a_policy_that_cannot_be_enforced_keeps_new_pods_off_the_network(in_world):
    async def play(world):
        async def fail(_):
            raise OSError("the kernel refused")

        real = world.network.sync_policies
        world.network.sync_policies = fail
        world.api.create(RESOURCE, policy("deny", {"app": "web"}))
        world.api.create("pods", pod_object("a", labels={"app": "web"}))
        await world.until(lambda: uid(world, "a") in world.runtime.sandboxes)
        assert uid(world, "a") not in world.network.pods
        world.network.sync_policies = real
        await world.until(lambda: is_ready(world.pod("a")))

    in_world(play)
