"""Changes of rules as netlink messages: what the kernel lists after them, and what it refuses."""

import errno
import os
import re
import socket
import string
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8slab.embedded import linux
from k8slab.embedded.network import ruleset_nat, ruleset_policy, ruleset_proxy
from k8slab.embedded.network.model import (
    Block,
    Endpoint,
    HostPort,
    PolicyDirection,
    PolicyRule,
    PortRange,
    ServicePort,
)
from k8slab.embedded.network.nft import Nft
from k8slab.embedded.network.nftables import Transactions, messages
from k8slab.embedded.network.nftables_rules import assemble
from k8slab.embedded.network.ruleset import Fragment, Table
from k8slab.embedded.network.ruleset_proxy import Place
from k8slab.errors import KernelError

PLACES = {
    "ip": Place("ip", "here", ("172.18.0.3",), ("10.244.0.0/16", "10.9.0.0/20"), ("10.96.0.0/16",)),
    "ip6": Place("ip6", "here", ("fc00::3",), ("fd00:10:244::/56",), ("fd00:10:96::/112",)),
}
ADDRESSES = {
    "ip": ["10.244.1.5", "10.244.2.6", "10.0.0.1", "255.255.255.255"],
    "ip6": ["fd00:10:244::5", "fd00:10:244::6", "2001:db8::1", "::1"],
}
RANGES = {
    "ip": ["0.0.0.0/0", "10.0.0.0/8", "10.128.0.0/9", "192.168.7.0/27", "1.2.3.4/32"],
    "ip6": ["::/0", "fd00::/8", "fd00:10:244::/57", "2001:db8::/127", "::1/128"],
}
NAMES = st.text(string.ascii_lowercase + "-.", min_size=1, max_size=70)
PROTOCOLS = st.sampled_from(["TCP", "UDP", "SCTP"])
PORTS = st.sampled_from([1, 53, 80, 8080, 65534, 65535])
FAMILIES = st.sampled_from(["ip", "ip6"])


def some(values, **more):
    return st.lists(st.sampled_from(values), unique=True, **more).map(tuple)


@st.composite
def services(draw, family):
    addresses = ADDRESSES[family]
    ends = st.builds(
        Endpoint,
        st.sampled_from(addresses),
        PORTS,
        st.sampled_from(["here", "there"]),
        st.booleans(),
        st.booleans(),
    )
    return ServicePort(
        namespace=draw(NAMES),
        service=draw(NAMES),
        port_name=draw(st.sampled_from(["", "http"])),
        protocol=draw(PROTOCOLS),
        cluster_ips=draw(some(addresses[:2])),
        port=draw(PORTS),
        node_port=draw(st.sampled_from([0, 30080])),
        load_balancer_ips=draw(some(addresses[2:3])),
        external_ips=draw(some(addresses[3:])),
        source_ranges=draw(some(RANGES[family])),
        affinity_seconds=draw(st.sampled_from([0, 1, 10800])),
        internal_local=draw(st.booleans()),
        external_local=draw(st.booleans()),
        endpoints=tuple(draw(st.lists(ends, max_size=4, unique_by=lambda e: (e.address, e.port)))),
    )


@st.composite
def policies(draw, family):
    blocks = st.builds(Block, st.sampled_from(RANGES[family]), some(RANGES[family]))
    numbers = st.tuples(PORTS, PORTS).map(sorted)
    ranges = st.builds(lambda p, n: PortRange(p, *n), PROTOCOLS, numbers)
    named = st.tuples(PROTOCOLS, st.sampled_from(ADDRESSES[family]), PORTS)
    rules = st.builds(
        PolicyRule,
        action=st.sampled_from(["accept", "deny", "pass"]),
        addresses=st.none() | some(ADDRESSES[family]).map(frozenset),
        blocks=st.none() | st.lists(blocks, max_size=2).map(tuple),
        ports=st.none() | st.lists(ranges, max_size=3).map(tuple),
        named=st.none() | st.frozensets(named, max_size=3),
    )
    return PolicyDirection(
        policy=f"{draw(NAMES)}/{draw(NAMES)}",
        direction=draw(st.sampled_from(["ingress", "egress"])),
        tier=draw(st.sampled_from(["admin", "network", "baseline"])),
        subjects=frozenset(["pod"]),
        rules=tuple(draw(st.lists(rules, max_size=3))),
    )


