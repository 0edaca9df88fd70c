"""What an embedded cluster is made of: names, address ranges, ports and paths.

Address ranges are lists, one entry for each IP family, so that dual-stack is a
second entry and not a second code path. The ranges are those of kind.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

from k8slab.errors import EnvironmentLacksError, UsageError

KUBERNETES_MINOR = 37
"""The API version served: the newest whose models the pinned `kubernetes` package has."""

CLUSTER_DOMAIN = "cluster.local"

CNI_DIRECTORY = "etc/cni/net.d"
"""Where on a node the configuration of its CNI plugin is, below the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """The address ranges of one IP family."""

    pods: str
    services: str
    nodes: str
    load_balancers: str


RANGES = {
    4: Ranges(
        pods="10.244.0.0/16",
        services="10.96.0.0/16",
        nodes="172.18.0.0/16",
        load_balancers="172.18.255.0/24",
    ),
    # kind's defaults (pkg/apis/config/v1alpha4); the network is the one that it makes in Docker.
    6: Ranges(
        pods="fd00:10:244::/56",
        services="fd00:10:96::/112",
        nodes="fc00:f853:ccd:e793::/64",
        load_balancers="fc00:f853:ccd:e793::ff00/120",
    ),
}

IP_FAMILIES = {"ipv4": (4,), "ipv6": (6,), "dual": (4, 6)}
"""What ``--ip-family`` means: IP versions, the primary one first (kind's ``ipFamily``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Everything that is decided when a cluster is made; kept in ``cluster.json``."""

    name: str = "k8slab"
    nodes: int = 3
    """Nodes in all, the control plane included."""
    cni: str = "calico"
    proxy_mode: str = "nftables"
    pod_cidrs: list[str] = field(default_factory=lambda: [RANGES[4].pods])
    service_cidrs: list[str] = field(default_factory=lambda: [RANGES[4].services])
    node_cidrs: list[str] = field(default_factory=lambda: [RANGES[4].nodes])
    load_balancer_cidrs: list[str] = field(default_factory=lambda: [RANGES[4].load_balancers])
    load_balancer: bool = True
    max_pods: int = 250
    """Pods that a node takes. They are cheap here, and all labs have to find room on one cluster,
    one after the other; the kubelet's default is 110, OpenShift's is 250."""
    api_port: int = 0
    """The loopback port of the API on the host; kept across restarts."""

    @property
    def ip_versions(self) -> list[int]:
        """Return the IP versions of the cluster, the primary one first."""
        return [ip_network(cidr).version for cidr in self.pod_cidrs]

    @property
    def node_names(self) -> list[str]:
        """Return the node names, as kind forms them; the first is the control plane."""
        workers = [
            f"{self.name}-worker{number if number > 1 else ''}" for number in range(1, self.nodes)
        ]
        return [f"{self.name}-control-plane", *workers]

    def to_json(self) -> str:
        """Return the text of ``cluster.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ClusterConfig:
        """Read the text of ``cluster.json``; unknown keys and other types are an error."""
        try:
            config = cls(**json.loads(text))
            config._check_types()
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"cluster.json of this cluster is damaged: {error}",
                hint="its objects lie beside it, in inside/store.sqlite: put cluster.json right, "
                "or begin anew with `k8slab reset`",
            ) from error
        return config

    def _check_types(self) -> None:
        standard = ClusterConfig()
        for one in fields(self):
            wanted, found = type(getattr(standard, one.name)), getattr(self, one.name)
            if type(found) is not wanted:
                raise TypeError(f"{one.name}: {found!r} is no {wanted.__name__}")


CAPABILITIES = ("agents", "denials", "nodes", "probe", "trace", "world")
"""What the API group lab.k8slab.dev/v1 of this version gives."""
OF_SOME = ("dual-stack", "load-balancer", "small-conntrack")
"""What only some clusters can do, as they are configured or by the machine."""
SMALL_CONNTRACK = 262_144
"""Connections that a node may have so that a challenge can fill its table: some 100 MB of the
kernel's memory, and the limit that the kernel chooses where there are more than 4 GB."""
_CONNTRACK_LIMIT = Path("/proc/sys/net/netfilter/nf_conntrack_max")


def capabilities(config: ClusterConfig) -> list[str]:
    """Return what a cluster of this configuration can do on this machine beyond Kubernetes."""
    found = [*CAPABILITIES]
    if config.load_balancer:
        found.append("load-balancer")
    if len(config.ip_versions) > 1:
        found.append("dual-stack")
    if _CONNTRACK_LIMIT.exists() and 0 < int(_CONNTRACK_LIMIT.read_text()) <= SMALL_CONNTRACK:
        found.append("small-conntrack")
    return found


def state_home() -> Path:
    """Return the one state directory: ``$K8SLAB_HOME``, else by the XDG rules."""
    if home := os.environ.get("K8SLAB_HOME"):
        return Path(home).absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "k8slab"


def make_state_home() -> Path:
    """Return the state directory, made where it is missing; nobody else may look into it.

    A wider one is narrowed to 0700 when all in it is ours: somebody may have pointed
    ``$K8SLAB_HOME`` at a directory that has other uses.
    """
    home = state_home()
    try:
        existing = [*os.scandir(home)]
    except FileNotFoundError:
        existing = []
    except OSError as error:
        raise unusable(home, error.strerror) from error
    if all(entry.name.startswith(OURS) for entry in existing):
        return make_private(home)
    _demand_own(home)
    return home


def make_private(directory: Path) -> Path:
    """Return the directory, made where it is missing and narrowed to 0700 where it is wider.

    One that somebody else made is refused, and so is somebody else's link to it: what lies
    there could be read or replaced by them.
    """
    try:
        _made(directory)
        if directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise unusable(directory, error.strerror) from error
    return directory


