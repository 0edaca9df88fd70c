"""kube-proxies that have to wait: who is held back, and that nobody is forgotten."""

import asyncio
import dataclasses

import pytest

from k8slab.embedded.network.lags import Lags
from k8slab.embedded.network.model import Endpoint, ServicePort

pytestmark = pytest.mark.kernel
FOR_EVER = 3600.0


async def nobody(_node):
    raise AssertionError("nobody was to be written")


async def test_without_a_period_nobody_waits():
    lags = Lags(nobody)
    lags.pace("a", 0.0)
    assert lags.held() == lags.held() == frozenset()
    await lags.close()


async def test_the_first_change_is_written_at_once_and_those_after_it_wait():
    lags = Lags(nobody)
    lags.pace("a", FOR_EVER)
    assert lags.held() == frozenset()
    lags.pace("b", FOR_EVER)
    assert lags.held() == {"a"}
    assert lags.held() == {"a", "b"}
    lags.forget("a")
    assert lags.held() == {"b"}
    lags.pace("b", 0.0)
    assert lags.held() == frozenset()
    await lags.close()


async def test_whoever_waits_is_written_once_when_the_time_has_come():
    written = asyncio.Queue()
    lags = Lags(written.put)
    lags.pace("a", 0.05)
    lags.held()
    for _ in range(3):
        lags.held()
    assert await asyncio.wait_for(written.get(), 30) == "a"
    await lags.close()
    assert written.empty()


async def test_when_it_is_closed_nobody_is_written_any_more():
    lags = Lags(nobody)
    lags.pace("a", 0.001)
    lags.held()
    lags.held()
    await lags.close()
    assert not lags.held()


def service(f, *names, protocol="TCP"):
    endpoints = tuple(Endpoint(f.address[name], 8080) for name in names)
    return ServicePort(
        namespace="shop",
        service="db",
        port_name="",
        protocol=protocol,
        cluster_ips=("10.96.0.20",),
        port=80,
        endpoints=endpoints,
    )


async def test_a_node_that_waits_leads_where_it_led_and_the_others_do_not(fabric):
    async with fabric() as f:
        for name, node in (("old", 1), ("new", 2), ("near", 1), ("far", 2)):
            await f.pod(name, node)
        await f.network.pace_proxy(f.nodes[1], FOR_EVER)
        for server in ("old", "new"):
            port = service(f, server)
            await f.network.sync_services({port.key: port})
        assert (await f.ask("far", "10.96.0.20", 80)).startswith("new")
        assert (await f.ask("near", "10.96.0.20", 80)).startswith("old")
        await f.network.pace_proxy(f.nodes[1], 0.0)
        assert (await f.ask("near", "10.96.0.20", 80)).startswith("new")


async def test_a_node_that_waits_follows_by_itself(fabric):
    async with fabric() as f:
        for name in ("old", "new", "client"):
            await f.pod(name)
        await f.network.pace_proxy(f.nodes[1], 0.2)
        first, last = service(f, "old"), service(f, "new")
        await f.network.sync_services({first.key: first})
        await f.network.sync_services({last.key: dataclasses.replace(last, affinity_seconds=9)})
        await f.network.sync_services({last.key: last})
        async with asyncio.timeout(30):
            while not (await f.ask("client", "10.96.0.20", 80)).startswith("new"):
                pass


async def test_a_kube_proxy_that_is_stopped_while_it_waits_writes_all_when_it_starts(fabric):
    async with fabric() as f:
        for name in ("old", "new", "client"):
            await f.pod(name)
        node = f.nodes[1]
        await f.network.pace_proxy(node, FOR_EVER)
        for server in ("old", "new"):
            port = service(f, server)
            await f.network.sync_services({port.key: port})
        await f.network.stop_agent(node, "kube-proxy")
        await f.network.pace_proxy(node, 0.0)
        assert (await f.ask("client", "10.96.0.20", 80)).startswith("old")
        await f.network.start_agent(node, "kube-proxy")
        assert (await f.ask("client", "10.96.0.20", 80)).startswith("new")