class Two:
    """Two namespaces with one base: one is changed by text, the other by messages."""

    def __init__(self, base, family, name):
        self.netns = here, there = linux.new_netns(), linux.new_netns()
        self.texts, self.lists = Nft(here), Nft(there)
        self.transactions = Transactions(there)
        self.table = Table(family, name)
        for nft in (self.texts, self.lists):
            nft.run(base)

    def change(self, changes):
        plan = self.table.plan(changes)
        self.texts.run(plan.text)
        self.transactions.run(messages(plan))
        self.table.commit(plan)
        assert self.lists.run("list ruleset") == self.texts.run("list ruleset")

    def close(self):
        self.texts.close()
        self.lists.close()
        self.transactions.close()
        for netns in self.netns:
            os.close(netns)


@pytest.mark.kernel
def test_random_services_are_listed_the_same_whether_written_as_text_or_as_messages():
    @settings(max_examples=25, deadline=None)
    @given(FAMILIES.flatmap(lambda f: st.tuples(st.just(f), st.lists(services(f), max_size=4))))
    def check(drawn):
        family, ports = drawn
        place = PLACES[family]
        base = ruleset_proxy.base(place)
        with closing(Two(base, family, ruleset_proxy.TABLE)) as two:
            empty = two.texts.run("list ruleset")
            known = set()
            for port in ports:  # one by one: a later one may change or claim what is there
                two.change({port.key: ruleset_proxy.service_port(port, place)})
                known.add(port.key)
            two.change(dict.fromkeys(known))
            assert two.lists.run("list ruleset") == empty

    check()


@pytest.mark.kernel
def test_random_policies_are_listed_the_same_whether_written_as_text_or_as_messages():
    @settings(max_examples=25, deadline=None)
    @given(FAMILIES.flatmap(lambda f: st.tuples(st.just(f), st.lists(policies(f), max_size=3))))
    def check(drawn):
        family, wanted = drawn
        base = ruleset_policy.base(family)
        with closing(Two(base, family, ruleset_policy.TABLE)) as two:
            empty = two.texts.run("list ruleset")
            known = set()
            for policy in wanted:
                key = ("policy", policy.policy, policy.tier, policy.direction)
                pod = ("zpod", policy.tier, policy.direction)
                selecting = ruleset_policy.pod_fragment("cali0", policy.direction, [policy])
                two.change({key: ruleset_policy.policy_fragment(policy, family), pod: selecting})
                known.add(key)
                two.change({pod: None})
            two.change(dict.fromkeys(known))
            assert two.lists.run("list ruleset") == empty

    check()


@pytest.mark.kernel
def test_host_ports_are_listed_the_same_whether_written_as_text_or_as_messages():
    for family, pod in (("ip", "10.244.1.5"), ("ip6", "fd00::5")):
        ports = [HostPort("TCP", "", 80, 8080), HostPort("UDP", "", 53, 53)]
        fragment = ruleset_nat.host_ports(family, ports, pod, PLACES[family].addresses)
        base = ruleset_nat.base(family, PLACES[family].pod_cidrs)
        with closing(Two(base, family, ruleset_nat.TABLE)) as two:
            two.change({("pod",): fragment})
            two.change({("pod",): None})


@pytest.mark.parametrize(
    "rule",
    [
        "ether saddr 02:00:00:00:00:01 accept",  # a word that is not ours
        "ip6 saddr ::1 accept",  # the other family
        "ip saddr 10.0.0.256 accept",
        "ip saddr 10.0.0.1/8 accept",  # host bits are set
        "tcp sport 80 accept",
        "tcp dport 0 accept",
        "tcp dport 65536 accept",
        "numgen inc mod 2 vmap { 0 : goto a }",
        "jump",
        "log group 1",
    ],
)
def test_what_is_not_among_our_sentences_is_refused_with_the_chain_that_it_is_for(rule):
    plan = Table("ip", "t").plan({("a",): Fragment(chains={"c": (rule,)})})
    with pytest.raises(KernelError, match="add rule ip t c: ") as caught:
        messages(plan)
    assert caught.value.errno == errno.EINVAL


