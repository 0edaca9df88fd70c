"""How a pod's process comes to be, in a child that the zygote forked for one request.

    zygote -- fork --> helper              makes or joins the pod's namespaces, unshares a
                          |                PID namespace, builds the container's root
                          `-- fork --> the program      PID 1 there: /proc, rights, exec

The helper that made a pod's namespaces waits in them for the pod's first container; for
each further one a new helper joins them. It ends soon and leaves the program to the zygote,
its subreaper. Two forks are needed since a process that unshares a PID namespace does not
enter it, its children do (pid_namespaces(7)). An app runs in the forked process itself, with
no exec and no import; a program is exec'd. What fails before that is said on the ``status``
socket.

Whatever a child writes to becomes its own, and in Python calling a function is writing (it
counts references). So what runs here is plain: no classes of others, no text files.
"""

from __future__ import annotations

# The modules `signal` and `socket` wrap these in Python: 0.14 MB more of each pod's own.
import _socket
import array
import errno
import fcntl
import importlib
import os
import random
import resource
import stat
import struct
import sys
import termios
import traceback
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIGCHLD,
    SIGINT,
    SIGPIPE,
    SIGTERM,
    SIGXFSZ,
    set_wakeup_fd,
    signal,
)
from typing import NoReturn

from k8slab.embedded import linux
from k8slab.embedded.runtime import capabilities, rootfs
from k8slab.embedded.runtime.messages import (
    SANDBOX_NAMESPACES,
    JoinContainer,
    MakeSandbox,
    Program,
    StartContainer,
    read_request,
    receive_request,
    send_descriptors,
)
from k8slab.errors import K8slabError

FAILED = 128
"""The exit code of a process that could not be started (kubelet: ``StartError`` has 128)."""

FIRST_TO_GO = "1000"
"""Let the kernel end a pod before anything else when the machine's memory is used up: there is
no cgroup to bound it by. It is what the kubelet gives a pod without requests
(``pkg/kubelet/qos``)."""

_SANDBOX_KINDS = {
    "user": linux.CLONE_NEWUSER,
    "network": linux.CLONE_NEWNET,
    "ipc": linux.CLONE_NEWIPC,
    "uts": linux.CLONE_NEWUTS,
}
_PROC_NAMES = {"user": "user", "network": "net", "ipc": "ipc", "uts": "uts"}
_SIOCSIFFLAGS, _LO_UP = 0x8914, struct.pack("16sh14x", b"lo", 1)  # IFF_UP; netdevice(7)
_TIOCSPTLCK, _TIOCGPTN = 0x40045431, 0x80045430  # ioctl_tty(2); not in termios before 3.13


class StartError(K8slabError):
    """A program cannot be started; worded as runc words it."""


def serve(descriptors: dict[str, int]) -> NoReturn:
    """Serve one request in this forked child, and end."""
    set_wakeup_fd(-1)
    signal(SIGCHLD, SIG_DFL)
    status = _socket.socket(fileno=descriptors.pop("status"))
    code = FAILED
    try:
        _write("/proc/self/oom_score_adj", FIRST_TO_GO)
        request = read_request(descriptors.pop("request"))
        if isinstance(request, JoinContainer):
            code = _join(request, descriptors, status)
        elif isinstance(request, StartContainer):
            _enter(descriptors)
            code = _start(request, descriptors, status)
        else:
            _make_sandbox(request, descriptors, status)
            code = _start_first(status)
    except (K8slabError, OSError) as error:
        _say(status, "error", str(error))
    except BaseException:  # noqa: BLE001 - the end of a process: told, then it ends
        _say(status, "error", traceback.format_exc())
    finally:
        os._exit(code)


def _say(status: _socket.socket, tag: str, text: str) -> None:
    status.send(f"{tag} {text}".encode()[:60_000])


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def _fork(processes: int) -> int:
    try:
        return linux.fork()
    except BlockingIOError:  # EAGAIN: it met RLIMIT_NPROC (fork(2))
        why = f"the pod has as many processes as it may have: {processes}"
        raise StartError(why) from None


