"""The probe agent's exchanges, with real sockets in namespaces of the test's own."""

import resource
import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from k8slab.embedded import linux
from k8slab.embedded.daemon.exchanges import FIRST_PORT, LAST_PORT, Exchange, Ports, Run
from k8slab.embedded.network import netlink
from k8slab.embedded.network.model import Denial
from k8slab.embedded.network.netlink import Netlink

pytestmark = pytest.mark.kernel


def place():
    """Return a namespace of its own in which the loopback is up."""
    netns = linux.new_netns()
    with closing(Netlink(netns)) as link:
        link.send([netlink.up(link.link("lo"))])
    return netns


def listener(netns, port, kind=socket.SOCK_STREAM):
    with linux.in_netns(netns):
        sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", port))
    if kind == socket.SOCK_STREAM:
        sock.listen(4096)
    return sock


def exchange(netns, port, protocol="TCP", address="127.0.0.1"):
    return Exchange(netns=netns, source=str(netns), address=address, port=port, protocol=protocol)


def run(exchanges, deadline=30):
    one = Run(exchanges, deadline, Ports())
    try:
        return one.run()
    finally:
        one.close()


def echo_once(sock):
    data, client = sock.recvfrom(2048)
    sock.sendto(b"answer to " + data, client)


def silent_port(netns):
    """Return a port whose queue is full: the kernel drops further SYNs (listen(2))."""
    with linux.in_netns(netns):
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        clients = [socket.socket() for _ in range(3)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(server.getsockname())
    return server.getsockname()[1], [server, *clients]


def test_outcomes_are_those_of_the_namespace_that_the_flow_comes_from():
    first, second = place(), place()
    keep = [listener(first, 80)]
    results = run([exchange(first, 80), exchange(second, 80), exchange(first, 81)])
    assert [result.outcome for result in results] == ["open", "refused", "refused"]
    assert results[1].detail == "connection refused"
    assert keep


def test_a_datagram_is_open_only_when_an_answer_comes():
    netns = place()
    answering = listener(netns, 53, socket.SOCK_DGRAM)
    deaf = listener(netns, 54, socket.SOCK_DGRAM)
    threading.Thread(target=echo_once, args=(answering,)).start()
    answered, refused = run([exchange(netns, port, "UDP") for port in (53, 55)])
    [silent] = run([exchange(netns, 54, "UDP")], deadline=0.3)
    outcomes = [result.outcome for result in (answered, silent, refused)]
    assert outcomes == ["open", "silent", "refused"]
    assert answered.data.startswith(b"answer to ")
    assert silent.detail == "no answer within 0.3 s"
    assert deaf.recv(100) == b"k8slab probe\n"


def test_nothing_until_the_deadline_is_silent_and_takes_no_longer():
    netns = place()
    port, keep = silent_port(netns)
    began = time.monotonic()
    results = run([exchange(netns, port) for _ in range(50)], deadline=0.3)
    assert {result.outcome for result in results} == {"silent"}
    assert 0.3 <= time.monotonic() - began < 50 * 0.3 / 2
    assert keep


def test_a_reported_drop_ends_the_exchange_at_once_and_no_other():
    netns = place()
    port, keep = silent_port(netns)

    class Fixed(Ports):
        numbers = iter((40001, 40002))

        def take(self, _source):
            number = next(self.numbers)
            if number == denial.source_port:
                threading.Timer(0.05, one.deny, [denial]).start()
            return number

    denial = Denial(
        time=0.0,
        node="n",
        direction="ingress",
        pod_uid="u",
        protocol="TCP",
        source="127.0.0.1",
        source_port=40002,
        destination="127.0.0.1",
        destination_port=port,
    )
    one = Run([exchange(netns, port) for _ in range(2)], 1.5, Fixed())
    results = one.run()
    assert [result.denial for result in results] == [None, denial]
    assert results[1].outcome == results[0].outcome == "silent"
    assert results[1].seconds < 1.5 <= results[0].seconds
    assert keep


def test_what_the_kernel_will_not_even_try_is_told_and_not_taken_for_a_drop():
    empty = linux.new_netns()  # its loopback is down and it has no route
    [result] = run([exchange(empty, 80, address="203.0.113.10")])
    assert (result.outcome, result.detail) == ("refused", "network is unreachable")
    [result] = run([exchange(empty, 80, address="not an address")])
    assert result.outcome == "failed"


def test_many_exchanges_work_with_few_descriptors():
    netns = place()
    keep = listener(netns, 80)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # This process was forked from pytest's, and may have many files open.
    there = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + 128, hard))
    results = run([exchange(netns, port) for port in (80, 81) for _ in range(1000)])
    assert [result.outcome for result in results] == ["open"] * 1000 + ["refused"] * 1000
    assert keep


def test_a_source_never_takes_a_port_again_before_it_has_taken_all():
    ports = Ports()
    taken = [ports.take("a") for _ in range(LAST_PORT - FIRST_PORT + 1)]
    assert len(set(taken)) == len(taken)
    assert ports.take("a") == taken[0]
    assert min(taken) == FIRST_PORT
    assert max(taken) == LAST_PORT
