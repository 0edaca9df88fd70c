"""What the API server needs from the cluster behind it, as protocols.

Most of the API is objects in the store. The rest touches processes and packets:
exec, attach, logs, port-forward, and the API group of this provider. The daemon
plugs in who does it; the API server knows only these protocols.

A backend says what went wrong with `ApiStatusError`; its message is shown to the
learner as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from k8slab.objects.meta import Object


class Process(Protocol):
    """A process whose streams a client holds: an exec, or an attach to a container."""

    @property
    def stdin(self) -> asyncio.StreamWriter | None:
        """Return where its input goes; ``None`` when it was started without."""

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """Return its output; with a terminal, both of its outputs."""

    @property
    def stderr(self) -> asyncio.StreamReader | None:
        """Return its error output; ``None`` with a terminal."""

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal, in characters."""

    def kill(self) -> None:
        """End an exec at once; let go of an attach. Safe to call more than once."""

    async def wait(self) -> int:
        """Wait for its end and return the exit code, 128 + signal when a signal ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """Which part of a container's log is wanted (``PodLogOptions`` in core/v1)."""

    follow: bool = False
    previous: bool = False
    """The log of the container's previous instance."""
    since: float | None = None
    """Only lines written at or after this time, in seconds since 1970."""
    tail: int | None = None
    """Only the last so many lines."""
    limit: int | None = None
    """At most so many bytes."""
    timestamps: bool = False


class PodBackend(Protocol):
    """What can be done with a running pod; `container` is the name of one of its containers."""

    async def exec(
        self, pod: Object, container: str, argv: list[str], *, tty: bool, stdin: bool
    ) -> Process:
        """Start one more process in a container."""

    async def attach(self, pod: Object, container: str, *, tty: bool, stdin: bool) -> Process:
        """Hold the streams of a container's first process."""

    async def logs(self, pod: Object, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Return the wanted part of a log, in pieces; what is wrong is raised here."""

    async def connect(
        self, pod: Object, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a TCP port on localhost inside the pod's network namespace.

        Raises `OSError` (refused) as connect(2) gives it.
        """

    async def dial(
        self, address: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a TCP port from the control plane's node, where the API server runs.

        Raises `OSError` as connect(2) gives it; the caller bounds the time.
        """


class LabBackend(Protocol):
    """What only this provider can do: the API group ``lab.k8slab.dev/v1``."""

    async def probe(self, flows: list[Object], *, deadline: float) -> list[Object]:
        """Observe flows, each for at most `deadline` seconds; one result for each, in order."""

    async def trace(self, flow: Object, *, deadline: float) -> Object:
        """Send one packet, follow it through the cluster, and return its journey."""

    async def run_on_node(self, node: str, argv: list[str], *, deadline: float) -> Object:
        """Run a command in a node's network namespace; return code, stdout and stderr."""

    async def run_agent(self, node: str, agent: str, *, running: bool) -> None:
        """Start an agent of a node (`lab.AGENTS`), or stop it; 404 for a node that is not there."""

    async def agents(self, node: str) -> dict[str, bool]:
        """Return which agents of a node run."""

    def denials(self, since: int) -> list[Object]:
        """Return the packets that policies dropped after the one numbered `since`."""

    async def wait_denials(self, since: int) -> None:
        """Return when there is a denial after the one numbered `since`."""

    def cluster(self) -> Object:
        """Return config, versions, capabilities and processes."""