# -- the pod's namespaces ------------------------------------------------------------------


def _make_sandbox(request: MakeSandbox, given: dict[str, int], status: _socket.socket) -> None:
    on_node = "network" in given
    if on_node:
        linux.setns(given["network"], linux.CLONE_NEWNET)
        os.close(given["network"])
        linux.unshare(linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
    else:
        linux.unshare(linux.CLONE_NEWUSER)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # else /proc/self belongs to the host's root
        _say(status, "map", str(os.getpid()))
        status.recv(16)  # the daemon has written the maps: it has the rights, this child has not
        linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
        _prepare_network(request.sysctls)
    _socket.sethostname(request.hostname)
    names = [_PROC_NAMES[name] for name in SANDBOX_NAMESPACES[1 if on_node else 0 :]]
    numbers = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in names]
    send_descriptors(status, b"namespaces", numbers)
    for number in numbers:
        os.close(number)


def _start_first(status: _socket.socket) -> int:
    """Wait in the namespaces that this child made for the pod's first container."""
    given = receive_request(status)
    if given is None:  # the pod has gone before that
        return 0
    request = read_request(given.pop("request"))
    assert isinstance(request, StartContainer)
    return _start(request, given, status)


def _prepare_network(sysctls: tuple[tuple[str, str], ...]) -> None:
    control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    fcntl.ioctl(control.fileno(), _SIOCSIFFLAGS, _LO_UP)
    control.close()
    # containerd's defaults (enable_unprivileged_ports, enable_unprivileged_icmp).
    _write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
    _write("/proc/sys/net/ipv4/ping_group_range", f"0 {linux.ids() - 1}")
    for name, value in sysctls:
        _write(f"/proc/sys/{name.replace('.', '/')}", value)


# -- containers ----------------------------------------------------------------------------


def _enter(given: dict[str, int]) -> None:
    """Enter the namespaces that were given, with a host name of its own in any case."""
    for name in ("network", "ipc", "uts", "user"):  # user last: the others need our rights
        if name in given:
            linux.setns(given[name], _SANDBOX_KINDS[name])
    if "uts" not in given:
        linux.unshare(linux.CLONE_NEWUTS)


def _start(request: StartContainer, given: dict[str, int], status: _socket.socket) -> int:
    _socket.sethostname(request.hostname)
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    if "target" in given:
        linux.setns(given["target"], linux.CLONE_NEWPID)
    elif not request.root.cluster_processes:
        linux.unshare(linux.CLONE_NEWPID)
    built, building = os.pipe()
    if pid := _fork(request.processes):
        os.close(built)
        _hand_over(pid, status)
        # Both are in the new mount namespace, and pivot_root(2) moves both.
        rootfs.build(request.root, request.hostname)
        os.write(building, b"1")
        return 0
    os.close(building)
    if not os.read(built, 1):
        return FAILED  # the helper has told why
    os.close(built)
    rootfs.finish(request.root)
    return _become(request.program, request.processes, given, status)


def _hand_over(pid: int, status: _socket.socket) -> int:
    """Tell the daemon who the program is; its pid cannot be reused before this child ends."""
    send_descriptors(status, b"pid %d" % pid, [os.pidfd_open(pid)])
    return 0


def _join(request: JoinContainer, given: dict[str, int], status: _socket.socket) -> int:
    kinds = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWUTS
    kinds |= linux.CLONE_NEWNET | linux.CLONE_NEWIPC
    if request.nested:
        kinds |= linux.CLONE_NEWUSER
    linux.setns(given.pop("target"), kinds)
    if pid := _fork(request.processes):
        return _hand_over(pid, status)
    return _become(request.program, request.processes, given, status)


