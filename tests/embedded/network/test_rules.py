"""What happens when the kernel's rules are not those that were written."""

import dataclasses
import errno
import os
from contextlib import closing, contextmanager

import pytest

from k8slab.embedded import linux
from k8slab.embedded.network import ruleset_policy, ruleset_proxy
from k8slab.embedded.network.model import Endpoint, PolicyDirection, ServicePort
from k8slab.embedded.network.rules import Rules, Tables
from k8slab.embedded.network.ruleset import Fragment
from k8slab.embedded.network.ruleset_proxy import Place
from k8slab.errors import KernelError

IP = "10.96.3.4"
PLACE = Place("ip", "worker", ("172.18.0.3",), ("10.244.0.0/16",), ("10.96.0.0/16",))
WEB = ServicePort(
    namespace="default",
    service="web",
    cluster_ips=(IP,),
    port=80,
    endpoints=(Endpoint("10.244.1.5", 8080, "worker"),),
)
DENY = PolicyDirection(policy="default/deny", direction="ingress", subjects=frozenset(["a"]))


def pod_and_policy():
    return {
        ("policy",): ruleset_policy.policy_fragment(DENY, "ip"),
        ("pod",): ruleset_policy.pod_fragment("cali0", "ingress", [DENY]),
    }


@contextmanager
def written():
    """Give rules of a node with one Service and one policy, and the tables they are in."""
    netns, tables = linux.new_netns(), Tables(PLACE)
    with closing(Rules("worker", netns, {"ip": tables})) as rules:
        rules.change(tables.proxy, {WEB.key: ruleset_proxy.service_port(WEB, PLACE)})
        rules.change(tables.policy, pod_and_policy())
        yield rules, tables
    os.close(netns)


def lines(rules):
    """Return what the kernel has; chains are listed in the order in which they were made."""
    return sorted(rules.nft.run("list ruleset").splitlines())


def changed(number):
    port = dataclasses.replace(WEB, endpoints=(Endpoint("10.244.1.6", number, "worker"),))
    return {port.key: ruleset_proxy.service_port(port, PLACE)}


@pytest.mark.kernel
@pytest.mark.parametrize(
    "damage",
    [
        "flush ruleset",
        "delete table ip kube-proxy",
        "delete table ip network-policy",
        "flush table ip kube-proxy\nflush map ip kube-proxy service-ips",
        f"delete element ip kube-proxy service-ips {{ {IP} . tcp . 80 }}",
    ],
)
def test_whatever_somebody_did_to_the_rules_a_refused_change_heals_all_of_them(damage, caplog):
    with written() as (rules, tables):
        rules.change(tables.proxy, changed(1))
        wanted = lines(rules)
        rules.change(tables.proxy, changed(2))
        rules.nft.run(damage)
        # A change of a Service and one of a policy, each of which needs what was there.
        rules.change(tables.proxy, {WEB.key: None})
        rules.change(tables.policy, dict.fromkeys(pod_and_policy()))
        rules.change(tables.policy, pod_and_policy())
        rules.change(tables.proxy, changed(1))
        assert lines(rules) == wanted
        assert "node worker: its rules are written anew, since the kernel" in caplog.text


@pytest.mark.kernel
def test_while_rules_are_written_anew_nothing_new_passes_and_afterwards_the_policies_are_asked():
    with written() as (rules, tables):
        seen = []
        send = rules._transactions.run
        rules._transactions.run = lambda batch: (
            seen.append(rules.nft.run("list chain ip network-policy forward-egress")),
            send(batch),
        )[1]
        rules.nft.run("delete table ip kube-proxy")
        rules.change(tables.proxy, changed(1))
        first, *others = seen
        assert "goto egress-admin" in first
        assert others
        assert all("\t\tdrop\n" in text for text in others)
        assert "goto egress-admin" in rules.nft.run("list chain ip network-policy forward-egress")


@pytest.mark.kernel
def test_what_the_kernel_takes_no_more_while_healing_is_tried_with_every_change(monkeypatch):
    with written() as (rules, tables):
        send = rules._transactions.run

        def refuse_policies(batch):
            if any("network-policy" in message.what for message in batch):
                raise KernelError("no memory", errno=errno.ENOMEM)
            send(batch)

        monkeypatch.setattr(rules._transactions, "run", refuse_policies)
        rules.nft.run("flush ruleset")
        with pytest.raises(KernelError, match="no memory"):
            rules.change(tables.proxy, changed(1))
        assert "drop" in rules.nft.run("list chain ip network-policy forward-egress")
        with pytest.raises(KernelError, match="no memory"):
            rules.change(tables.policy, {("more",): Fragment(chains={"more": ("accept",)})})
        monkeypatch.undo()
        rules.change(tables.policy, {("more",): Fragment(chains={"more": ("accept",)})})
        listed = rules.nft.run("list table ip network-policy")
        assert listed.count("goto ingress-admin") == 1
        assert "jump ingress-" in listed
        assert "chain more" in listed


@pytest.mark.kernel
def test_a_service_too_large_for_one_transaction_is_written_in_several():
    ends = tuple(Endpoint(f"10.244.{n >> 8}.{n & 255}", 8080, "worker") for n in range(1, 1001))
    large = dataclasses.replace(WEB, endpoints=ends)
    with written() as (rules, tables):
        small = lines(rules)
        rules.change(tables.proxy, {WEB.key: ruleset_proxy.service_port(large, PLACE)})
        listed = rules.nft.run("list table ip kube-proxy")
        assert listed.count("chain endpoint-") == 1000
        assert "numgen random mod 1000 vmap" in listed
        rules.change(tables.proxy, {WEB.key: ruleset_proxy.service_port(WEB, PLACE)})
        assert lines(rules) == small


@pytest.mark.kernel
def test_a_table_whose_agent_rests_keeps_what_it_has_and_wakes_with_what_is_wanted():
    with written() as (rules, tables):
        rules.rest([ruleset_proxy.TABLE])
        before = lines(rules)
        rules.change(tables.proxy, changed(9090))
        assert lines(rules) == before
        rules.change(tables.policy, {("pod",): None})
        assert lines(rules) != before
        rules.wake([ruleset_proxy.TABLE])
        assert any("10.244.1.6:9090" in line for line in lines(rules))
        assert not any("10.244.1.5:8080" in line for line in lines(rules))


@pytest.mark.kernel
def test_what_somebody_breaks_while_the_agents_rest_stays_broken_until_they_wake():
    with written() as (rules, _tables):
        before = lines(rules)
        rules.rest([ruleset_proxy.TABLE])
        rules.rest([ruleset_policy.TABLE, "calico"])
        rules.nft.run("flush ruleset")
        assert lines(rules) == []
        rules.wake([ruleset_proxy.TABLE])
        assert not any("network-policy" in line for line in lines(rules))
        rules.wake([ruleset_policy.TABLE, "calico"])
        assert lines(rules) == before


@pytest.mark.kernel
def test_healing_leaves_the_table_of_an_agent_that_rests_alone():
    with written() as (rules, tables):
        rules.rest([ruleset_proxy.TABLE])
        rules.nft.run("flush ruleset")
        rules.change(tables.policy, {("pod",): None})
        assert any("network-policy" in line for line in lines(rules))
        assert not any("kube-proxy" in line for line in lines(rules))