def test_a_rule_with_a_set_of_its_own_never_shares_it():
    one, two = (assemble("ip", "ip saddr { 10.0.0.1, 10.0.0.2 } drop") for _ in range(2))
    assert one.sets[0].number != two.sets[0].number


def table_with(transactions, chains):
    table = Table("ip", "t")
    plan = table.plan({("a",): Fragment(chains=chains)})
    transactions.run(messages(plan))
    table.commit(plan)
    return table


@pytest.mark.kernel
def test_the_kernels_refusal_names_the_command_and_nothing_is_changed():
    with closing(Nft(linux.open_netns())) as nft, closing(Transactions(linux.open_netns())) as here:
        nft.run("add table ip t")
        table = table_with(here, {"a": ("accept",)})
        before = nft.run("list ruleset")
        plan = table.plan({("b",): Fragment(chains={"b": ("counter accept", "jump nowhere")})})
        with pytest.raises(KernelError) as caught:
            here.run(messages(plan))
        assert str(caught.value).startswith("the kernel refused: add rule ip t b jump nowhere: No ")
        assert caught.value.errno == errno.ENOENT
        assert nft.run("list ruleset") == before


@pytest.mark.kernel
def test_what_is_wrong_with_a_transaction_as_a_whole_is_said_of_the_whole():
    with closing(Nft(linux.open_netns())) as nft, closing(Transactions(linux.open_netns())) as here:
        nft.run(
            "table ip t { chain in { type filter hook input priority 0; jump a; }; chain a { }; }"
        )
        plan = Table("ip", "t").plan(
            {("x",): Fragment(chains={"b": ("jump c",), "c": ("jump b",)})}
        )
        with pytest.raises(KernelError, match="add rule ip t") as caught:
            here.run([*messages(plan), *messages(jump_to_b())])
        assert caught.value.errno in (errno.ELOOP, errno.EMLINK)
        assert "chain b" not in nft.run("list ruleset")


def jump_to_b():
    return Table("ip", "t").plan({("y",): Fragment(chains={"a": ("jump b",)})})


@pytest.mark.kernel
def test_hundreds_of_refusals_are_told_by_the_first():
    with closing(Transactions(linux.open_netns())) as here:
        chains = {f"c{number}": ("accept",) for number in range(1000)}
        plan = Table("ip", "nothing").plan({("a",): Fragment(chains=chains)})
        with pytest.raises(KernelError, match=r"add chain ip nothing c0: No such file") as caught:
            here.run(messages(plan))
        assert caught.value.errno == errno.ENOENT
        with pytest.raises(KernelError, match="add chain ip nothing c0"):  # no answer is left over
            here.run(messages(Table("ip", "nothing").plan({("a",): Fragment(chains={"c0": ()})})))


@pytest.mark.kernel
def test_more_elements_than_fit_one_attribute_arrive_all():
    elements = {("s", f"10.{number >> 8}.{number & 255}.1"): "" for number in range(5000)}
    fragment = Fragment(sets={"s": "type ipv4_addr;"}, elements=elements)
    with closing(Nft(linux.open_netns())) as nft, closing(Transactions(linux.open_netns())) as here:
        nft.run("add table ip t")
        here.run(messages(Table("ip", "t").plan({("a",): fragment})))
        listed = re.findall(r"10\.\d+\.\d+\.1\b", nft.run("list set ip t s"))
        assert {("s", address) for address in listed} == elements.keys()


@pytest.mark.kernel
def test_what_is_larger_than_the_socket_is_refused_by_its_size():
    with closing(Nft(linux.open_netns())) as nft, closing(Transactions(linux.open_netns())) as here:
        nft.run("add table ip t")
        here._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        chains = {f"{'c' * 100}{number}": ("accept",) for number in range(500)}
        with pytest.raises(KernelError) as caught:
            here.run(messages(Table("ip", "t").plan({("a",): Fragment(chains=chains)})))
        assert caught.value.errno == errno.EMSGSIZE
        assert "chain" not in nft.run("list ruleset")
