"""Pods as processes: sandboxes, containers, exec, and commands on nodes.

A sandbox is a user, network, IPC and UTS namespace, held by descriptors: no pause
process. A container is a process with a PID and mount namespace of its own; its
program is PID 1 there, so that a signal without handler does nothing to it, as in any
container. The zygote forks; the daemon keeps the descriptors, reads the pipes and
hears from the zygote how each process ended.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.config import CNI_DIRECTORY
from k8slab.embedded.runtime import (
    capabilities,
    containers,
    images,
    pause,
    programs,
    rootfs,
    streams,
    volumes,
)
from k8slab.embedded.runtime.containers import Attachment, Container, Output
from k8slab.embedded.runtime.logs import LogFile
from k8slab.embedded.runtime.messages import (
    SANDBOX_NAMESPACES,
    Bind,
    JoinContainer,
    MakeSandbox,
    Program,
    RootPlan,
    StartContainer,
)
from k8slab.embedded.runtime.processes import (
    ChildProcess,
    Launched,
    Zygote,
    kill_members,
    send_signal,
)
from k8slab.embedded.runtime.spec import (
    Completed,
    ContainerCannotRunError,
    ContainerExit,
    ContainerSpec,
    ExecSpec,
    SandboxSpec,
)
from k8slab.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

POD_PROCESSES = 512
"""Processes and threads of one pod in all (RLIMIT_NPROC in its user namespace)."""


HOST_PROCESSES = 4096
"""The same for a pod on its node's network: it has no user namespace of its own, so that
everything in the cluster counts."""


SPARES = 2
"""Sandboxes that are made before a pod wants them; each has a helper, of a megabyte."""
SPARE_PAUSE = 0.2
"""Seconds between a pod's sandbox and making a spare one, which would compete with its start."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The namespaces of a pod, as descriptors; `netns` belongs to this room."""

    uid: str
    hostname: str
    namespaces: dict[str, int]
    """By the names that requests give them; a pod on its node's network has no ``user``."""
    pause: Launched | None = None
    """PID 1 of the pod when its containers share their processes."""
    cluster_processes: bool = False

    @property
    def netns(self) -> int:
        """The descriptor of the pod's network namespace."""
        return self.namespaces["network"]

    @property
    def is_nested(self) -> bool:
        """Tell whether the pod has a user namespace of its own."""
        return "user" in self.namespaces

    @property
    def processes(self) -> int:
        """How many processes may be in it."""
        return POD_PROCESSES if self.is_nested else HOST_PROCESSES

    def close(self) -> None:
        """Let the namespaces go: the kernel removes what nobody is in."""
        for descriptor in self.namespaces.values():
            os.close(descriptor)
        if self.pause:
            self.pause.close()


