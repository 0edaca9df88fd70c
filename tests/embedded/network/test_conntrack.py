"""The kernel's table of connections: how full it is, and what is forgotten in it."""

import asyncio
import socket
import threading

import pytest
from ranges_kit import DUAL

from k8slab.embedded import linux
from k8slab.embedded.network import conntrack
from k8slab.embedded.network.conntrack import Cleaner, Usage
from k8slab.embedded.network.netlink import ipv6_exists


def entries(fabric, node=1):
    return conntrack.usage(fabric.network.node_netns(fabric.nodes[node])).entries


async def in_background_done(fabric):
    """Return when all that nobody waits for has been done, which is in the order of asking."""
    await asyncio.wrap_future(fabric.network._queue._reaper.submit(lambda: None))


@pytest.mark.parametrize(("entries", "full"), [(0, False), (94, False), (95, True), (100, True)])
def test_a_table_is_full_when_the_kernel_looks_for_old_connections_to_drop(entries, full):
    assert Usage(entries, 100).full is full


def test_no_table_is_full_whose_limit_is_not_told():
    assert not Usage(5, 0).full


@pytest.mark.kernel
async def test_connections_are_counted_for_each_node_beside_the_limit_of_the_machine(fabric):
    async with fabric() as f:
        for name in ("web", "db"):
            await f.pod(name)
        before = entries(f)
        for _ in range(5):
            await f.ask("web", "db")
        assert entries(f) == before + 5
        assert entries(f, 2) == 0
        assert conntrack.usage(f.network.node_netns(f.nodes[2])).limit > 1000


@pytest.mark.kernel
@pytest.mark.skipif(not ipv6_exists(), reason="this kernel has no IPv6")
async def test_a_pod_that_goes_leaves_none_of_its_connections_behind(fabric):
    async with fabric(**DUAL) as f:
        for name in ("web", "db", "old", "older"):
            await f.pod(name)
        for source, destination in (("web", "old"), ("old", "db"), ("older", "web"), ("web", "db")):
            assert await f.ask(source, destination)
        both = f.network._pods["old"].addresses
        assert await f.ask("web", next(one for one in both if ":" in one))
        assert entries(f) == 5
        await f.network.detach_pod("old")
        await f.network.detach_pod("older")
        await in_background_done(f)
        assert entries(f) == 1


@pytest.mark.kernel
async def test_a_pod_that_gets_the_address_of_one_just_gone_inherits_and_loses_no_connection(
    fabric,
):
    async with fabric() as f:
        address = await f.pod("old")
        await f.pod("client", 2)
        assert await f.ask("client", "old") == f"old {f.address['client']}"
        busy = threading.Event()
        f.network._queue._reaper.submit(busy.wait, 30)  # as when many links are being deleted
        await f.network.detach_pod("old")
        assert entries(f) == 1
        f.network._ipams[0]._nodes[f.nodes[1]].last = -1  # all other addresses had their turn
        assert await f.pod("new") == address
        assert entries(f) == 0
        assert await f.ask("client", "new") == f"new {f.address['client']}"
        busy.set()
        await in_background_done(f)
        assert entries(f) == 1


@pytest.mark.kernel
async def test_more_connections_than_the_kernel_lists_at_once_are_forgotten_all(fabric):
    async with fabric() as f:
        here, gone = await f.pod("here"), await f.pod("gone")
        for number, source in enumerate(("here", "gone"), 1):
            with linux.in_netns(f.netns[source]):
                asking = socket.socket(type=socket.SOCK_DGRAM)
            with asking:
                for port in range(2000, 2700):
                    asking.sendto(b"?", ("172.18.0.3", port))
            # A busy machine leaves packets to ksoftirqd, which has room for a thousand.
            async with asyncio.timeout(30):
                while entries(f) < 700 * number:  # noqa: ASYNC110  only the kernel knows
                    await asyncio.sleep(0)
        assert entries(f) == 1400
        cleaner = Cleaner(f.network.node_netns(f.nodes[1]))
        assert cleaner.forget([gone]) == 700
        assert entries(f) == 700
        assert cleaner.forget([here, gone]) == 700
        cleaner.close()
        assert entries(f) == 0
