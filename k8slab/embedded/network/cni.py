"""A node's configuration of the CNI plugin: files in /etc/cni/net.d, as on a real node.

calico-node writes one when it starts (install-cni). As a container runtime does it (libcni's
ConfFiles), the first file by name counts, and it is read for each pod anew: whoever changes it in
a shell on the node changes what the next pod gets. Of what is in it `ipam` counts. ``calico-ipam``
takes an address of the node's blocks and claims a further block when they are full; ``host-local``
takes none that is not in its ranges, and refuses when all of them are taken, in the words of that
plugin (containernetworking/plugins, ipam/host-local).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from k8slab.embedded import linux
from k8slab.embedded.config import CNI_DIRECTORY
from k8slab.errors import PodNetworkError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "10-calico.conflist"
_ENDINGS = {".conf", ".conflist", ".json"}
_LIMIT = 65_536
"""Bytes of a configuration; Calico's own has some 400."""
_NOT_UNDERSTOOD = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError),
    RecursionError,  # of json, for what is nested without end
)


@dataclass(frozen=True, slots=True)
class RangeSet:
    """Addresses of one family that pods may have: from a first to a last one, several times."""

    number: int
    """Its place in the configuration, from 0."""
    version: int
    parts: tuple[tuple[int, int], ...]

    def __contains__(self, address: str) -> bool:
        """Say whether an address of this family is in it."""
        number = int(ip_address(address))
        return any(first <= number <= last for first, last in self.parts)

    def __str__(self) -> str:
        kind = type(ip_address("::" if self.version == 6 else "0.0.0.0"))
        return ",".join(f"{kind(first)}-{kind(last)}" for first, last in self.parts)


class Configuration:
    """The directory of one node."""

    def __init__(self, root: Path, node: str) -> None:
        """Keep the files below `root`, which is the root of the node's own files."""
        self._directory = root / CNI_DIRECTORY
        self._node = node

    def install(self) -> None:
        """Write Calico's own file, which then is the only one; a directory there is set aside."""
        self.remove()
        self._directory.mkdir(parents=True, exist_ok=True)
        linux.set_aside(self._directory / FILE)
        with (self._directory / FILE).open("x", encoding="utf-8") as file:
            file.write(_calico(self._node))

    def remove(self) -> None:
        """Remove every file that could count."""
        for file in self._files():
            file.unlink(missing_ok=True)

    def range_sets(self) -> list[RangeSet]:
        """Return what addresses pods may have; nothing for any. Raises `PodNetworkError`."""
        files = self._files()
        if not files:
            raise PodNetworkError(f"no networks found in /{CNI_DIRECTORY}")
        try:
            found = json.loads(linux.read_regular(files[0], _LIMIT))
            return _range_sets(_ipam(found))
        except _NOT_UNDERSTOOD as error:
            place = f"/{CNI_DIRECTORY}/{files[0].name}"
            raise PodNetworkError(f"error parsing configuration {place}: {error!r}") from error

    def _files(self) -> list[Path]:
        if not self._directory.is_dir():
            return []
        named = [file for file in self._directory.iterdir() if file.suffix in _ENDINGS]
        return sorted(file for file in named if file.is_symlink() or not file.is_dir())


def _ipam(config: dict[str, Any]) -> dict[str, Any]:
    """Return the `ipam` of a configuration: of the first plugin of a list, or of the only one."""
    plugin = config["plugins"][0] if "plugins" in config else config
    ipam: dict[str, Any] = plugin.get("ipam") or {}
    return ipam


def _range_sets(ipam: dict[str, Any]) -> list[RangeSet]:
    if ipam.get("type") != "host-local":
        return []
    # `subnet` beside the type is the older form of one set with one range.
    sets = [[ipam]] if "subnet" in ipam else []
    sets += ipam.get("ranges") or []
    return [_range_set(number, ranges) for number, ranges in enumerate(sets)]


def _range_set(number: int, ranges: list[dict[str, str]]) -> RangeSet:
    if not ranges:
        raise ValueError(f"range set {number} is empty")
    parts = []
    for one in ranges:
        subnet = ip_network(one["subnet"], strict=False)
        begin, end = one.get("rangeStart"), one.get("rangeEnd")
        # Without its ends a range is all of the subnet, less its own and the broadcast address.
        first = ip_address(begin) if begin else subnet.network_address + 1
        last = ip_address(end) if end else subnet.broadcast_address - (subnet.version == 4)
        parts.append((int(first), int(last)))
    return RangeSet(number, subnet.version, tuple(parts))


def _calico(node: str) -> str:
    plugin = {
        "type": "calico",
        "datastore_type": "kubernetes",
        "nodename": node,
        "ipam": {"type": "calico-ipam"},
        "policy": {"type": "k8s"},
    }
    ports = {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}}
    found = {"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [plugin, ports]}
    return json.dumps(found, indent=2) + "\n"
