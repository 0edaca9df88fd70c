"""A packet's journey as the kernel tells it: real packets in a network of its own."""

import asyncio
import dataclasses
import itertools
import os
import signal
import socket
import subprocess
import threading
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
from ranges_kit import DUAL

from k8slab.embedded import linux
from k8slab.embedded.network import following, journey
from k8slab.embedded.network.model import (
    Endpoint,
    PolicyDirection,
    PolicyRule,
    PortRange,
    ServicePort,
)
from k8slab.embedded.network.netlink import (
    LOOPBACK,
    Netlink,
    Route,
    delete_route,
    ipv6_exists,
    own_address,
    route,
    up,
)
from k8slab.embedded.network.sending import Place, Question
from k8slab.embedded.network.switch import BRIDGE
from k8slab.embedded.network.tracing import TABLE, Mark, Tracer

pytestmark = pytest.mark.kernel
needs_ipv6 = pytest.mark.skipif(not ipv6_exists(), reason="this kernel has no IPv6")

_ports = itertools.count(41_000)


class Traveller:
    """Sends packets through a fabric and reads their journeys."""

    def __init__(self, fabric):
        self.fabric = fabric
        self.pods = {}

    def places(self):
        pods = [Place("pod", name, netns) for name, netns in self.fabric.netns.items()]
        return {(p.kind, p.name): p for p in [*pods, *self.fabric.network.places()]}

    async def go(
        self, source, address, port=8080, protocol="TCP", kind="pod", *, deadline=30.0, **packet
    ):
        places = self.places()
        question = Question(places[kind, source], address, port, protocol, **packet)
        return await self.fabric.network.follow(
            question, list(places.values()), lambda: next(_ports), deadline=deadline
        )


def told(journey, kind, leg="there"):
    return [step.text for step in journey.steps if (step.kind, step.leg) == (kind, leg)]


def way(journey, leg="there"):
    """Return the places in the order of the journey, each once for each stay."""
    names = [step.place.name or step.place.kind for step in journey.steps if step.leg == leg]
    return [name for name, _ in itertools.groupby(names)]


def in_order(journey):
    times = [step.time for step in journey.steps if step.interface and step.kind != "lost"]
    return times == sorted(times)


def tables(fabric, node):
    return fabric.network._nodes[node].rules.nft.run("list tables")


def no_trace_left(fabric):
    return not any(TABLE in tables(fabric, node) for node in fabric.nodes)


def policy(name, subject, direction="ingress", *rules, **more):
    return PolicyDirection(
        policy=name, direction=direction, subjects=frozenset({subject}), rules=rules, **more
    )


def service(endpoints, name="db", address="10.96.0.20"):
    return ServicePort(
        namespace="shop",
        service=name,
        port_name="http",
        cluster_ips=(address,),
        port=80,
        endpoints=tuple(Endpoint(e, 8080) for e in endpoints),
    )


async def test_within_a_node_it_passes_that_node_and_comes_back(fabric):
    async with fabric() as here:
        await here.pod("web")
        address = await here.pod("db")
        journey = await Traveller(here).go("web", address)
        assert journey.record.outcome == "open"
        assert journey.lost is None
        assert way(journey) == ["web", here.nodes[1], "db"]
        assert way(journey, "back") == ["db", here.nodes[1], "web"]
        assert in_order(journey)
        assert no_trace_left(here)


