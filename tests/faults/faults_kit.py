"""What the tests of faults share: the command line, and a cluster's processes wherever they are."""

import fcntl
import os
import select
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from k8slab.embedded import supervisor
from k8slab.embedded.config import ClusterPaths

COMMAND = [sys.executable, "-c", "from k8slab.cli.main import main; main()"]
AS_BY_HAND = ["env", "--default-signal=HUP,INT,QUIT"]
DEADLINE = 120.0
"""Seconds, generous: the machine may be busy."""

_NS_GET_PARENT = 0xB702  # ioctl_ns(2)
LAB = "/apis/lab.k8slab.dev/v1"


def k8slab(*words, **more):
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=120, check=False, **more
    )


def start_k8slab(*words, **more):
    """Start the command; the caller ends it.

    By env(1) as a shell in a terminal does: who runs the tests with nohup or in the background
    ignores signals, and what they start would too.
    """
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
    return subprocess.Popen([*AS_BY_HAND, *COMMAND, *words], **more)


class Family:
    """The processes of a running cluster: its supervisor, and all in its user namespace.

    The namespace is held open until `close`, so that its number is not given to another one.
    """

    def __init__(self, where):
        status = supervisor.status(where)
        self.pids = status
        self._namespace = os.open(f"/proc/{status.init_pid}/ns/user", os.O_RDONLY)
        self._identity = _identity(self._namespace)
        self._supervisor = os.pidfd_open(status.supervisor_pid)

    def members(self):
        """Return the pids that are in the cluster's user namespace or in one below it.

        What has ended and only waits for its parent to ask (a zombie) is not counted.
        """
        numbers = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [int(p.name) for p in numbers if self._has(p) and not _is_zombie(p)]

    def await_end(self, deadline=DEADLINE):
        """Wait until nothing of it runs any more; fails after `deadline` seconds."""
        ends = time.monotonic() + deadline
        assert ended(self._supervisor, deadline), "the supervisor did not end"
        while members := self.members():
            assert time.monotonic() < ends, f"still there: {[_comm(pid) for pid in members]}"
            for pid in members:
                try:
                    pidfd = os.pidfd_open(pid)
                except ProcessLookupError:
                    continue
                left = ended(pidfd, ends - time.monotonic())
                os.close(pidfd)
                assert left, f"process {pid} did not end: {_comm(pid)}"

    def close(self):
        """Let go."""
        os.close(self._namespace)
        os.close(self._supervisor)

    def _has(self, directory):
        try:
            namespace = os.open(directory / "ns" / "user", os.O_RDONLY)
        except OSError:
            return False
        while _identity(namespace) != self._identity:
            try:
                parent = fcntl.ioctl(namespace, _NS_GET_PARENT)
            except OSError:  # there is none that we may see
                return False
            finally:
                os.close(namespace)
            namespace = parent
        os.close(namespace)
        return True


def _is_zombie(directory):
    try:
        line = (directory / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True  # it went meanwhile
    return line.rpartition(")")[2].split()[0] == "Z"


@contextmanager
def family(name="", *, paths=None):
    """Give the processes of a running cluster, for a body that ends it."""
    found = Family(paths or ClusterPaths.of(name))
    try:
        yield found
    finally:
        found.close()


def ended(pidfd, seconds):
    """Wait for the end of a process; tells whether it came."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(seconds, 0.0) * 1000))


def until(condition, deadline=DEADLINE):
    """Look again and again until `condition` holds; fails after `deadline` seconds."""
    ends = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < ends, "it did not happen"
        select.select([], [], [], 0.002)  # nothing tells of it, and the machine has other work
    return value


def belongings(processes):
    """Return what a cluster's processes could share with others: namespaces, files, sockets.

    Devices and files that are only read (programs, libraries) may be everybody's.
    """
    pids = processes.members()
    found = {(kind, link_of(f"/proc/{pid}/ns/{kind}")) for pid in pids for kind in _OWN}
    for pid in (*pids, processes.pids.supervisor_pid):
        for entry in _listed(f"/proc/{pid}/fd"):
            found |= _open_file(pid, entry)
        found |= _shared_memory(pid)
    return {thing for thing in found if thing[1]}


_OWN = ("user", "net", "mnt", "pid", "ipc", "uts")


def _open_file(pid, number):
    path = Path(f"/proc/{pid}/fd/{number}")
    try:
        there = path.stat()
        flags = Path(f"/proc/{pid}/fdinfo/{number}").read_text(encoding="ascii").split()[3]
    except OSError:
        return set()  # closed meanwhile
    mode, link = there.st_mode, link_of(path)
    read_only = int(flags, 8) & os.O_ACCMODE == os.O_RDONLY
    if stat.S_ISCHR(mode) or link.startswith("anon_inode:"):
        return set()
    if read_only and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return set()
    return {(there.st_dev, there.st_ino, link)}


def _shared_memory(pid):
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    parts = [line.split(None, 5) for line in lines]
    return {(p[3], p[4], p[-1]) for p in parts if p[1].startswith("rw") and p[1].endswith("s")}


def _listed(directory):
    try:
        return [entry.name for entry in Path(directory).iterdir()]
    except OSError:
        return []


def link_of(path):
    """Return where a link of /proc leads; nothing when its process has gone."""
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def mentioning(*words):
    """Return the command lines of processes that have one of `words` in it, by pid."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if any(word in line for word in words):
            found[int(file.parent.name)] = line
    return found


def host_state(home):
    """Return what a cluster could leave in the host's namespaces."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return {
        "mounts": {line for line in mounts if str(home) in line},
        "links": {entry.name for entry in Path("/sys/class/net").iterdir()},
        "routes": Path("/proc/net/route").read_text(encoding="ascii"),
        "namespaces": {entry.name for entry in Path("/run/netns").glob("*")},
        "tables": _nft_tables(),
    }


def probe(cluster, namespace, *flows, deadline=10.0):
    """Return the outcomes of (source pod, destination, port) flows."""
    body = {
        "deadlineSeconds": deadline,
        "flows": [
            {"from": {"namespace": namespace, "pod": pod}, "to": to, "port": port}
            for pod, to, port in flows
        ],
    }
    answer = cluster.request("POST", f"{LAB}/probes", body)
    return [result["outcome"] for result in answer["results"]]


def pod(name, *command, image="k8slab/toolbox", **spec):
    """Return a pod that runs `command`."""
    container = {"name": "main", "image": image, **({"command": [*command]} if command else {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


def _identity(descriptor):
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "it is gone"


def _nft_tables():
    if os.geteuid() != 0:
        return ""
    return subprocess.run(
        ["nft", "list", "tables"], capture_output=True, text=True, check=True
    ).stdout