class Runtime:
    """Run pods. All methods belong to the event loop's thread."""

    on_exit: Callable[[ContainerExit], None]

    def __init__(self, zygote: socket.socket, root: Path) -> None:
        self._zygote = Zygote(zygote)
        self._root = root
        self._sandboxes: dict[str, Sandbox] = {}
        self._containers: dict[str, Container] = {}
        self._ended: dict[tuple[str, str], Container] = {}
        """Interactive containers by sandbox and name: the last instance that ended."""
        self._logs: dict[str, LogFile] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._helpers: dict[str, socket.socket] = {}
        """By sandbox: the child that made it and waits for its first container."""
        self._spares: list[Launched] = []
        self._refilling: asyncio.Task[None] | None = None
        self.on_exit = lambda _exit: None

    async def start(self) -> None:
        """Begin to serve: listen to the zygote, prepare the certificates that pods trust."""
        volumes.trust(b"")
        rootfs.install_shim()
        self._zygote.start()
        self._refill_later()

    async def close(self) -> None:
        """End every container and let every sandbox go."""
        if self._refilling:
            self._refilling.cancel()
            await asyncio.wait({self._refilling})
        for uid in list(self._sandboxes):
            await self.remove_sandbox(uid)
        for spare in self._spares:
            spare.close()
        self._zygote.close()

    def trust_certificates(self, pem: bytes) -> None:
        """Make every pod's programs trust these authorities besides the machine's own."""
        volumes.trust(pem)

    # -- sandboxes ---------------------------------------------------------------------

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """Make the namespaces of a pod; nothing runs in them yet."""
        if spec.network is None and not spec.sysctls and self._spares:
            made = self._spares.pop()
        else:
            made = await self._make_namespaces(spec)
        self._refill_later()
        names = SANDBOX_NAMESPACES if spec.network is None else SANDBOX_NAMESPACES[1:]
        sandbox = Sandbox(
            spec.uid,
            spec.hostname,
            dict(zip(names, made.namespaces, strict=True)),
            cluster_processes=spec.cluster_processes,
        )
        if made.helper:
            self._helpers[spec.uid] = made.helper
        if spec.share_processes:
            sandbox = replace(sandbox, pause=await self._start_pause(sandbox))
        self._sandboxes[spec.uid] = sandbox
        return sandbox

    async def _make_namespaces(self, spec: SandboxSpec) -> Launched:
        request = MakeSandbox(hostname=spec.hostname, sysctls=tuple(spec.sysctls.items()))
        given = {} if spec.network is None else {"network": spec.network}
        return await self._zygote.launch(request, given)

    def _refill_later(self) -> None:
        """Have namespaces ready for the next pods, made when this one is on its way."""
        if self._refilling is None or self._refilling.done():
            self._refilling = asyncio.get_running_loop().create_task(self._refill())

    async def _refill(self) -> None:
        await asyncio.sleep(SPARE_PAUSE)
        while len(self._spares) < SPARES:
            spare = await self._make_namespaces(SandboxSpec(uid="", hostname="spare"))
            self._spares.append(spare)

    async def _start_pause(self, sandbox: Sandbox) -> Launched:
        request = StartContainer(
            hostname=sandbox.hostname,
            root=RootPlan(tools=False),
            program=Program(app=pause.NAME, argv=("/pause",), environment={}),
            processes=sandbox.processes,
        )
        given, helper = self._way_in(sandbox)
        return await self._zygote.launch(request, given, helper=helper)

    def _way_in(self, sandbox: Sandbox) -> tuple[dict[str, int], socket.socket | None]:
        """Return the helper that is in the sandbox already, or else what a new one has to join."""
        helper = self._helpers.pop(sandbox.uid, None)
        if helper is None:
            return dict(sandbox.namespaces), None
        try:
            helper.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return {}, helper
        helper.close()  # it has ended: the kernel was short of memory (oom_score_adj)
        return dict(sandbox.namespaces), None

    async def remove_sandbox(self, uid: str) -> None:
        """Kill what is left in a sandbox, then let its namespaces and volumes go."""
        sandbox = self._sandboxes.pop(uid, None)
        if sandbox is None:
            return
        left = [item for item in self._containers.values() if item.sandbox_uid == uid]
        for container in left:
            send_signal(container.launched.pidfd, signal.SIGKILL)
        if sandbox.pause:
            send_signal(sandbox.pause.pidfd, signal.SIGKILL)
            await self._zygote.ended(sandbox.pause.pid)
        for container in left:
            await container.finished.wait()
        if sandbox.cluster_processes:
            kill_members(sandbox.namespaces["uts"])
        for key in [key for key in self._ended if key[0] == uid]:
            del self._ended[key]
        if helper := self._helpers.pop(uid, None):
            helper.close()
        sandbox.close()
        volumes.remove(uid)

    # -- containers --------------------------------------------------------------------

    def check_image(self, image: str) -> None:
        """Raise `ImageNotFoundError` for an image that is not in the catalogue."""
        images.find(image)

    async def start_container(self, sandbox_uid: str, spec: ContainerSpec) -> Container:
        """Start a container; returns once its program runs.

        Raises `ImageNotFoundError`, or `ContainerCannotRunError` when the program cannot
        be started.
        """
        image = images.find(spec.image)
        sandbox = self.sandbox(sandbox_uid)
        program = programs.of_container(image, spec, sandbox.hostname)
        given, helper = self._way_in(sandbox)
        if spec.share_processes_with:
            given["target"] = self.container(spec.share_processes_with).launched.pidfd
        elif sandbox.pause:
            given["target"] = sandbox.pause.pidfd
        node_roots = tuple(mount.path for mount in spec.mounts if mount.node_root)
        request = StartContainer(
            hostname=sandbox.hostname,
            root=RootPlan(
                tools=image.tools,
                files=tuple(spec.files.items()),
                binds=(
                    *(volumes.bind(sandbox_uid, one) for one in spec.mounts if not one.node_root),
                    *(_node_files(sandbox.hostname) if node_roots else ()),
                ),
                node_roots=node_roots,
                cluster_processes=sandbox.cluster_processes,
                writable_proc_sys=spec.privileged,
            ),
            program=program,
            processes=sandbox.processes,
        )
        ours = _Pipes.none() if spec.tty else _Pipes.make(given, stdin=spec.stdin)
        launched = await self._launch(request, given, ours, "create", helper=helper)
        output = Output(self._open_log(spec.log_path), keep=spec.stdin or spec.tty)
        container = Container(
            id=secrets.token_hex(32),
            sandbox_uid=sandbox_uid,
            spec=spec,
            launched=launched,
            ended=self._zygote.ended(launched.pid),
            output=output,
            environment=program.environment,
            capabilities=program.capabilities,
            stdin=ours.stdin,
        )
        if spec.tty:
            output.add("stdout", os.dup(launched.terminal))
        else:
            output.add("stdout", ours.stdout)
            output.add("stderr", ours.stderr)
        self._containers[container.id] = container
        self._in_background(self._report(container))
        return container

    def container(self, container_id: str) -> Container:
        """Return a running container; raises `ClusterError` when there is none."""
        try:
            return self._containers[container_id]
        except KeyError:
            raise ClusterError(f"container {container_id[:12]} is not running") from None

    def live_log(self, log_path: str) -> LogFile | None:
        """Return the log that is being written at this path, for `logs.read_log`."""
        return self._logs.get(str(self.log_file(log_path)))

    def log_file(self, log_path: str) -> Path:
        """Return where the log of this `ContainerSpec.log_path` lies."""
        return self._root / log_path

    async def stop_container(self, container_id: str, grace: float) -> None:
        """Send TERM, then KILL when `grace` seconds have passed; returns when it ended."""
        container = self._containers.get(container_id)
        if container is None:
            return
        if grace > 0:
            send_signal(container.launched.pidfd, signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(container.finished.wait(), grace)
        if not container.finished.is_set():
            send_signal(container.launched.pidfd, signal.SIGKILL)
            await container.finished.wait()

    async def update_volume(self, sandbox_uid: str, volume: str, files: dict[str, bytes]) -> None:
        """Change the files of a volume; the pod's processes see all of it or nothing."""
        self.sandbox(sandbox_uid)
        volumes.update(sandbox_uid, volume, files)

    # -- further processes -------------------------------------------------------------

    async def exec(self, container_id: str, spec: ExecSpec) -> ChildProcess:
        """Run one more process in a container; raises `ContainerCannotRunError`."""
        container = self.container(container_id)
        program = programs.of_exec(container, spec)
        given = {"target": container.launched.pidfd}
        ours = _Pipes.none() if spec.tty else _Pipes.make(given, stdin=spec.stdin)
        sandbox = self.sandbox(container.sandbox_uid)
        request = JoinContainer(
            program=program, processes=sandbox.processes, nested=sandbox.is_nested
        )
        launched = await self._launch(request, given, ours, "exec")
        return await self._child(launched, ours, stdin=spec.stdin)

    async def attach(self, container_id: str) -> Attachment:
        """Attach to the first process of a container.

        To an interactive one also after its end, as long as its sandbox stands: whoever
        comes too late to a quick command gets its output all the same.
        """
        return await containers.attach(self._attachable(container_id))

    def log_seen(self, container_id: str) -> None:
        """Learn that somebody has read all of a container's log: see `containers.Output`."""
        self._attachable(container_id).output.forget_lines()

    def _attachable(self, container_id: str) -> Container:
        ended = [item for item in self._ended.values() if item.id == container_id]
        return ended[0] if ended else self.container(container_id)

    async def run_in_netns(
        self, netns: int, argv: list[str], *, hostname: str, deadline: float
    ) -> Completed:
        """Run a command with the machine's tools in a node's network namespace.

        It has the rights to change routes and rules there. After `deadline` seconds it is
        killed: code 124, with the output so far.
        """
        program = Program(
            argv=tuple(argv),
            environment=programs.environment(hostname),
            capabilities=capabilities.mask(capabilities.NODE),
        )
        given = {"network": netns}
        ours = _Pipes.make(given, stdin=False)
        request = StartContainer(
            hostname=hostname,
            root=RootPlan(binds=_node_files(hostname), writable_proc_sys=True),
            program=program,
            processes=0,
        )
        launched = await self._launch(request, given, ours, "exec")
        process = await self._child(launched, ours, stdin=False)
        assert process.stdout is not None
        assert process.stderr is not None
        reading = asyncio.gather(process.stdout.read(), process.stderr.read())
        try:
            code = await asyncio.wait_for(process.wait(), deadline)
        except TimeoutError:
            process.kill()
            await process.wait()
            code = 124
        stdout, stderr = await reading
        return Completed(code, stdout, stderr)

    async def start_app(
        self, app: str, argv: list[str], *, netns: dict[str, int], files: dict[str, bytes]
    ) -> Container:
        """Run an app of the cluster's own, such as the world outside, with full rights.

        It finds the network namespaces as ``K8SLAB_FD_<NAME>`` and may enter them. Its end is
        told by `Container.finished`, and by `on_exit` with the app's name as container id.
        """
        program = Program(
            app=app,
            argv=(app, *argv),
            environment=programs.environment(app),
            capabilities=capabilities.mask(capabilities.NAMES),
            inherited=tuple(netns),
        )
        given = dict(netns)
        ours = _Pipes.make(given, stdin=False)
        request = StartContainer(
            hostname="world",
            root=RootPlan(tools=False, files=tuple(files.items())),
            program=program,
            processes=0,
        )
        launched = await self._launch(request, given, ours, "create")
        output = Output(self._open_log(f"logs/{app.partition(':')[0]}.log"))
        output.add("stdout", ours.stdout)
        output.add("stderr", ours.stderr)
        container = Container(
            id=app,
            sandbox_uid="",
            spec=ContainerSpec(name=app, image=""),
            launched=launched,
            ended=self._zygote.ended(launched.pid),
            output=output,
            environment=program.environment,
            capabilities=program.capabilities,
        )
        self._containers[app] = container
        self._in_background(self._report(container))
        return container

    # -- inside ------------------------------------------------------------------------

    def sandbox(self, uid: str) -> Sandbox:
        """Return the sandbox of a pod; raises `ClusterError` when there is none."""
        try:
            return self._sandboxes[uid]
        except KeyError:
            raise ClusterError(f"there is no sandbox {uid}") from None

    async def _launch(
        self,
        request: StartContainer | JoinContainer,
        given: dict[str, int],
        ours: _Pipes,
        action: str,
        *,
        helper: socket.socket | None = None,
    ) -> Launched:
        """Launch, close the child's ends of the pipes, and word a failure as runc does."""
        try:
            return await self._zygote.launch(request, given, helper=helper)
        except ContainerCannotRunError as error:
            ours.close()
            verb = "runc create" if action == "create" else "exec"
            raise ContainerCannotRunError(
                f"OCI runtime {action} failed: {verb} failed: unable to start container "
                f"process: {error.message}"
            ) from error
        finally:
            for name in ("stdin", "stdout", "stderr"):
                if name in given:
                    os.close(given[name])

    async def _child(self, launched: Launched, ours: _Pipes, *, stdin: bool) -> ChildProcess:
        if launched.terminal >= 0:
            return ChildProcess(
                launched,
                self._zygote.ended(launched.pid),
                stdin=await streams.open_writer(os.dup(launched.terminal)) if stdin else None,
                stdout=streams.Reader(os.dup(launched.terminal)),
                stderr=None,
            )
        return ChildProcess(
            launched,
            self._zygote.ended(launched.pid),
            stdin=await streams.open_writer(ours.stdin) if stdin else None,
            stdout=streams.Reader(ours.stdout),
            stderr=streams.Reader(ours.stderr),
        )

    def _open_log(self, log_path: str) -> LogFile | None:
        if not log_path:
            return None
        path = self.log_file(log_path)
        log = self._logs[str(path)] = LogFile(path)
        return log

    async def _report(self, container: Container) -> None:
        """Wait for a container's end, complete its output, and tell the kubelet."""
        code = await container.ended
        await container.output.finish()
        container.close()
        self._containers.pop(container.id, None)
        if container.output.log:
            self._logs.pop(str(container.output.log.path), None)
        if container.interactive and container.sandbox_uid in self._sandboxes:
            self._ended[container.sandbox_uid, container.spec.name] = container
        container.finished.set()
        self.on_exit(
            ContainerExit(
                container_id=container.id,
                code=code,
                signal=code - 128 if code > 128 else 0,
                reason="Error" if code else "Completed",
                finished_at=clock.now(),
            )
        )

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass(slots=True)
class _Pipes:
    """The daemon's ends of a process' standard streams; -1 for none."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1

    @classmethod
    def none(cls) -> _Pipes:
        """Return no pipes: the process gets a terminal."""
        return cls()

    @classmethod
    def make(cls, given: dict[str, int], *, stdin: bool) -> _Pipes:
        """Make pipes and add the child's ends to `given`."""
        pipes = cls()
        if stdin:
            given["stdin"], pipes.stdin = os.pipe2(os.O_CLOEXEC)
        pipes.stdout, given["stdout"] = os.pipe2(os.O_CLOEXEC)
        pipes.stderr, given["stderr"] = os.pipe2(os.O_CLOEXEC)
        return pipes

    def close(self) -> None:
        """Close all of them."""
        for descriptor in (self.stdin, self.stdout, self.stderr):
            if descriptor >= 0:
                os.close(descriptor)


def _node_files(node: str) -> tuple[Bind, ...]:
    """Return what a root shows of a node's own files; nothing for what is no node."""
    source = rootfs.NODES / node / CNI_DIRECTORY
    return (Bind(str(source), f"/{CNI_DIRECTORY}"),) if source.is_dir() else ()
