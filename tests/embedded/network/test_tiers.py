"""ClusterNetworkPolicy with real packets: the order of tiers, priorities, and Pass."""

import dataclasses

import pytest

from k8slab.embedded.network.model import Block, PolicyDirection, PolicyRule, PortRange

ANY = PolicyRule()


def policy(name, tier, *rules, direction="ingress", priority=0, subject="server"):
    return PolicyDirection(
        policy=name,
        tier=tier,
        direction=direction,
        priority=priority,
        subjects=frozenset([subject]),
        rules=tuple(rules),
    )


def rule(action, *addresses, **more):
    return PolicyRule(action=action, addresses=frozenset(addresses) or None, **more)


ALLOW_ALL = policy("default/open", "network", ANY)
DENY_ALL = policy("default/closed", "network")


CASES = [
    ([policy("a", "admin", rule("deny"))], False),
    ([policy("a", "admin", rule("deny")), ALLOW_ALL], False),
    ([policy("a", "admin", rule("accept")), DENY_ALL], True),
    ([policy("a", "admin", rule("pass")), DENY_ALL], False),
    ([policy("a", "admin", rule("pass")), ALLOW_ALL], True),
    ([policy("a", "admin"), DENY_ALL], False),
    # The first rule that matches decides, and the lower number is asked first.
    ([policy("a", "admin", rule("accept"), rule("deny"))], True),
    (
        [
            policy("a", "admin", rule("deny"), priority=20),
            policy("b", "admin", rule("accept"), priority=10),
        ],
        True,
    ),
    # Pass leaves out the rest of its own tier alone.
    (
        [
            policy("a", "admin", rule("pass"), priority=1),
            policy("b", "admin", rule("deny"), priority=2),
        ],
        True,
    ),
    (
        [policy("a", "admin", rule("pass")), policy("b", "baseline", rule("deny"))],
        False,
    ),
    # NetworkPolicy decides for every pod that it selects: baseline is never asked.
    ([ALLOW_ALL, policy("b", "baseline", rule("deny"))], True),
    ([DENY_ALL, policy("b", "baseline", rule("accept"))], False),
    ([policy("b", "baseline", rule("deny"))], False),
    ([policy("b", "baseline", rule("pass"), rule("deny"))], True),
    ([policy("b", "baseline", rule("deny", ports=(PortRange("UDP"),)))], True),
    ([policy("b", "baseline", rule("deny", blocks=(Block("10.0.0.0/8"),)))], False),
    # Egress is asked first; ingress is asked whatever egress accepted.
    ([policy("e", "admin", rule("deny"), direction="egress", subject="client")], False),
    (
        [
            policy("e", "admin", rule("accept"), direction="egress", subject="client"),
            policy("i", "baseline", rule("deny")),
        ],
        False,
    ),
    (
        [
            policy("e", "baseline", rule("pass"), direction="egress", subject="client"),
            policy("i", "admin", rule("accept")),
            DENY_ALL,
        ],
        True,
    ),
]


@pytest.mark.kernel
async def test_tiers_are_asked_in_order(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("server")
        await f.pod("client")
        for policies, passes in CASES:
            await f.network.sync_policies(policies)
            assert await (f.passes if passes else f.blocked)("client", "server"), policies


@pytest.mark.kernel
async def test_a_denial_names_the_policy_and_the_pod(fabric):
    async with fabric() as f:
        await f.pod("server")
        client = await f.pod("client", 2)
        long = "a" * 100
        deny = rule("deny", ports=(PortRange("TCP", 8080, 8080),))
        await f.network.sync_policies([policy(long, "admin", deny)])
        assert await f.blocked("client", "server")
        denial = await f.denial(source=client)
        assert (denial.policy, denial.pod_uid, denial.direction) == (long[:60], "server", "ingress")
        await f.network.sync_policies(
            [policy("no-web", "baseline", deny, direction="egress", subject="client")]
        )
        assert await f.blocked("client", "server")
        denial = await f.denial(direction="egress")
        assert (denial.policy, denial.pod_uid) == ("no-web", "client")
        await f.network.sync_policies([DENY_ALL])
        assert await f.blocked("client", "server")
        assert (await f.denial(direction="ingress", policy="")).pod_uid == "server"


@pytest.mark.kernel
async def test_a_changed_priority_or_tier_changes_the_order_and_nothing_is_left_behind(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("server")
        await f.pod("client")
        empty = f.rules(f.nodes[1], "network-policy")
        accept = policy("a", "admin", rule("accept"), priority=5)
        deny = policy("b", "admin", rule("deny"), priority=6)
        await f.network.sync_policies([accept, deny])
        assert await f.passes("client", "server")
        await f.network.sync_policies([accept, dataclasses.replace(deny, priority=4)])
        assert await f.blocked("client", "server")
        await f.network.sync_policies([accept, dataclasses.replace(deny, tier="baseline")])
        assert await f.passes("client", "server")
        await f.network.sync_policies([])
        assert f.rules(f.nodes[1], "network-policy") == empty
