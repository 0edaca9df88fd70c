"""What the runtime is asked to run, as plain values.

The kubelet computes these from a Pod; nothing in this room knows what a Pod is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from k8slab.errors import ClusterError

FILE_MODE = 0o644
"""The mode of a volume's files when nothing else is said (core/v1 ``defaultMode``)."""


class FileData(bytes):
    """What a file of a volume holds; it knows its mode where that is not `FILE_MODE`."""

    mode: int = FILE_MODE

    @classmethod
    def of(cls, data: bytes, mode: int) -> bytes:
        """Return the data with this mode."""
        if mode == FILE_MODE:
            return data
        made = cls(data)
        made.mode = mode
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """The namespaces that all containers of one pod share."""

    uid: str
    hostname: str
    network: int | None = None
    """Descriptor of the node's network namespace for ``hostNetwork``; ``None`` makes a new one."""
    share_processes: bool = False
    cluster_processes: bool = False
    """Stay in the cluster's PID namespace (``hostPID``): all nodes are one machine here, so
    every process of the cluster is seen."""
    sysctls: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A directory in a container: given files, or (`files` is ``None``) an empty one.

    Mounts with the same `volume` in one sandbox share their contents (emptyDir, and
    ConfigMap, Secret, token volumes, whose files are rewritten by `Runtime.update_volume`).
    """

    path: str
    volume: str
    files: dict[str, bytes] | None = None
    read_only: bool = False
    sub_path: str = ""
    node_root: bool = False
    """Not a volume but the node's file system: the same programs, and the cluster's /proc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container; `command` and `args` as in a Pod: they replace the image's own."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    working_directory: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """Single files by path: /etc/hosts, /etc/resolv.conf, /etc/hostname."""
    mounts: tuple[Mount, ...] = ()
    tty: bool = False
    stdin: bool = False
    privileged: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    run_as_user: int | None = None
    share_processes_with: str = ""
    """Container id whose process namespace is joined (``kubectl debug --target``)."""
    log_path: str = ""
    """Where stdout and stderr go, in CRI format (kubelet ``container.log``)."""


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """How a container ended; `code` is 128 + signal when a signal ended it."""

    container_id: str
    code: int
    signal: int = 0
    reason: str = ""
    """``Completed``, ``Error``, ``OOMKilled`` or ``ContainerCannotRun``."""
    message: str = ""
    finished_at: float = 0.0


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """One more process in a running container."""

    argv: tuple[str, ...]
    tty: bool = False
    stdin: bool = False


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command on a node said; `code` is 124 when its deadline ended it, as timeout(1)."""

    code: int
    stdout: bytes
    stderr: bytes


class ImageNotFoundError(ClusterError):
    """No entry of the image catalogue has this name (the kubelet's ``ErrImagePull``)."""


class ContainerCannotRunError(ClusterError):
    """A process could not be started; the message is worded as runc words it."""
