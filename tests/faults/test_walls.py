"""Nobody gets in: no other user, no pod; and nothing of a pod gets out."""

import os
import socket
import ssl
import stat
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from faults_kit import family, k8slab, link_of, pod

from k8slab import clusters
from k8slab.embedded.config import ClusterPaths

ROOT = Path(__file__).parents[2]

SPACE = "walls"
NOBODY = 65_534


@pytest.fixture(scope="module")
def place(lab):
    lab.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}])
    nodes_own = pod("nodes-own", "sleep", "9999", hostNetwork=True)
    lab.apply(
        [pod("box", "sleep", "9999"), pod("other", "sleep", "7777"), nodes_own], namespace=SPACE
    )
    return lab


@pytest.fixture(scope="module")
def box(place):
    """Return a function that runs a shell script in an ordinary pod, as its root."""
    place.wait("pods", namespace=SPACE)

    def run(script, name="box"):
        done = place.exec(SPACE, name, ["sh", "-c", script])
        return (done.stdout + done.stderr).strip()

    return run


def test_only_the_owner_can_look_into_the_state_directory(lab, module_home):
    for directory in (module_home, *(module_home / "clusters" / "lab").parents):
        if directory.is_relative_to(module_home):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory
    paths = ClusterPaths.of("lab")
    assert stat.S_IMODE(paths.inside.stat().st_mode) == 0o700
    for file in (paths.kubeconfig, *(paths.inside / "pki").iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_state_directory_is_private_whatever_the_umask_and_whatever_was_there(home):
    home.chmod(0o777)
    script = "import os; os.umask(0); from k8slab.cli.main import run; run(['down'])"
    subprocess.run([os.sys.executable, "-c", script], check=True, stderr=subprocess.DEVNULL)
    for directory in (home, home / "clusters", home / "locks"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    # A directory with other uses keeps its mode; what is ours in it is private all the same.
    (home / "something").touch()
    home.chmod(0o755)
    (home / "clusters").chmod(0o755)
    k8slab("down")
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert stat.S_IMODE((home / "clusters").stat().st_mode) == 0o700


def test_a_state_directory_that_cannot_be_used_is_named(home, monkeypatch):
    (home / "file").touch()
    monkeypatch.setenv("K8SLAB_HOME", str(home / "file"))
    done = k8slab("up")
    assert done.returncode == 3
    assert f"the directory {home / 'file'}" in done.stderr
    assert "export K8SLAB_HOME" in done.stderr


def test_everything_listens_on_loopback_alone(lab):
    with family("lab") as processes:
        mine = link_of("/proc/self/ns/net")
        pids = {*processes.members(), processes.pids.supervisor_pid}
        own = [pid for pid in pids if link_of(f"/proc/{pid}/ns/net") == mine]
        assert own == [processes.pids.supervisor_pid]  # nothing else is in the host's network
        listening = subprocess.run(["ss", "-Hlntup"], capture_output=True, text=True, check=True)
        found = [
            line.split()[4]
            for line in listening.stdout.splitlines()
            if any(f"pid={pid}," in line for pid in pids)
        ]
    assert found == [f"127.0.0.1:{lab.rest.port}"]


PATHS = ("/", "/api", "/apis", "/api/v1/pods", "/healthz", "/readyz", "/livez", "/version")
MORE_PATHS = ("/metrics", "/openapi/v2", "/openapi/v3", "/apis/lab.k8slab.dev/v1/cluster", "/x")


def test_the_api_tells_nothing_to_anybody_without_credentials(lab):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    base = f"https://127.0.0.1:{lab.rest.port}"
    for path in (*PATHS, *MORE_PATHS):
        for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"X-Remote-User": "admin"}):
            request = urllib.request.Request(base + path, headers=headers)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, context=context)
            caught.value.close()
            assert caught.value.code == 401, path
    with pytest.raises(OSError, match=r"(?i)reset|remote end|bad status|empty"):
        urllib.request.urlopen(f"http://127.0.0.1:{lab.rest.port}/api")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_user_of_the_machine_reaches_nothing(lab, module_home):
    status = clusters.status("lab")
    script = f"""
        cat {lab.kubeconfig}; ls {module_home}/clusters; cat {module_home}/clusters/lab/cluster.log
        ls /proc/{status.pid}/root /proc/{status.pid}/fd; cat /proc/{status.pid}/environ
        nsenter -t {status.pid} -n true; nsenter -t {status.pid} -U true
        kill -9 {status.pid}; kill -9 {status.supervisor_pid}
    """
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "sh", "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == ""
    refused = [line for line in done.stderr.splitlines() if line]
    assert len(refused) == 10
    assert all("denied" in line or "not permitted" in line for line in refused)
    assert clusters.status("lab").state == "running"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other ids to give")