def make_own(directory: Path) -> Path:
    """Return the directory, made 0700 where it is missing; one that is there keeps its mode.

    One that somebody else made is refused, as by `make_private`, and so is one into which others
    may write: they could put there what is taken for ours.
    """
    try:
        _made(directory)
        if directory.stat().st_mode & 0o022:
            raise unusable(directory, f"others may write into it: chmod go-w {directory}")
    except OSError as error:
        raise unusable(directory, error.strerror) from error
    return directory


def _made(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _demand_own(directory)


def _demand_own(directory: Path) -> None:
    for found in (directory.lstat(), directory.stat()):
        if found.st_uid != os.geteuid():
            raise unusable(directory, f"it belongs to the user {found.st_uid}, and not to you")


OURS = ("clusters", "grading", "locks", "kept", "reports", "progress.sqlite")
"""What k8slab itself puts into the state directory."""


def exists(file: Path) -> bool:
    """Say whether a file of the state directory is there; one that is hidden from us is an error.

    `Path.exists` says of such a file, from Python 3.14 on, that it is not there.
    """
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        ways = (way for way in reversed(file.parents) if not os.access(way, os.X_OK))
        raise unusable(next(ways, file.parent), error.strerror) from error
    return True


def unusable(directory: Path, why: str | None) -> EnvironmentLacksError:
    """Return the error that the state directory, or one in it, cannot be used, with the reason."""
    return EnvironmentLacksError(
        f"the directory {directory} cannot be used: {why}",
        hint="k8slab keeps its state there: make it yours, or choose another place: "
        "export K8SLAB_HOME=DIRECTORY",
    )


@dataclass(frozen=True, slots=True)
class ClusterPaths:
    """Where one cluster keeps its files. The directory is 0700 and owned by the learner."""

    root: Path

    @classmethod
    def of(cls, name: str) -> ClusterPaths:
        """Return the paths of the cluster with this name."""
        return cls(state_home() / "clusters" / name)

    @property
    def config(self) -> Path:
        """``cluster.json``: the `ClusterConfig`."""
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        """The learner's credentials, 0600."""
        return self.root / "kubeconfig"

    @property
    def lock(self) -> Path:
        """Held (flock) by the supervisor while the cluster runs; holds its pid and start time."""
        return self.root / "supervisor.lock"

    @property
    def log(self) -> Path:
        """What supervisor and daemon have to say."""
        return self.root / "cluster.log"

    @property
    def inside(self) -> Path:
        """The only directory that the cluster sees; bound to `INSIDE` in its mount namespace."""
        return self.root / "inside"


INSIDE = Path("/k8slab")
"""`ClusterPaths.inside` as the daemon sees it: ``store.sqlite``, ``pki/``, ``logs/``."""


@dataclass(frozen=True, slots=True)
class WorldHost:
    """One machine outside of the cluster: the network it is in, its address and names."""

    network: str
    """``internet``, ``corp`` or ``laptop``: a key of `network.Network.world`."""
    address: str
    names: tuple[str, ...]
    role: str
    """What it runs: ``web``, ``dns``, ``database`` or ``client``."""


WORLD_RANGES = {
    "internet": ["203.0.113.0/24", "198.51.100.0/24", "2001:db8::/32"],
    "corp": ["192.168.1.0/24", "fd00:192:168:1::/64"],
}
"""The ranges behind the router: documentation addresses (RFC 5737, RFC 3849) as the internet."""

WORLD_HOSTS = [
    WorldHost("internet", "203.0.113.10", ("example.com", "www.example.com"), "web"),
    WorldHost("internet", "203.0.113.20", ("example.org", "www.example.org"), "web"),
    WorldHost("internet", "203.0.113.53", ("dns.example.net",), "dns"),
    WorldHost("internet", "198.51.100.10", ("api.example.net",), "web"),
    WorldHost("internet", "198.51.100.20", ("cdn.example.net",), "web"),
    WorldHost("internet", "2001:db8:113::10", ("example.com", "www.example.com"), "web"),
    WorldHost("internet", "2001:db8:113::20", ("example.org", "www.example.org"), "web"),
    WorldHost("internet", "2001:db8:113::53", ("dns.example.net",), "dns"),
    WorldHost("internet", "2001:db8:100::10", ("api.example.net",), "web"),
    WorldHost("internet", "2001:db8:100::20", ("cdn.example.net",), "web"),
    WorldHost("corp", "192.168.1.10", ("db.corp.test",), "database"),
    WorldHost("corp", "192.168.1.20", ("wiki.corp.test",), "web"),
    WorldHost("corp", "192.168.1.53", ("dns.corp.test",), "dns"),
    WorldHost("corp", "fd00:192:168:1::10", ("db.corp.test",), "database"),
    WorldHost("corp", "fd00:192:168:1::20", ("wiki.corp.test",), "web"),
    WorldHost("corp", "fd00:192:168:1::53", ("dns.corp.test",), "dns"),
    # A machine beside the nodes, outside of the cluster: it sees NodePorts and load balancers.
    WorldHost("laptop", "172.18.0.250", ("laptop",), "client"),
    WorldHost("laptop", "fc00:f853:ccd:e793::fa", ("laptop",), "client"),
]


def world_hosts(versions: Collection[int]) -> list[WorldHost]:
    """Return the hosts with an address of these IP versions.

    The world speaks what the cluster speaks: a name has no address that nobody can reach.
    """
    return [host for host in WORLD_HOSTS if ip_address(host.address).version in versions]
