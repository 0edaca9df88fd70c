"""Run a program of somebody else: its own namespaces, one address to talk to, no home.

The program gets what the cluster's processes get (`birth`, `root`): user, mount, network, PID,
IPC and UTS namespaces of its own, a root of read-only programs and libraries, and one directory
of its own at `INSIDE`. Started by root it runs with ids that own nothing. Beyond that

- the only link of its network namespace is `lo`, and on it one port leads out: a listening
  socket is made in there and handed to the process outside, which carries the bytes of each
  connection to the same port of the host's loopback. A socket keeps the network namespace in
  which it was made (network_namespaces(7)), so nothing else has to be open;
- it has no capability, cannot gain one, and its files, processes and time are bounded;
- when the process outside ends, in whatever way, PID 1 in there ends, and everything with it;
  and the process outside ends with its caller (PR_SET_PDEATHSIG: with the thread that called).

Where the kernel gives no such namespaces there is no weaker form: it is an error.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from k8slab.embedded import linux
from k8slab.embedded.config import INSIDE, ClusterPaths
from k8slab.embedded.supervisor import birth, init
from k8slab.embedded.supervisor.identity import choose_identifiers
from k8slab.embedded.supervisor.main import prepare_inside
from k8slab.errors import ClusterError, EnvironmentLacksError, K8slabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OUTPUT = 1 << 20
"""Bytes of the program's output that are kept: the last ones."""
PROCESSES, FILE_SIZE, OPEN_FILES = 256, 64 << 20, 1024
_SIOCSIFFLAGS, _LO_UP = 0x8914, struct.pack("16sh14x", b"lo", 1)  # IFF_UP; netdevice(7)
_CHUNK = 65_536
_UNABLE = 3
"""Exit code when the confinement could not be made; our own errors' code for the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confined:
    """How a confined program ended."""

    code: int
    """Its exit code; 128 and the number of the signal that ended it; -1 when time was up."""
    output: str


def run(
    argv: Sequence[str],
    inside: Path,
    *,
    port: int,
    environment: Mapping[str, str],
    deadline: float,
) -> Confined:
    """Run a program with nothing but the directory `inside` and one loopback port.

    `argv` begins with an absolute path; `inside` is at `INSIDE` for it and belongs to it
    afterwards. Raises `EnvironmentLacksError` where this machine cannot confine.
    """
    with tempfile.TemporaryDirectory(prefix="confined-", dir=inside.parent) as directory:
        own = Path(directory) / "inside"
        inside.rename(own)
        order = {
            "root": directory,
            "argv": [*argv],
            "port": port,
            "environment": {**environment},
            "caller": os.getpid(),
        }
        try:
            return _spawn(order, deadline)
        finally:
            own.rename(inside)


def _spawn(order: dict[str, object], deadline: float) -> Confined:
    # With site, unlike our other processes: the program may be this Python with its packages,
    # so that all of a virtual environment has to be there (`root.python_directories`).
    command = [sys.executable, "-P", "-c", _MAIN, json.dumps(order)]
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        ) as outside,
    ):
        try:
            code = outside.wait(deadline)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            outside.kill()  # PID 1 inside sees its pipe close, and everything ends
        outside.wait()
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - OUTPUT))
        text = output.read().decode(errors="replace")
    if code == _UNABLE and text.startswith(_LACKS):
        raise EnvironmentLacksError(
            f"a program cannot be confined on this machine: {text.removeprefix(_LACKS).strip()}",
            hint="k8slab doctor says what is missing; nothing was run",
        )
    return Confined(code=code, output=text)


_LACKS = "cannot confine: "
_MAIN = f"import sys; from {__name__} import main; sys.exit(main(sys.argv[1]))"


# The process outside.


def main(text: str) -> int:
    """Be the process outside, as the JSON order says; returns the program's exit code."""
    order = json.loads(text)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != order["caller"]:  # it was killed before we had asked to be told
        return _UNABLE
    os.chdir("/")
    os.umask(0o077)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    paths = ClusterPaths(Path(order["root"]))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    alive_read, alive_write = os.pipe2(os.O_CLOEXEC)
    try:
        identifiers = choose_identifiers()
        prepare_inside(paths.inside, identifiers)
        keep = {theirs.fileno(), alive_read}
        first = birth.give_birth(
            paths, identifiers, keep, lambda: _first(order, theirs, alive_read)
        )
        theirs.close()
        os.close(alive_read)
        listener = _received(ours)
    except (K8slabError, OSError) as error:
        sys.stderr.write(f"{_LACKS}{error}\n")
        return _UNABLE
    threading.Thread(target=_relay, args=(listener, order["port"]), daemon=True).start()
    _, status = os.waitpid(first, 0)
    os.close(alive_write)
    return os.waitstatus_to_exitcode(status)


def _received(channel: socket.socket) -> socket.socket:
    """Return the listening socket that was made inside; `ClusterError` says why there is none."""
    told, descriptors, _, _ = socket.recv_fds(channel, 4096, 1)
    if not descriptors:
        raise ClusterError(told.decode(errors="replace") or "its first process died")
    return socket.socket(fileno=descriptors[0])


def _relay(listener: socket.socket, port: int) -> None:
    """Carry each connection that is made in there to the same port of the host's loopback."""
    while True:
        inner, _ = listener.accept()
        try:
            outer = socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            inner.close()  # the cluster has gone: the client is told by its own connection
            continue
        outer.settimeout(None)
        for source, target in ((inner, outer), (outer, inner)):
            threading.Thread(target=_carry, args=(source, target), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()  # one side is gone: so is the other


# The first process inside, and the program.


def _first(order: dict, channel: socket.socket, alive: int) -> NoReturn:
    """Be PID 1: make the network, start the program, end when it or the outside ends."""
    code = 1
    try:
        init.prepare()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control.fileno(), _SIOCSIFFLAGS, _LO_UP)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind(("127.0.0.1", order["port"]))
            listener.listen(128)
            socket.send_fds(channel, [b"made"], [listener.fileno()])
        channel.close()
        code = _watch(_start(order, alive), alive)
    except (K8slabError, OSError) as error:
        channel.send(str(error).encode())
    finally:
        os._exit(code)


def _start(order: dict, alive: int) -> int:
    """Fork the program; returns its pid."""
    if pid := os.fork():
        return pid
    try:
        os.close(alive)
        os.chdir(INSIDE)
        _bound()
        environment = {**os.environ, **order["environment"]}
        os.execve(order["argv"][0], order["argv"], environment)  # noqa: S606  it is what is asked
    except (K8slabError, OSError) as error:
        sys.stderr.write(f"{order['argv'][0]}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(127)


def _bound() -> None:
    """Take away what a program could gain, and bound what it may take."""
    for kind, most in (
        (resource.RLIMIT_NPROC, PROCESSES),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    for number in range(last + 1):
        linux.prctl(linux.PR_CAPBSET_DROP, number)
    linux.set_capabilities(0)


def _watch(program: int, alive: int) -> int:
    """Reap until the program ends; the end of the pipe is the end of everything."""
    descriptor = os.pidfd_open(program)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(alive, select.POLLHUP)
    ready = [number for number, _ in poll.poll()]
    if descriptor not in ready:
        return 128 + signal.SIGKILL
    _, status = os.waitpid(program, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
