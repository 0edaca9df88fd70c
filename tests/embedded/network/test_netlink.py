"""Links, addresses, routes and neighbours in namespaces of the test's own."""

import errno
import os
import resource
import socket
from contextlib import closing

import pytest

from k8slab.embedded import linux
from k8slab.embedded.network import netlink
from k8slab.embedded.network.netlink import Netlink, Route, VethEnd
from k8slab.errors import KernelError

MAC = "02:00:00:00:00:01"


def pair(here, netns, name="near"):
    ends = VethEnd(name=name, mac=MAC), VethEnd(name="far", mac="02:00:00:00:00:02", netns=netns)
    here.send([netlink.veth(*ends)])


@pytest.mark.kernel
def test_a_veth_pair_is_in_two_namespaces_from_the_start_and_carries_packets_once_up(
    retransmissions,
):
    other = linux.new_netns()
    with closing(Netlink(linux.open_netns())) as here, closing(Netlink(other)) as there:
        pair(here, other)
        near, far = here.link("near"), there.link("far")
        assert (near.mac, near.up, far.up) == (MAC, False, False)
        here.send([netlink.up(near), netlink.address(near, "10.0.0.1/24")])
        there.send([netlink.up(far), netlink.address(far, "10.0.0.2/24")])
        assert here.wait_up("near").up
        assert there.wait_up("far").up
        with linux.in_netns(other):
            server = socket.create_server(("10.0.0.2", 80))
        with socket.create_connection(("10.0.0.2", 80), timeout=30) as client:
            assert retransmissions(client) == 0
        server.close()


@pytest.mark.kernel
def test_a_refusal_says_what_was_asked_and_the_rest_of_the_batch_is_answered():
    with closing(Netlink(linux.open_netns())) as here:
        lo = here.link("lo")
        batch = [
            netlink.up(lo),
            netlink.address(lo, "10.0.0.1/32"),
            netlink.route(Route(to="10.9.0.0/16", via="10.8.0.1")),
            netlink.address(lo, "10.0.0.2/32"),
        ]
        with pytest.raises(KernelError, match=r"add unicast route 10\.9\.0\.0/16 via 10\.8\.0\.1"):
            here.send(batch)
        assert here.link("lo").index == 1
        with pytest.raises(KernelError, match="look up link nothing: No such device") as caught:
            here.link("nothing")
        assert caught.value.errno == errno.ENODEV


@pytest.mark.kernel
def test_deleting_what_is_not_there_is_fine():
    with closing(Netlink(linux.open_netns())) as here:
        lo = here.link("lo")
        here.send([netlink.up(lo)])
        here.send(
            [
                netlink.delete_route(Route(to="10.9.0.0/16", link=lo)),
                netlink.delete_link(netlink.Link(77, "gone", "", up=False)),
            ]
        )


@pytest.mark.kernel
def test_a_link_that_cannot_come_up_is_an_error_with_its_name(monkeypatch):
    monkeypatch.setattr(netlink, "_SECONDS_FOR_UP", 0.05)
    other = linux.new_netns()
    with closing(Netlink(linux.open_netns())) as here:
        pair(here, other)
        here.send([netlink.up(here.link("near"))])  # the other end stays down
        with pytest.raises(KernelError, match="link near did not come up"):
            here.wait_up("near")


@pytest.mark.kernel  # in a child: neither the limit nor what is opened outlives it
@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1200, reason="too few files may be open"
)
def test_a_daemon_with_many_open_files_waits_for_a_link_all_the_same(monkeypatch):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a shell often has 1,024
    monkeypatch.setattr(netlink, "_SECONDS_FOR_UP", 0.05)
    other = linux.new_netns()
    with closing(Netlink(linux.open_netns())) as here:
        pair(here, other)
        here.send([netlink.up(here.link("near"))])  # the other end stays down
        many = [os.dup(0) for _ in range(1100)]
        with pytest.raises(KernelError, match="link near did not come up"):
            here.wait_up("near")
        for number in many:
            os.close(number)


@pytest.mark.kernel
def test_waiting_for_a_link_ends_when_the_kernel_tells_that_it_is_up():
    other = linux.new_netns()
    with closing(Netlink(linux.open_netns())) as here, closing(Netlink(other)) as there:
        pair(here, other)
        here.send([netlink.up(here.link("near"))])
        pid = os.fork()
        if pid == 0:
            there.send([netlink.up(there.link("far"))])
            os._exit(0)
        assert here.wait_up("near").up
        assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.kernel
def test_routes_of_every_kind_can_be_added_and_deleted():
    with closing(Netlink(linux.open_netns())) as here:
        lo = here.link("lo")
        here.send([netlink.up(lo)])
        routes = [
            Route(to="10.1.0.0/16", kind="blackhole"),
            Route(to="10.2.0.0/16", kind="unreachable"),
            Route(to="10.3.0.1/32", kind="local", link=lo),
            Route(to="0.0.0.0/0", link=lo, via="169.254.1.1", onlink=True),
        ]
        here.send(map(netlink.route, routes))
        expected = {
            "10.1.0.1": errno.EINVAL,
            "10.2.0.1": errno.EHOSTUNREACH,
            "10.3.0.1": errno.ECONNREFUSED,
        }
        for address, number in expected.items():
            with socket.socket() as sock:
                assert sock.connect_ex((address, 1)) == number
        here.send(map(netlink.delete_route, routes))
        for address in expected:
            with socket.socket() as sock:
                assert sock.connect_ex((address, 1)) == errno.ENETUNREACH