async def test_across_nodes_it_takes_the_route_of_the_block_and_the_switch(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        journey = await Traveller(here).go("web", address)
        assert way(journey) == ["web", here.nodes[1], "switch", here.nodes[2], "db"]
        (_, first, second) = told(journey, "route")
        assert first.startswith("route 10.244.2.0/26 via 172.18.0.4 by eth0")
        assert second.startswith(f"route {address}/32 by cali")
        assert in_order(journey)


async def test_through_a_service_it_names_the_map_the_choice_and_the_rewriting(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        endpoints = [await here.pod(name, 2) for name in ("db-1", "db-2")]
        port = service(endpoints)
        await here.network.sync_services({port.key: port})
        journey = await Traveller(here).go("web", "10.96.0.20", 80)
        assert told(journey, "service") == ["Service shop/db, port http (tcp): in the Service map"]
        (choice,) = (step for step in journey.steps if step.kind == "endpoint")
        assert choice.facts["of"] == 2
        assert choice.facts["address"] in endpoints
        to = f"{choice.facts['address']}:8080"
        assert told(journey, "rewritten") == [f"destination 10.96.0.20:80 becomes {to}"]
        assert told(journey, "rewritten", "back") == [f"source {to} becomes 10.96.0.20:80"]
        assert way(journey)[-1] == f"db-{endpoints.index(choice.facts['address']) + 1}"


async def test_to_the_world_outside_it_is_masqueraded(fabric):
    async with fabric() as here:
        await here.pod("web")
        await here.serve(here.network.world["internet"], "example", 80)
        journey = await Traveller(here).go("web", "203.0.113.10", 80)
        assert journey.record.outcome == "open"
        assert way(journey) == ["web", here.nodes[1], "switch", "internet"]
        assert told(journey, "masquerade") == ["masqueraded, since it leaves the pod network"]
        (source,) = told(journey, "rewritten")
        assert "becomes 172.18.0.3:" in source
        assert way(journey, "back") == ["internet", "switch", here.nodes[1], "web"]


async def test_a_node_port_of_another_node_is_followed_with_its_new_source(fabric):
    async with fabric() as here:
        address = await here.pod("db", 2)
        port = ServicePort(
            namespace="shop", service="db", port=80, node_port=30080, cluster_ips=("10.96.0.9",),
            endpoints=(Endpoint(address, 8080, here.nodes[2]),),
        )  # fmt: skip
        await here.network.sync_services({port.key: port})
        await here.network.sync_policies([policy("shop/all", "db", "ingress", PolicyRule())])
        journey = await Traveller(here).go("laptop", "172.18.0.3", 30080, kind="world")
        assert journey.record.outcome == "open"
        assert way(journey) == ["laptop", "switch", here.nodes[1], "switch", here.nodes[2], "db"]
        assert told(journey, "policy") == ["NetworkPolicy shop/all: spec.ingress[0] admits it"]
        assert way(journey, "back")[-1] == "laptop"


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
async def test_an_ingress_policy_that_admits_nobody_loses_it_on_the_last_node(fabric, protocol):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2, udp=(8080,))
        await here.network.sync_policies([policy("shop/deny", "db")])
        journey = await Traveller(here).go("web", address, 8080, protocol)
        assert journey.record.outcome == "silent"
        assert journey.lost.place.name == here.nodes[2]
        assert journey.lost.text == "dropped: no policy allows this ingress"
        assert 'comment "no policy allows this ingress"' in journey.lost.rule
        assert told(journey, "asked") == ["NetworkPolicy shop/deny selects the pod for ingress"]


async def test_an_egress_policy_loses_it_on_the_first_node(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        only_dns = PolicyRule(ports=(PortRange("UDP", 53, 53),))
        await here.network.sync_policies([policy("shop/dns", "web", "egress", only_dns)])
        journey = await Traveller(here).go("web", address)
        assert journey.lost.place.name == here.nodes[1]
        assert journey.lost.text == "dropped: no policy allows this egress"


async def test_a_cluster_network_policy_is_named_with_its_rule(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        rules = (
            PolicyRule(action="pass", ports=(PortRange("TCP", 9, 9),)),
            PolicyRule(action="deny"),
        )
        await here.network.sync_policies(
            [policy("no-entry", "db", "ingress", *rules, tier="admin")]
        )
        journey = await Traveller(here).go("web", address)
        assert journey.lost.place.name == here.nodes[2]
        assert "ClusterNetworkPolicy no-entry" in journey.lost.text
        assert journey.lost.facts["tier"] == "admin"


async def test_a_service_without_endpoints_rejects_it(fabric):
    async with fabric() as here:
        await here.pod("web")
        port = service([])
        await here.network.sync_services({port.key: port})
        journey = await Traveller(here).go("web", "10.96.0.20", 80)
        assert journey.record.outcome == "refused"
        assert journey.lost.text == "rejected: the Service has no endpoint"
        assert way(journey, "back") == [here.nodes[1], "web"]


async def test_a_node_that_asks_a_service_is_followed_with_its_new_source(fabric):
    async with fabric() as here:
        address = await here.pod("db", 2)
        port = service([address])
        await here.network.sync_services({port.key: port})
        await here.network.sync_policies([policy("shop/all", "db", "ingress", PolicyRule())])
        journey = await Traveller(here).go(here.nodes[1], "10.96.0.20", 80, kind="node")
        assert journey.record.outcome == "open"
        assert way(journey) == [here.nodes[1], "switch", here.nodes[2], "db"]
        assert told(journey, "service") == ["Service shop/db, port http (tcp): in the Service map"]
        assert f"destination 10.96.0.20:80 becomes {address}:8080" in told(journey, "rewritten")
        assert way(journey, "back") == ["db", here.nodes[2], "switch", here.nodes[1]]


async def test_a_rule_that_stops_a_node_before_its_packet_leaves_is_named(fabric):
    async with fabric() as here:
        journey = await Traveller(here).go(here.nodes[1], "10.96.0.77", 80, kind="node")
        assert journey.lost.place.name == here.nodes[1]
        assert journey.lost.text == "dropped: no Service has this ClusterIP"


async def test_a_pod_without_the_program_refuses_it_and_nothing_is_lost(fabric):
    async with fabric() as here:
        await here.pod("web")
        address = await here.pod("db")
        journey = await Traveller(here).go("web", address, 9)
        assert journey.record.outcome == "refused"
        assert journey.lost is None
        assert told(journey, "refused") == ["no program listens on port 9"]


async def test_an_address_that_no_pod_has_ends_in_the_blackhole_of_its_block(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        journey = await Traveller(here).go("web", "10.244.2.9")
        assert journey.lost.place.name == here.nodes[2]
        assert journey.lost.text == "the route is a blackhole"


def let_switch_forget():
    """Let the switch learn no address: it gives each frame to everybody."""
    words = ["ip", "link", "set", BRIDGE, "type", "bridge", "ageing_time", "0"]
    subprocess.run(words, check=True)


async def test_who_only_hears_a_frame_for_another_is_not_waited_for(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        let_switch_forget()
        journey = await Traveller(here).go("web", "10.244.2.9", deadline=30.0)
        heard = {sight.place.kind for sight in journey.record.sights if sight.seen.for_others}
        assert "world" in heard
        assert (journey.lost.place.name, journey.lost.text) == (
            here.nodes[2], "the route is a blackhole",
        )  # fmt: skip
        assert journey.record.seconds < 30


async def test_a_lost_route_is_found_on_the_node_that_lost_it(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        node = here.network._nodes[here.nodes[1]].netlink
        lost = Route(to="10.244.2.0/26", link=node.link("eth0"))
        node.send([delete_route(lost), route(Route(to="10.244.2.0/26", kind="blackhole"))])
        journey = await Traveller(here).go("web", address)
        assert journey.lost.place.name == here.nodes[1]
        assert journey.lost.text == "the route is a blackhole"


async def test_a_packet_whose_route_is_gone_ends_at_the_router_which_has_none_either(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        node = here.network._nodes[here.nodes[1]].netlink
        node.send([delete_route(Route(to="10.244.2.0/26", link=node.link("eth0")))])
        journey = await Traveller(here).go("web", address)
        assert (journey.record.outcome, journey.lost.place.kind) == ("silent", "switch")
        assert journey.lost.text == "there is no route"


async def test_at_another_port_of_a_load_balancers_address_it_is_told_that_no_service_has_it(
    fabric,
):
    async with fabric() as here:
        await here.pod("web")
        await here.network.announce_load_balancer("172.18.255.1", here.nodes[1])
        journey = await Traveller(here).go("web", "172.18.255.1", 22)
        assert journey.record.outcome == "refused"
        assert journey.lost.place.name == here.nodes[1]
        why = "rejected: no Service has this port of a load balancer's address"
        assert journey.lost.text == why


async def test_a_source_that_is_not_the_pods_own_is_lost_at_its_node_and_taken_for_forged(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        with closing(Netlink(here.netns["web"])) as pod:
            eth0 = pod.link("eth0")
            default = Route(to="0.0.0.0/0", link=eth0, via="169.254.1.1", source="10.244.7.7",
                            onlink=True, protocol=3)  # fmt: skip
            pod.send([*own_address(eth0, "10.244.7.7/32"), route(default)])
        journey = await Traveller(here).go("web", address)
        assert journey.record.outcome == "silent"
        assert str(journey.lost.place.name) == here.nodes[1]
        assert journey.lost.text.startswith("no route leads back to its source by cali")
        assert way(journey) == ["web", here.nodes[1]]


async def test_a_packet_that_comes_back_to_its_pod_unmasked_is_taken_for_forged(fabric):
    async with fabric() as here:
        port = service([await here.pod("db", 1)])
        await here.network.sync_services({port.key: port})
        rules = here.network._nodes[here.nodes[1]].rules.nft
        rules.run("flush chain ip kube-proxy mark-for-masquerade")
        journey = await Traveller(here).go("db", "10.96.0.20", 80)
        assert journey.lost.place.name.endswith("db")
        assert "takes it for forged" in journey.lost.text


async def test_an_answer_that_is_lost_is_found_on_its_way_back(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        node = here.network._nodes[here.nodes[2]].netlink
        node.send([delete_route(Route(to="10.244.1.0/26", link=node.link("eth0")))])
        node.send([route(Route(to="10.244.1.0/26", kind="blackhole"))])
        # What has arrived is waited for to the end.
        journey = await Traveller(here).go("web", address, deadline=3.0)
        assert (journey.lost.leg, journey.lost.place.name) == ("back", here.nodes[2])


async def test_a_rule_that_somebody_wrote_by_hand_is_told_as_it_stands(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        here.network._nodes[here.nodes[2]].rules.nft.run(
            "table ip mine { chain in { type filter hook forward priority -5;\n"
            "tcp dport 8080 drop\n}\n}"
        )
        journey = await Traveller(here).go("web", address)
        assert journey.lost.place.name == here.nodes[2]
        assert journey.lost.text == "rule 'tcp dport 8080 drop' of table ip mine, chain in: drop"


async def test_a_router_without_a_route_sends_it_back(fabric):
    async with fabric() as here:
        address = await here.pod("db", 2)
        journey = await Traveller(here).go("laptop", address, kind="world")
        assert journey.record.outcome == "refused"
        assert (journey.lost.place.kind, journey.lost.leg) == ("switch", "there")
        assert "there is no route" in journey.lost.text


async def test_a_datagram_is_followed_to_its_answer(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("dns", 2, udp=(53,))
        journey = await Traveller(here).go("web", address, 53, "UDP")
        assert journey.record.outcome == "open"
        assert way(journey, "back") == ["dns", here.nodes[2], "switch", here.nodes[1], "web"]


@needs_ipv6
async def test_with_two_families_ipv6_is_followed_too(fabric):
    async with fabric(**DUAL) as here:
        await here.pod("web", 1)
        await here.pod("db", 2)
        address = here.network._pods["db"].addresses[1]
        await here.network.sync_policies([policy("shop/all", "db", "ingress", PolicyRule())])
        journey = await Traveller(here).go("web", address)
        assert journey.record.outcome == "open"
        assert way(journey) == ["web", here.nodes[1], "switch", here.nodes[2], "db"]
        assert told(journey, "policy") == ["NetworkPolicy shop/all: spec.ingress[0] admits it"]
        assert told(journey, "route")[1].startswith("route fd00:10:244")


def on_node(here, argv):
    """Run a command on the first worker."""
    with linux.in_netns(Traveller(here).places()["node", here.nodes[1]].netns):
        subprocess.run(argv, check=True)


async def test_a_datagram_that_does_not_fit_a_link_is_sent_back_with_the_reason(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        on_node(here, ["ip", "link", "set", "eth0", "mtu", "1300"])
        large = await Traveller(here).go("web", address, 9, "UDP", size=1400)
        assert large.record.outcome == "refused"
        assert large.lost.place.name == here.nodes[1]
        why = "it has 1428 bytes, and eth0 takes 1300 at most (its MTU)"
        assert large.lost.text == f"sent back with ICMP 3/4: {why}"
        small = await Traveller(here).go("web", address, 9, "UDP", size=1200)
        assert small.lost is None


async def test_without_the_error_of_icmp_it_is_lost_there_and_the_size_is_told(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        silent = "add table inet x; add chain inet x o { type filter hook output priority 0; }"
        drop = "add rule inet x o icmp type destination-unreachable drop"
        on_node(here, ["ip", "link", "set", "eth0", "mtu", "1300"])
        on_node(here, ["nft", f"{silent}; {drop}"])
        journey = await Traveller(here).go("web", address, 9, "UDP", size=1400)
        assert journey.record.outcome == "silent"
        assert journey.lost.place.name == here.nodes[1]
        assert "it has 1428 bytes, and eth0 takes 1300" in journey.lost.text


async def test_a_datagram_larger_than_its_own_link_never_leaves(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        journey = await Traveller(here).go("web", address, 9, "UDP", size=1473)
        assert journey.record.outcome == "refused"
        assert journey.record.detail == "too large for a link on its way"
        assert journey.steps == ()


@contextmanager
def program_in(here, pod, port, family=socket.AF_INET):
    """Yield the socket of a program in a pod that has a port of UDP for itself."""
    with linux.in_netns(here.netns[pod]):
        program = socket.socket(family, socket.SOCK_DGRAM)
    with closing(program):
        program.bind(("", port))
        program.setblocking(False)
        yield program


async def test_from_a_port_that_a_program_has_it_goes_where_that_programs_packets_go(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("dns", 2, udp=(53,))
        port = dataclasses.replace(service([]), protocol="UDP", endpoints=(Endpoint(address, 53),))
        await here.network.sync_services({port.key: port})
        with program_in(here, "web", 5060) as program:
            program.sendto(b"?", ("10.96.0.20", 80))
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(program, 100), 30)
            journey = await Traveller(here).go("web", "10.96.0.20", 80, "UDP", from_port=5060)
        assert journey.record.outcome == "open"
        assert journey.record.port == 5060
        assert told(journey, "service") == []
        (rewritten,) = told(journey, "rewritten")
        assert rewritten == (
            f"destination 10.96.0.20:80 becomes {address}:53, as the connection table has it: "
            "an older packet with these ends was sent there"
        )
        # Nobody has that port now: an ordinary socket sends, and what it was is known still.
        journey = await Traveller(here).go("web", "10.96.0.20", 80, "UDP", from_port=5060)
        assert journey.record.outcome == "open"


@needs_ipv6
async def test_from_a_port_that_a_program_has_it_is_sent_with_ipv6_too(fabric):
    async with fabric(**DUAL) as here:
        await here.pod("web", 1)
        await here.pod("db", 2)
        address = here.network._pods["db"].addresses[1]
        with program_in(here, "web", 5060, socket.AF_INET6):
            journey = await Traveller(here).go("web", address, 53, "UDP", from_port=5060, size=100)
        assert journey.record.port == 5060
        # With a wrong checksum the kernel there would drop it without a word.
        assert told(journey, "refused") == ["no program listens on port 53"]


async def test_a_port_that_a_program_has_cannot_be_that_of_a_connection_too(fabric):
    async with fabric() as here:
        address = await here.pod("web")
        with pytest.raises(OSError, match="port 8080 of the source: Address already in use"):
            await Traveller(here).go("web", address, 9, from_port=8080)


async def test_two_journeys_at_once_do_not_meet(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        address = await here.pod("db", 2)
        traveller = Traveller(here)
        found = await asyncio.gather(*(traveller.go("web", address) for _ in range(4)))
        assert [journey.record.outcome for journey in found] == ["open"] * 4
        assert len({journey.steps[1].packet.source_port for journey in found}) == 4
        assert {tuple(way(journey)) for journey in found} == {
            ("web", here.nodes[1], "switch", here.nodes[2], "db")
        }
        assert no_trace_left(here)


async def test_the_kernel_takes_the_rules_away_when_the_tracing_process_is_killed(fabric):
    async with fabric() as here:
        node = here.nodes[1]
        netns = here.network.node_netns(node)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            tracer = Tracer(netns, Mark("TCP", 40_000))
            os.write(writer, b"!" if tracer.fileno() else b"?")
            signal.pause()
        os.close(writer)
        assert os.read(reader, 1) == b"!"
        os.close(reader)
        assert TABLE in tables(here, node)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # noqa: ASYNC222  it is dead already
        assert TABLE not in tables(here, node)


async def test_whoever_goes_while_a_packet_is_followed_leaves_nothing_behind(fabric, monkeypatch):
    send, gone = following._send, threading.Event()

    def held(*arguments):
        gone.wait(60)  # else the journey may be over before it was seen
        return send(*arguments)

    monkeypatch.setattr(following, "_send", held)
    async with fabric() as here:
        await here.pod("web", 1)
        going = asyncio.create_task(Traveller(here).go("web", "10.244.2.9"))
        while TABLE not in tables(here, here.nodes[1]):
            assert not going.done()
            await asyncio.sleep(0)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        gone.set()
        async with asyncio.timeout(60):
            while not no_trace_left(here):  # noqa: ASYNC110  nobody tells when a thread is done
                await asyncio.sleep(0.01)


async def test_other_packets_pass_as_before_while_one_is_traced(fabric):
    async with fabric() as here:
        await here.pod("web", 1)
        await here.pod("db", 2)
        await here.network.sync_policies([policy("shop/deny", "web")])
        tracer = Tracer(here.network.node_netns(here.nodes[1]), Mark("TCP", 40_000))
        try:
            assert await here.ask("web", "db") == "db 10.244.1.1"
            assert await here.blocked("db", "web")
            assert list(tracer.read()) == []
        finally:
            tracer.close()


async def test_a_route_that_is_asked_for_is_the_entry_of_the_table(fabric):
    async with fabric() as here:
        address = await here.pod("db", 2)
        kernel = Netlink(here.network.node_netns(here.nodes[1]))
        try:
            found = kernel.find_route(address, "172.18.0.3")
            assert (found.to, found.via, found.kind) == ("10.244.2.0/26", "172.18.0.4", "unicast")
            assert kernel.numbered(found.link).name == "eth0"
            assert kernel.find_route("172.18.0.3", "172.18.0.3").kind == "local"
        finally:
            kernel.close()


def test_an_interface_that_has_gone_meanwhile_is_told_and_is_no_fault():
    here = Place("node", "worker", linux.new_netns())
    packet = SimpleNamespace(source="10.244.1.9", destination="10.244.2.9")
    with closing(Netlink(here.netns)) as kernel:
        kernel.send([up(kernel.link("lo"))])
        kernel.send([route(Route(to="0.0.0.0/0", link=LOOPBACK))])
    assert not journey._came_forged(here, SimpleNamespace(packet=packet, interface="cali0"))
    gone = "the interface cali0 has gone"
    told = (f"route to 10.244.2.9: {gone}", {"to": "", "why": gone})
    assert journey.route_of(here, packet, "cali0") == told
