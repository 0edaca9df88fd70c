"""Processes that the zygote started, as the daemon sees them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass

from k8slab.embedded.runtime import streams
from k8slab.embedded.runtime.messages import EXIT, Request, receive, send_request
from k8slab.embedded.runtime.spec import ContainerCannotRunError
from k8slab.errors import ClusterError, K8slabError

KILL_ROUNDS = 100
"""The most times that the processes of a pod are counted and killed."""


@dataclass(slots=True)
class Launched:
    """A process that runs: `pidfd` and `terminal` are descriptors, -1 for none.

    Or what a pod is made of: its namespaces, and the helper that waits in them.
    """

    pid: int = 0
    pidfd: int = -1
    terminal: int = -1
    namespaces: tuple[int, ...] = ()
    helper: socket.socket | None = None

    def close(self) -> None:
        """Close every descriptor."""
        if self.helper:
            self.helper.close()
        for descriptor in (self.pidfd, self.terminal, *self.namespaces):
            if descriptor >= 0:
                os.close(descriptor)


class Zygote:
    """The daemon's end of the zygote's socket: requests out, exits in."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._early: dict[int, int] = {}
        self._sending = asyncio.Lock()
        self._identifiers = _map_size("uid"), _map_size("gid")

    def start(self) -> None:
        """Begin to read the zygote's reports."""
        self._channel.setblocking(False)
        asyncio.get_running_loop().add_reader(self._channel, self._read_exits)

    def close(self) -> None:
        """Stop reading; the zygote ends when its socket is closed."""
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()

    async def launch(
        self, request: Request, descriptors: dict[str, int], *, helper: socket.socket | None = None
    ) -> Launched:
        """Have `request` served; raises `ContainerCannotRunError` with what went wrong.

        A new process serves it, or the `helper` that a `MakeSandbox` left, which is closed then.
        What is launched for a caller that is cancelled meanwhile (an exec probe whose time is
        up) is killed: nobody else knows of it.
        """
        task = asyncio.ensure_future(self._launch(request, descriptors, helper))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._discard)
            await asyncio.wait({task})  # `descriptors` must stay open until they are sent
            raise

    async def _launch(
        self, request: Request, descriptors: dict[str, int], helper: socket.socket | None
    ) -> Launched:
        status = helper or await self._ask(request, descriptors)
        launched = Launched()
        try:
            if helper:
                send_request(helper, request, descriptors)
            await self._follow(status, launched)
        except BaseException:
            launched.close()
            raise
        finally:
            if launched.helper is None:
                status.close()
        if not launched.pid and launched.helper is None:
            raise ContainerCannotRunError("the process ended before it could start")
        return launched

    async def _ask(self, request: Request, descriptors: dict[str, int]) -> socket.socket:
        """Ask the zygote; return the socket on which its child answers."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            await self._send(request, {"status": theirs.fileno(), **descriptors})
        return ours

    def _discard(self, task: asyncio.Task[Launched]) -> None:
        if task.cancelled() or task.exception():
            return
        launched = task.result()
        self._forget(launched.pid)
        if launched.pid:
            send_signal(launched.pidfd, signal.SIGKILL)
        launched.close()

    def ended(self, pid: int) -> asyncio.Future[int]:
        """Return the future exit status of a launched process: the code, or 128 + signal."""
        future = self._exits.get(pid)
        if future is None:
            future = self._exits[pid] = asyncio.get_running_loop().create_future()
            if pid in self._early:
                self._settle(pid, self._early.pop(pid))
        return future

    async def _send(self, request: Request, descriptors: dict[str, int]) -> None:
        # One at a time: an event loop tells only one of several who wait for a full socket.
        async with self._sending:
            while True:
                try:
                    send_request(self._channel, request, descriptors)
                except BlockingIOError:
                    await _writable(self._channel)
                else:
                    return

    async def _follow(self, status: socket.socket, launched: Launched) -> None:
        """Take what the child says until it is done; one reader for all of it."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def read() -> None:
            try:
                if self._take(status, launched) and not over.done():
                    over.set_result(None)
            except (K8slabError, OSError) as error:
                if not over.done():
                    over.set_exception(error)

        # By number: asyncio looks up a socket by its repr, which asks the kernel for its names.
        loop.add_reader(status.fileno(), read)
        try:
            await over
        finally:
            loop.remove_reader(status.fileno())

    def _take(self, status: socket.socket, launched: Launched) -> bool:
        """Take one message; return whether it was the last."""
        try:
            data, numbers = receive(status)
        except ConnectionResetError:
            return True
        tag, _, text = data.decode().partition(" ")
        if tag == "map":
            self._write_maps(int(text))
            status.send(b"mapped")
        elif tag == "pid":
            launched.pid, launched.pidfd = int(text), numbers[0]
        elif tag == "terminal":
            launched.terminal = numbers[0]
        elif tag == "namespaces":
            launched.namespaces, launched.helper = tuple(numbers), status
            return True
        elif tag == "error":
            self._forget(launched.pid)
            raise ContainerCannotRunError(text)
        return not data

    def _write_maps(self, pid: int) -> None:
        """Map every id of the cluster's user namespace into the pod's own (user_namespaces(7))."""
        users, groups = self._identifiers
        if groups == 1:
            _write(f"/proc/{pid}/setgroups", "deny")
        _write(f"/proc/{pid}/uid_map", f"0 0 {users}")
        _write(f"/proc/{pid}/gid_map", f"0 0 {groups}")

    def _read_exits(self) -> None:
        while True:
            try:
                data = self._channel.recv(EXIT.size)
            except BlockingIOError:
                return
            if not data:
                asyncio.get_running_loop().remove_reader(self._channel)
                raise ClusterError("the zygote ended, and every pod with it")
            pid, status = EXIT.unpack(data)
            code = os.waitstatus_to_exitcode(status)
            self._settle(pid, code if code >= 0 else 128 - code)

    def _settle(self, pid: int, code: int) -> None:
        future = self._exits.pop(pid, None)
        if future is None:
            self._early[pid] = code
        elif not future.done():
            future.set_result(code)

    def _forget(self, pid: int) -> None:
        """Have nobody wait for a process."""
        if pid:
            self.ended(pid)