def _become(program: Program, processes: int, given: dict[str, int], status: _socket.socket) -> int:
    """Turn this process into `program`; returns an app's exit code."""
    os.setsid()
    _change_directory(program.working_directory)
    if program.tty:
        _open_terminal(status)
    else:
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            source = given[name] if name in given else os.open("/dev/null", os.O_RDWR)
            os.dup2(source, number)
    if processes:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o022)
    _take_identity(program)
    environment = dict(program.environment)
    kept = {name: given[name] for name in program.inherited}
    for name, number in kept.items():
        environment[f"K8SLAB_FD_{name.upper()}"] = str(number)
        os.set_inheritable(number, True)
    if program.app:
        linux.close_all_but({0, 1, 2, *kept.values(), status.fileno()})
        return _run_app(program, environment, status)
    return _exec(program, environment)


def _change_directory(directory: str) -> None:
    if directory:
        os.makedirs(directory, exist_ok=True)
    os.chdir(directory or "/")


def _open_terminal(status: _socket.socket) -> None:
    """Make a terminal of this container's own /dev/pts and hand its master to the daemon."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, array.array("i", [0]))  # unlock (ioctl_tty(2))
    number = array.array("i", [0])
    fcntl.ioctl(master, _TIOCGPTN, number)
    slave = os.open(f"/dev/pts/{number[0]}", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for standard in range(3):
        os.dup2(slave, standard)
    send_descriptors(status, b"terminal", [master])
    os.close(master)


def _take_identity(program: Program) -> None:
    """Give up every right that the container does not have."""
    capabilities.limit(program.capabilities)
    if program.user and program.user != os.getuid():
        if linux.has_one_id():
            _rename_id(program.user)
            capabilities.hold(0)
        else:
            for number in range(3):
                if stat.S_ISFIFO(os.fstat(number).st_mode):  # so that /dev/stdout can be opened
                    os.fchown(number, program.user, -1)
            os.setgroups([])
            os.setresuid(program.user, program.user, program.user)
    else:
        capabilities.hold(0 if program.user else program.capabilities)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)  # so that exec and probes may join (ptrace(2))


def _rename_id(user: int) -> None:
    """Enter one more user namespace, where our only id has the number that was asked for."""
    linux.unshare(linux.CLONE_NEWUSER)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} 0 1"), ("gid_map", "0 0 1")):
        _write(f"/proc/self/{name}", text)


def _run_app(program: Program, environment: dict[str, str], status: _socket.socket) -> int:
    module, _, function = program.app.partition(":")
    try:
        main = getattr(sys.modules.get(module) or importlib.import_module(module), function)
    except ImportError as error:
        raise StartError(f"the app {program.app} cannot be imported: {error}") from error
    signal(SIGINT, SIG_DFL)
    signal(SIGTERM, SIG_DFL)
    sys.argv = list(program.argv)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    linux.set_process_name(os.path.basename(program.argv[0]))
    linux.set_command_line(program.argv)
    status.close()
    random.seed()  # else every app would draw what the zygote would have drawn
    try:
        code = int(main(list(program.argv[1:]), environment))
    except SystemExit as request:
        code = request.code if isinstance(request.code, int) else int(bool(request.code))
    except BaseException:  # noqa: BLE001 - what the interpreter itself does at the end
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    return code


def _exec(program: Program, environment: dict[str, str]) -> NoReturn:
    path = _find(program.argv[0], environment.get("PATH", ""))
    for number in (SIGPIPE, SIGXFSZ, SIGINT):
        signal(number, SIG_DFL)  # Python ignores the first two (signal(7))
    try:
        os.execve(path, program.argv, environment)  # noqa: S606 - no shell is the point
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise StartError(f'exec: "{program.argv[0]}": {reason}') from error


def _find(name: str, path: str) -> str:
    """Find a program as Go's ``exec.LookPath`` does, with its words when there is none."""
    if "/" in name:
        try:
            mode = os.stat(name).st_mode
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise StartError(f'exec: "{name}": stat {name}: {reason}') from error
        if os.path.isdir(name):
            raise StartError(f'exec: "{name}": is a directory')
        if not mode & 0o111:
            raise StartError(f'exec: "{name}": {os.strerror(errno.EACCES).lower()}')
        return name
    for directory in path.split(":"):
        candidate = os.path.join(directory or ".", name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise StartError(f'exec: "{name}": executable file not found in $PATH')
