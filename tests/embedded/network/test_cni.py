"""A node's configuration of the CNI plugin: which file counts, and what it allows."""

import asyncio
import json
import os

import pytest
from ranges_kit import DUAL

from k8slab.embedded import linux
from k8slab.embedded.config import CNI_DIRECTORY, ClusterConfig
from k8slab.embedded.network.cni import FILE, Configuration
from k8slab.embedded.network.netlink import ipv6_exists
from k8slab.embedded.network.network import Network
from k8slab.errors import PodNetworkError


@pytest.fixture
def place(tmp_path):
    """Return the directory of a node whose configuration is Calico's own."""
    Configuration(tmp_path, "worker").install()
    return tmp_path / CNI_DIRECTORY


def host_local(*subnets, **more):
    ranges = [[{"subnet": subnet, **more}] for subnet in subnets]
    return {"plugins": [{"type": "calico", "ipam": {"type": "host-local", "ranges": ranges}}]}


def told(place, config, name=FILE):
    """Return the range sets of a configuration, as text."""
    (place / name).write_text(config if isinstance(config, str) else json.dumps(config))
    return [str(one) for one in Configuration(place.parents[2], "worker").range_sets()]


def test_calicos_own_file_names_the_node_and_limits_nothing(place):
    assert json.loads((place / FILE).read_text())["plugins"][0]["nodename"] == "worker"
    assert Configuration(place.parents[2], "worker").range_sets() == []


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (host_local("10.244.1.0/29"), ["10.244.1.1-10.244.1.6"]),
        (host_local("10.244.1.0/26", rangeEnd="10.244.1.9"), ["10.244.1.1-10.244.1.9"]),
        (host_local("10.244.1.0/26", rangeStart="10.244.1.9"), ["10.244.1.9-10.244.1.62"]),
        (host_local("10.0.0.0/30", "fd00::/126"), ["10.0.0.1-10.0.0.2", "fd00::1-fd00::3"]),
        ({"type": "calico", "ipam": {"type": "host-local", "subnet": "10.0.0.0/30"}},
         ["10.0.0.1-10.0.0.2"]),
        ({"plugins": [{"type": "calico", "ipam": {"type": "calico-ipam", "subnet": "::/0"}}]}, []),
        ({"plugins": [{"type": "calico"}]}, []),
    ],
)  # fmt: skip
def test_ranges_are_those_of_host_local(place, config, wanted):
    assert told(place, config) == wanted


def test_one_set_may_have_several_ranges(place):
    config = host_local("10.0.0.0/30")
    config["plugins"][0]["ipam"]["ranges"][0].append({"subnet": "10.0.9.0/30"})
    assert told(place, config) == ["10.0.0.1-10.0.0.2,10.0.9.1-10.0.9.2"]


def test_the_first_file_by_name_counts_and_other_files_do_not(place):
    assert told(place, host_local("10.0.0.0/30"), "20-later.conf") == []
    assert told(place, "no configuration", "00-readme.txt") == []
    assert told(place, host_local("10.0.0.0/30"), "05-first.conf") != []
    Configuration(place.parents[2], "worker").install()
    assert sorted(file.name for file in place.iterdir()) == ["00-readme.txt", FILE]


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '{"plugins": []}', json.dumps(host_local("10.0.0.0/99")), '"text"', "\xff"),
        '{"plugins": [{"ipam": {"type": "host-local", "ranges": [[]]}}]}',
    ],
)
def test_what_cannot_be_understood_is_named_with_its_file(place, text):
    with pytest.raises(
        PodNetworkError, match=f"error parsing configuration /{CNI_DIRECTORY}/{FILE}"
    ):
        told(place, text)


def test_no_pipe_link_or_flood_in_a_files_place_holds_anybody_up(place):
    plugin = Configuration(place.parents[2], "worker")
    (place / FILE).unlink()
    os.mkfifo(place / FILE)
    with pytest.raises(PodNetworkError, match="it is no regular file"):
        plugin.range_sets()
    (place / FILE).unlink()
    (place / FILE).symlink_to("/dev/zero")
    with pytest.raises(PodNetworkError, match="error parsing configuration"):
        plugin.range_sets()
    (place / FILE).unlink()
    (place / FILE).write_text("[" * 60_000)
    with pytest.raises(PodNetworkError, match="error parsing configuration"):
        plugin.range_sets()


def test_a_directory_is_no_configuration(place):
    (place / "00-first.conf").mkdir()
    plugin = Configuration(place.parents[2], "worker")
    assert plugin.range_sets() == []
    plugin.remove()
    with pytest.raises(PodNetworkError, match="no networks found"):
        plugin.range_sets()


def test_a_directory_where_the_file_is_to_be_is_set_aside(place):
    (place / FILE).unlink()
    (place / FILE / "mine").mkdir(parents=True)
    plugin = Configuration(place.parents[2], "worker")
    plugin.install()
    assert plugin.range_sets() == []
    assert (place / FILE).is_file()
    assert (place / f"{FILE}.aside1" / "mine").is_dir()


def test_without_a_file_there_is_no_network(place):
    plugin = Configuration(place.parents[2], "worker")
    plugin.remove()
    with pytest.raises(PodNetworkError, match=r"no networks found in /etc/cni/net\.d"):
        plugin.range_sets()


async def attached(network, node, uid):
    return await network.attach_pod(node=node, uid=uid, netns=linux.new_netns())


async def start(config, files):
    network = Network(config, node_files=files)
    await network.start()
    for name in config.node_names:
        await network.add_node(name)
    return network


@pytest.mark.kernel
async def test_a_node_gives_addresses_of_its_range_until_they_are_taken(tmp_path):
    config = ClusterConfig()
    network = await start(config, tmp_path)
    node = config.node_names[1]
    place = tmp_path / node / CNI_DIRECTORY
    (before,) = await attached(network, node, "before")
    assert before == "10.244.1.1"
    (place / FILE).write_text(json.dumps(host_local("10.244.1.0/29")))
    found = [await attached(network, node, f"pod{n}") for n in range(5)]
    assert {one for (one,) in found} == {f"10.244.1.{n}" for n in range(2, 7)}
    full = "range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.6"
    with pytest.raises(PodNetworkError, match=full):
        await attached(network, node, "more")
    assert await attached(network, config.node_names[2], "elsewhere") == ["10.244.2.1"]
    await network.detach_pod("pod3")
    assert await attached(network, node, "more") == found[3]
    await network.plug(node, there=True)
    assert await attached(network, node, "again") == ["10.244.1.7"]
    await network.plug(node, there=False)
    with pytest.raises(PodNetworkError, match="no networks found"):
        await attached(network, node, "never")
    assert network.pod_cidrs(node) == ["10.244.1.0/26"]
    await network.close()


@pytest.mark.kernel
@pytest.mark.skipif(not ipv6_exists(), reason="this kernel has no IPv6")
async def test_an_address_of_one_family_comes_back_when_the_other_has_none(tmp_path):
    config = ClusterConfig(**DUAL)
    network = await start(config, tmp_path)
    node = config.node_names[1]
    four, six = network.pod_cidrs(node)
    small = [four, str(six).replace("/122", "/127")]
    (tmp_path / node / CNI_DIRECTORY / FILE).write_text(json.dumps(host_local(*small)))
    assert len(await attached(network, node, "first")) == 2
    for _ in range(100):  # more than the block of the first family has
        with pytest.raises(PodNetworkError, match="failed to allocate for range 1"):
            await attached(network, node, "second")
    await network.detach_pod("first")
    assert len(await attached(network, node, "second")) == 2
    await asyncio.wait_for(network.close(), 60)