class ChildProcess:
    """An exec or attach: `Process` of the API server's backends."""

    def __init__(
        self,
        launched: Launched,
        ended: asyncio.Future[int],
        *,
        stdin: asyncio.StreamWriter | None,
        stdout: streams.Reader | None,
        stderr: streams.Reader | None,
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._launched = launched
        self._ended = ended
        ended.add_done_callback(lambda _: launched.close())

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal its new size."""
        if self._launched.terminal >= 0 and not self._ended.done():
            streams.resize_terminal(self._launched.terminal, columns, rows)

    def kill(self) -> None:
        """End the process at once, and let go of what it says.

        Processes that it began may run on, as on a real node; they would keep our ends of the
        pipes open for as long as the container lives.
        """
        if not self._ended.done():
            send_signal(self._launched.pidfd, signal.SIGKILL)
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()

    async def wait(self) -> int:
        """Return the exit code, or 128 + the signal that ended it."""
        return await asyncio.shield(self._ended)


def send_signal(pidfd: int, number: signal.Signals) -> None:
    """Signal a process; one that has ended already is no error."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def kill_members(uts: int) -> None:
    """Kill every process whose UTS namespace is the one behind this descriptor.

    A pod in the cluster's PID namespace (hostPID) has no PID 1 that takes its children along.
    """
    namespace = os.fstat(uts).st_ino
    for _ in range(KILL_ROUNDS):  # again, since what is being killed may have forked
        members = [
            pid
            for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))
            if _uts_of(pid) == namespace
        ]
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not members:
            return


def _uts_of(pid: int) -> int:
    """Return the inode of a process' UTS namespace; 0 when it has ended or may not be asked."""
    try:
        return os.stat(f"/proc/{pid}/ns/uts").st_ino
    except OSError:
        return 0


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.add_writer(sock, lambda: None if future.done() else future.set_result(None))
    try:
        await future
    finally:
        loop.remove_writer(sock)


def _map_size(kind: str) -> int:
    with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
        return sum(int(line.split()[2]) for line in file)


def _write(path: str, text: str) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode())
