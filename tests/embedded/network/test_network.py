"""Nodes, pods and the world outside, with real packets."""

import asyncio
import errno
import os
import signal
from pathlib import Path

import pytest

from k8slab.embedded import linux
from k8slab.embedded.config import ClusterConfig
from k8slab.embedded.network import netlink
from k8slab.embedded.network.model import Endpoint, HostPort, ServicePort
from k8slab.embedded.network.network import Network
from k8slab.errors import ClusterError, KernelError, UsageError

CONTROL, WORKER, WORKER2 = ClusterConfig().node_names


def read(path):
    return Path(path).read_text().splitlines(keepends=True)


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def fork_into_nested_user_namespace():
    """Return a child that owns its network namespace, as a pod's sandbox does."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNET)
        os.write(writer, b".")
        signal.pause()
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    return pid


@pytest.mark.kernel
async def test_nodes_get_addresses_in_the_order_of_their_names(fabric):
    async with fabric(nodes=2) as f:
        names = f.nodes
        assert [f.network._nodes[n].addresses for n in names] == [("172.18.0.2",), ("172.18.0.3",)]
        assert [f.network.pod_cidrs(n) for n in names] == [["10.244.0.0/26"], ["10.244.1.0/26"]]


@pytest.mark.kernel
async def test_a_pod_is_reached_with_its_own_address_from_every_node(fabric):
    async with fabric() as f:
        await f.pod("server")
        near, far = await f.pod("near"), await f.pod("far", 2)
        assert await f.ask("near", "server") == f"server {near}"
        assert await f.ask("far", "server") == f"server {far}"
        assert await f.ask(WORKER, "server") == "server 172.18.0.3"
        assert await f.ask(CONTROL, "server") == "server 172.18.0.2"


@pytest.mark.kernel
async def test_a_pod_has_one_address_and_the_gateway_that_exists_nowhere(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("p")
        with linux.in_netns(f.netns["p"]):
            lines = [line.split()[:3] for line in read("/proc/thread-self/net/route")[1:]]
            arp = "".join(read("/proc/thread-self/net/arp"))
        gateway = "0101FEA9"
        assert ["eth0", "00000000", gateway] in lines
        assert ["eth0", gateway, "00000000"] in lines
        assert len(lines) == 2
        assert "169.254.1.1" in arp
        assert "ee:ee:ee:ee:ee:ee" in arp


@pytest.mark.kernel
async def test_the_first_connection_to_a_new_pod_never_waits(fabric):
    async with fabric(nodes=3) as f:
        await f.pod("client", 2)
        for number in range(30):
            await f.pod(f"p{number}")
            assert (await f.ask("client", f"p{number}")).startswith(f"p{number} ")
        # An address that nobody answers for yet takes a second: the kernel sends again.
        assert f.retransmitted == 0


@pytest.mark.kernel
async def test_the_world_sees_the_address_of_the_node(fabric):
    async with fabric() as f:
        await f.pod("p")
        for place, address in (
            ("internet", "203.0.113.10"),
            ("internet", "198.51.100.20"),
            ("corp", "192.168.1.10"),
            ("laptop", "172.18.0.250"),
        ):
            if address != "198.51.100.20":  # the same place as 203.0.113.10
                await f.serve(f.place(place), place, 80)
            assert await f.ask("p", address, 80) == f"{place} 172.18.0.3"


@pytest.mark.kernel
async def test_an_address_outside_that_nobody_has_is_unreachable_at_once(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("p")
        assert await f.ask("p", "203.0.113.99", 80) == "unreachable"
        assert await f.ask("p", "8.8.8.8", 53) == "unreachable"


@pytest.mark.kernel
async def test_the_world_has_no_route_to_pods(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("p")
        assert await f.ask("internet", "p") == "unreachable"
        assert await f.ask("laptop", "p") == "unreachable"


@pytest.mark.kernel
async def test_an_address_of_the_block_without_a_pod_answers_nothing(fabric):
    async with fabric() as f:
        await f.pod("p", 2)
        assert await f.blocked("p", "10.244.1.9")


@pytest.mark.kernel
async def test_a_detached_pod_is_cut_off_and_its_address_rests(fabric):
    async with fabric(nodes=2) as f:
        first = await f.pod("a")
        await f.pod("b")
        await f.network.detach_pod("a")
        assert await f.blocked("b", "a")
        assert await f.pod("c") != first
        await f.network.detach_pod("a")  # again: nothing to do


@pytest.mark.kernel
async def test_a_pod_whose_namespace_went_first_can_be_detached(fabric):
    async with fabric(nodes=2) as f:
        first = await f.pod("p", host_ports=[HostPort("TCP", "", 80, 8080)])
        node = f.network._nodes[f.nodes[1]]
        interface = f.network._pods["p"].interface
        node.netlink.send([netlink.delete_link(node.netlink.link(interface))])
        await f.network.detach_pod("p")
        assert f.network._pods == {}
        assert first not in f.rules(f.nodes[1], "calico")
        assert await f.ask("laptop", "172.18.0.3", 80) == "refused"


@pytest.mark.kernel
async def test_a_pod_attached_again_gets_a_new_link(fabric):
    async with fabric(nodes=2) as f:
        first = await f.pod("p")
        os.close(f.netns["p"])
        second = await f.pod("p")
        assert second != first
        assert (await f.ask(f.nodes[1], second)).startswith("p ")


@pytest.mark.kernel
async def test_a_node_claims_another_block_when_the_first_is_full(fabric):
    async with fabric(nodes=2) as f:
        control, worker = f.nodes
        netns = linux.new_netns()
        ipam = f.network._ipams[0]
        taken = [ipam.allocate(worker) for _ in range(63)]
        address = await f.pod("p")
        assert len(set(taken)) == 63
        assert f.network.pod_cidrs(worker) == ["10.244.1.0/26", "10.244.1.64/26"]
        assert address == "10.244.1.65"
        assert await f.ask(control, "p") == "p 172.18.0.2"
        os.close(netns)


@pytest.mark.kernel
async def test_a_host_port_leads_to_the_pod_also_from_the_pod_itself(fabric):
    async with fabric() as f:
        await f.pod("web", host_ports=[HostPort("TCP", "", 80, 8080)])
        other = await f.pod("other", 2)
        assert await f.ask("laptop", "172.18.0.3", 80) == "web 172.18.0.250"
        assert await f.ask(CONTROL, "172.18.0.3", 80) == "web 172.18.0.2"
        assert await f.ask(WORKER, "172.18.0.3", 80) == "web 172.18.0.3"
        assert await f.ask("web", "172.18.0.3", 80) == "web 172.18.0.3"
        # The other node has masqueraded it, since a node is outside of the pod range.
        assert other.startswith("10.244.2.")
        assert await f.ask("other", "172.18.0.3", 80) == "web 172.18.0.4"
        await f.network.detach_pod("web")
        assert await f.ask("laptop", "172.18.0.3", 80) == "refused"


@pytest.mark.kernel
async def test_a_pod_may_own_its_namespace_in_a_nested_user_namespace(fabric):
    async with fabric(nodes=2) as f:
        pid = fork_into_nested_user_namespace()
        netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        address = (await f.network.attach_pod(node=f.nodes[1], uid="nested", netns=netns))[0]
        await f.serve(netns, "nested", 8080)
        assert await f.ask(f.nodes[1], address) == "nested 172.18.0.3"
        os.kill(pid, signal.SIGKILL)
        os.close(netns)


@pytest.mark.kernel
async def test_a_removed_node_is_gone_for_the_others(fabric):
    async with fabric() as f:
        await f.pod("p", 2)
        await f.network.remove_node(WORKER2)
        assert await f.ask(WORKER, "p") == "unreachable"
        with pytest.raises(ClusterError, match="there is no node"):
            f.network.node_netns(WORKER2)
        assert await f.network.add_node(WORKER2) == ["172.18.0.4"]
        await f.pod("p", 2)
        assert await f.ask(WORKER, "p") == "p 172.18.0.3"


@pytest.mark.kernel
async def test_a_failed_attach_leaves_nothing_behind(fabric):
    async with fabric(nodes=2) as f:
        netns = linux.new_netns()
        await f.network.attach_pod(node=f.nodes[1], uid="a", netns=netns)
        with pytest.raises(KernelError, match="add veth pair") as caught:
            await f.network.attach_pod(node=f.nodes[1], uid="b", netns=netns)
        assert caught.value.errno == errno.EEXIST
        assert set(f.network._pods) == {"a"}
        with linux.in_netns(f.network.node_netns(f.nodes[1])):
            links = "".join(read("/proc/thread-self/net/dev"))
        assert links.count("cali") == 1
        os.close(netns)


@pytest.mark.kernel
async def test_many_pods_can_be_attached_at_once(fabric):
    async with fabric() as f:
        await asyncio.gather(*(f.pod(f"p{n}", 1 + n % 2) for n in range(20)))
        answers = await asyncio.gather(*(f.ask("p0", f"p{n}") for n in range(20)))
        assert [answer.split()[0] for answer in answers] == [f"p{n}" for n in range(20)]


@pytest.mark.kernel
async def test_closing_leaves_no_link_and_no_descriptor():
    before = open_descriptors()
    network = Network(ClusterConfig())
    await network.start()
    for name in ClusterConfig().node_names:
        await network.add_node(name)
    await network.close()
    assert open_descriptors() == before
    assert "br0" not in {line.split(":")[0].strip() for line in read("/proc/net/dev")}


def test_an_unknown_cni_or_proxy_mode_is_refused_by_name():
    with pytest.raises(UsageError, match="'weave'"):
        Network(ClusterConfig(cni="weave"))
    with pytest.raises(UsageError, match="'ipvs'"):
        Network(ClusterConfig(proxy_mode="ipvs"))


@pytest.mark.kernel
async def test_a_udp_client_of_a_host_port_is_served_by_the_pod_that_has_it_now(fabric):
    async with fabric(nodes=2) as f:
        client = ("laptop", "172.18.0.3", 5300)
        assert await f.ask_udp(*client, from_port=5353) == "refused"  # remembered as a flow
        for name in ("first", "second"):
            ports = [HostPort("UDP", "", 5300, 53)]
            await f.pod(name, serve=(), udp=(53,), host_ports=ports)
            assert await f.ask_udp(*client, from_port=5353) == f"{name} 172.18.0.250"
            await f.network.detach_pod(name)


@pytest.mark.kernel
async def test_flows_that_began_while_the_rules_were_away_are_forgotten_with_the_healing(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("p", serve=(), udp=(53,), host_ports=[HostPort("UDP", "", 5300, 53)])
        worker = f.nodes[1]
        dns = ServicePort(
            namespace="default",
            service="dns",
            protocol="UDP",
            port=53,
            node_port=30053,
            cluster_ips=("10.96.0.53",),
            endpoints=(Endpoint(f.address["p"], 53, worker),),
        )
        await f.network.sync_services({dns.key: dns})
        rules = f.network._nodes[worker].rules
        for port in (5300, 30053):
            assert await f.ask_udp("laptop", "172.18.0.3", port, from_port=5353) != "refused"

        async def heal_by_a_refused_change():
            await f.network.sync_services({})
            await f.network.sync_services({dns.key: dns})

        for heal in (f.network._resync.look, heal_by_a_refused_change):
            rules.nft.run("flush ruleset")
            for port in (5300, 30053):
                answer = await f.ask_udp("laptop", "172.18.0.3", port, from_port=port)
                assert answer == "refused"
            await heal()
            for port in (5300, 30053):
                answer = await f.ask_udp("laptop", "172.18.0.3", port, from_port=port)
                assert answer.startswith("p "), port


@pytest.mark.kernel
async def test_a_host_port_of_an_attach_that_failed_leads_nowhere(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("a")
        before = f.rules(f.nodes[1], "calico"), f.rules(f.nodes[1], "network-policy")
        ports = [HostPort("TCP", "", 80, 8080)]
        with pytest.raises(KernelError, match="add veth pair"):
            await f.network.attach_pod(
                node=f.nodes[1], uid="b", netns=f.netns["a"], host_ports=ports
            )
        assert (f.rules(f.nodes[1], "calico"), f.rules(f.nodes[1], "network-policy")) == before
        assert (await f.ask(f.nodes[0], "a")).startswith("a ")


@pytest.mark.kernel
@pytest.mark.parametrize("failing", ["bring_up", "_introduce", "_spread"])
async def test_a_node_that_could_not_be_added_can_be_added_again(fabric, monkeypatch, failing):
    async with fabric(nodes=2) as f:
        there = open_descriptors()
        here = f.network._services if failing == "bring_up" else f.network

        def refuse(*_):
            raise KernelError("no room", errno=errno.ENOSPC)

        with monkeypatch.context() as broken:
            broken.setattr(here, failing, refuse)
            with pytest.raises(KernelError, match="no room"):
                await f.network.add_node("late")
        assert open_descriptors() == there
        assert set(f.network._nodes) == set(f.nodes)
        assert await f.network.add_node("late") == ["172.18.0.4"]
        assert f.network.pod_cidrs("late") == ["10.244.2.0/26"]


@pytest.mark.kernel
async def test_a_node_whose_link_is_down_hinders_no_other_node_and_can_be_removed(fabric, caplog):
    async with fabric() as f:
        broken = f.network._nodes[WORKER2].netlink
        broken.send([netlink.down(broken.link("eth0"))])
        for _ in range(63):
            f.network._ipams[0].allocate(WORKER)
        assert await f.pod("p") == "10.244.1.65"
        assert await f.ask(CONTROL, "p") == "p 172.18.0.2"
        assert f"node {WORKER2}: add unicast route 10.244.1.64/26" in caplog.text
        broken.send([netlink.up(broken.link("eth0"))])
        await f.network.start_agent(WORKER2, "network-agent")
        assert await f.ask(WORKER2, "p") == "p 172.18.0.4"
        broken.send([netlink.delete_link(broken.link("eth0"))])
        assert await f.network.add_node("late") == ["172.18.0.5"]
        assert await f.ask("late", "p") == "p 172.18.0.5"
        await f.network.remove_node("late")
        await f.network.remove_node(WORKER2)
        assert await f.network.add_node(WORKER2) == ["172.18.0.4"]
        assert await f.ask(WORKER2, "p") == "p 172.18.0.4"
