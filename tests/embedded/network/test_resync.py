"""Rules that somebody changed by hand are found and written anew; those of others stay."""

import asyncio
import dataclasses
import os
import resource

import pytest

from k8slab.embedded.network import resync
from k8slab.embedded.network.model import Endpoint, PolicyDirection, PolicyRule, ServicePort

IP = "10.96.3.4"


async def furnish(f):
    """Make pods, a Service with affinity and one without, and a policy; return a node's rules."""
    server, client = await f.pod("server"), await f.pod("client", 2)
    worker = f.nodes[1]
    web = ServicePort(
        namespace="default",
        service="web",
        cluster_ips=(IP,),
        port=80,
        endpoints=(Endpoint(server, 8080, worker), Endpoint(client, 8080, f.nodes[2])),
    )
    loyal = dataclasses.replace(web, service="loyal", cluster_ips=("10.96.3.5",))
    loyal = dataclasses.replace(loyal, affinity_seconds=60)
    await f.network.sync_services({web.key: web, loyal.key: loyal})
    policy = PolicyDirection(
        policy="default/p",
        direction="ingress",
        subjects=frozenset(["server"]),
        rules=(PolicyRule(addresses=frozenset([client])),),
    )
    await f.network.sync_policies([policy])
    return f.network._nodes[worker].rules


def listed(rules):
    return resync.blocks(rules.listing())


@pytest.mark.kernel
@pytest.mark.parametrize(
    "damage",
    [
        "flush ruleset",
        "delete table ip network-policy",
        "flush chain ip network-policy forward-ingress",
        "insert rule ip network-policy forward-ingress accept",
        "add chain ip kube-proxy mine",
        "add rule ip kube-proxy nat-prerouting tcp dport { 1, 2 } drop",
        f"delete element ip kube-proxy service-ips {{ {IP} . tcp . 80 }}",
        "add element ip kube-proxy service-ips { 10.96.9.9 . tcp . 80 : drop }",
    ],
)
async def test_whatever_somebody_did_to_the_rules_the_next_look_heals_it(fabric, damage, caplog):
    async with fabric() as f:
        rules = await furnish(f)
        wanted = listed(rules)
        assert (await f.ask("client", IP, 80)).split()[0] in ("server", "client")
        rules.nft.run(damage)
        assert listed(rules) != wanted
        await f.network._resync.look()
        assert listed(rules) == wanted
        assert f"node {f.nodes[1]}: its rules are written anew, since somebody" in caplog.text
        caplog.clear()
        await f.network._resync.look()
        assert caplog.text == ""
        assert await f.blocked(f.nodes[2], "server")
        assert (await f.ask("client", "server")).startswith("server ")


@pytest.mark.kernel
async def test_while_one_agent_is_stopped_the_other_tables_heal_all_the_same(fabric):
    async with fabric() as f:
        rules = await furnish(f)
        wanted = listed(rules)
        rules.rest(["network-policy"])
        of_others = listed(rules)
        assert of_others == {name: wanted[name] for name in wanted if "network-policy" not in name}
        rules.nft.run("flush ruleset")
        await f.network._resync.look()
        assert listed(rules) == of_others
        assert "network-policy" not in rules.nft.run("list ruleset")
        rules.rest(["kube-proxy", "calico", "load-balancer"])
        rules.nft.run("flush ruleset")
        await f.network._resync.look()
        assert rules.nft.run("list ruleset") == ""
        rules.wake(["network-policy", "kube-proxy", "calico", "load-balancer"])
        assert listed(rules) == wanted


@pytest.mark.kernel
async def test_changes_of_ours_and_tables_of_others_are_no_reason_to_write_anything(
    fabric, caplog, monkeypatch
):
    compared = []
    monkeypatch.setattr(resync, "heal", lambda rules, _: compared.append(rules))
    async with fabric() as f:
        rules = await furnish(f)
        await f.network.sync_policies([])
        await f.network.sync_services({})
        await f.network.sync_services({})
        await f.network._resync.look()
        assert compared == []
        rules.nft.run("table ip mine { chain c { ip daddr 1.2.3.4 drop; }; }")
        await f.network._resync.look()
        assert compared == [rules]
        monkeypatch.undo()
        rules.nft.run("flush chain ip mine c")
        await f.network._resync.look()
        assert "chain c" in rules.nft.run("list table ip mine")
        assert caplog.text == ""


@pytest.mark.kernel
async def test_what_packets_leave_in_the_rules_is_no_change_by_hand(fabric, caplog):
    async with fabric() as f:
        rules = await furnish(f)
        await f.ask("client", "10.96.3.5", 80)
        assert await f.blocked(f.nodes[2], "server")
        rules.nft.run("add table ip mine")
        await f.network._resync.look()
        assert caplog.text == ""


@pytest.mark.kernel
async def test_the_look_comes_by_itself(fabric, monkeypatch):
    monkeypatch.setattr(resync, "SECONDS", 0.05)
    async with fabric() as f:
        rules, kernel = await furnish(f), f.network._queue.run  # whose thread has it
        wanted = await kernel(listed, rules)
        await kernel(rules.nft.run, "flush ruleset")
        async with asyncio.timeout(30):
            while await kernel(listed, rules) != wanted:
                pass


@pytest.mark.kernel
async def test_a_daemon_with_many_open_files_looks_all_the_same(fabric):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a shell often has 1,024
    async with fabric() as f:
        rules = await furnish(f)
        wanted = listed(rules)
        many = [os.dup(0) for _ in range(1100)]
        rules.nft.run("flush ruleset")
        await f.network._resync.look()
        for number in many:
            os.close(number)
        assert listed(rules) == wanted


def test_a_difference_is_told_in_words_and_orders_that_mean_nothing_are_none():
    chain = "table ip t {\n\tchain a {\n\t\ttcp dport { 1, 2 } accept\n\t\tdrop\n\t}\n%s}\n"
    assert resync.difference(chain % "", (chain % "").replace("1, 2", "2, 1")) == ""
    other = (chain % "").replace("accept", "drop")
    assert resync.difference(chain % "", other) == "table ip t chain a: - tcp dport { 1, 2 } accept"
    more = (
        chain
        % "\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 1.1.1.1,\n\t\t     1.1.1.2 }\n\t}\n"
    )
    assert resync.difference(chain % "", more) == "table ip t set s should not be there"
    fewer = more.replace(",\n\t\t     1.1.1.2", "")
    assert resync.difference(more, fewer) == "table ip t set s: - 1.1.1.2"
    assert resync.difference(more, "") == "table ip t is missing"