def test_nothing_inside_a_cluster_of_root_runs_as_root_of_the_host(box, lab):
    with family("lab") as processes:
        for pid in processes.members():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended since it was listed
            ids = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
            assert all(int(one) >= 1000 for one in ids), pid


def test_a_pod_sees_no_file_and_no_process_of_others(box, module_home):
    listing = box("ls -A / /root /home /mnt /opt /srv /var; cat /proc/mounts; cat /proc/1/environ")
    for word in (str(module_home), str(ROOT), "k8slab-fault", "store.sqlite", "kubeconfig"):
        assert word not in listing
    assert box("ls /root /home /k8slab 2>/dev/null | grep -v ':$'") == ""
    commands = box("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "sleep 9999" in commands
    assert "7777" not in commands
    assert "k8slab-daemon" not in commands
    assert box("cat /etc/shadow /etc/machine-id 2>&1 | grep -vc 'No such file'") == "0"
    assert "No such file" in box("cat /sys/class/net/eth0/address")
    assert box("ls /dev | tr '\\n' ' '") == (
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
    )


REFUSED = {
    "mount": "mount -t tmpfs none /mnt",
    "mount in a user namespace: its own, the host's stay": (
        "unshare -Urm sh -c 'mount -o remount,rw,bind /usr && touch /usr/k8slab-test'"
    ),
    "a new view of processes": "unshare -Urm mount -t proc proc /mnt",
    "a block device": "mknod /tmp/disk b 254 0",
    "memory": "mknod /tmp/mem c 1 1",
    "kernel settings": "echo 1 > /proc/sys/vm/drop_caches",
    "the host's name": "echo x > /proc/sys/kernel/hostname",
    "system requests": "echo h > /proc/sysrq-trigger",
    "the kernel's messages": "dmesg",
    "programs": "touch /usr/bin/new",
    "the clock": "date -s @0",
    "links": "ip link add dummy0 type veth",
    "rules": "nft add table ip mine",
    "another root": "ls /proc/1/root/.cluster",
    "a module": "modprobe dummy || insmod /dev/null",
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_pod_may_not_touch(box, what):
    assert box(f"( {REFUSED[what]} ) >/dev/null 2>&1 && echo done || echo refused") == "refused"


def test_a_pod_gains_nothing_from_setuid_and_file_capabilities(box):
    became = "setpriv --reuid=1000 --regid=1000 --clear-groups --bounding-set=-all"
    script = f"""
        cp $(command -v id) /tmp/id; chmod 6755 /tmp/id; {became} /tmp/id -u 2>&1
        cp $(command -v sleep) /tmp/file; setcap cap_net_admin+ep /tmp/file 2>&1 | wc -l
        grep CapBnd /proc/self/status
    """
    said = box(script)
    if os.geteuid():
        assert said.startswith("setpriv: setresuid failed")  # there is nobody else to become
    else:
        assert said.splitlines()[0] == "1000"  # the root is mounted nosuid
    assert said.split()[-1] == "00000000a80425fb"  # and the bounding set is containerd's


def test_a_pod_reaches_no_listener_of_the_host(box, lab):
    port = lab.rest.port
    for name in ("box", "nodes-own"):
        for address in ("127.0.0.1", "172.18.0.1", "10.96.0.1"):
            said = box(f"nc -zw1 {address} {port} && echo open", name)
            assert "open" not in said.splitlines(), (name, address)
    # Unix sockets without a path belong to the network namespace.
    assert box("wc -l < /proc/net/unix") == "1"
    addresses = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True)
    with socket.create_server(("", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        for address in addresses.stdout.split():
            box(f"nc -zw1 {address} {port}", "nodes-own")
        with pytest.raises(BlockingIOError):  # nobody came
            server.accept()
