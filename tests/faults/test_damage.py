"""Files that were damaged, a directory that went, a disk that is full, a port that is taken."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from faults_kit import DEADLINE, family, k8slab, mentioning, until

from k8slab import clusters
from k8slab.embedded.config import ClusterPaths

KEPT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}


def up():
    """Start the cluster by the command; return what it said, or fail."""
    done = k8slab("up", "--name", "lab")
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_damaged_files_are_repaired_or_named_and_no_object_is_lost(home):
    clusters.up("lab", wanted=clusters.Wanted(nodes=1)).apply([KEPT])
    clusters.down("lab")
    paths = ClusterPaths.of("lab")

    paths.config.write_text('{"name": "la')
    for command in (["up"], ["status"]):
        done = k8slab(*command, "--name", "lab")
        assert done.returncode != 0
        assert "cluster.json of this cluster is damaged" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert "broken" in k8slab("list").stdout
    paths.config.write_text(json.dumps({"name": "lab", "nodes": 1}))

    store = paths.inside / "store.sqlite"
    whole = store.read_bytes()
    store.write_bytes(os.urandom(5000))
    done = k8slab("up", "--name", "lab")
    assert done.returncode == 1
    assert "the cluster's objects cannot be read: store.sqlite" in done.stderr
    assert "k8slab reset" in done.stderr
    store.write_bytes(whole)

    # What k8slab itself can make again it makes again.
    for file in ("pki/ca.crt", "pki/admin.key", "pki/sa.key", "pki/apiserver.crt", "kubeconfig"):
        (paths.inside / file).write_text("rubbish")
    paths.kubeconfig.write_text("rubbish")
    paths.lock.write_text("rubbish")  # nobody holds it
    up()
    handle = clusters.attach("lab")
    assert handle.get("configmaps", "kept", "default")
    handle.wait("pods", namespace="kube-system")
    assert stat.S_IMODE(paths.kubeconfig.stat().st_mode) == 0o600

    with family("lab") as processes:
        paths.lock.write_text("rubbish")  # now it is held
        done = k8slab("down", "--name", "lab")
        assert done.returncode == 1
        assert f"remove it: rm {paths.lock}" in done.stderr
        paths.lock.unlink()
        processes.await_end()
    up()
    assert clusters.attach("lab").get("configmaps", "kept", "default")


def test_a_stale_lock_stops_nobody(home):
    clusters.up("lab", wanted=clusters.Wanted(nodes=1))
    paths = ClusterPaths.of("lab")
    with family("lab") as processes:
        held = paths.lock.read_bytes()
        clusters.down("lab")
        processes.await_end(1)
    # Somebody else has these numbers now: they are told by their start times.
    stranger = subprocess.Popen(["sleep", "9999"])
    record = json.loads(held) | {"pid": stranger.pid, "init_pid": stranger.pid}
    paths.lock.write_text(json.dumps(record))
    assert clusters.status("lab").state == "stopped"
    clusters.down("lab")
    up()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_cluster_whose_directory_goes_ends_and_can_be_made_again(home):
    clusters.up("lab", wanted=clusters.Wanted(nodes=1))
    with family("lab") as processes:
        shutil.rmtree(home, ignore_errors=True)
        processes.await_end()
    assert not home.exists()
    assert k8slab("down", "--name", "lab").returncode == 1
    assert not mentioning(str(home))
    up()


def test_the_port_is_kept_unless_somebody_took_it(home):
    handle = clusters.up("lab", wanted=clusters.Wanted(nodes=1))
    port = handle.rest.port
    handle.rest.close()
    clusters.down("lab")
    with socket.create_server(("127.0.0.1", port)):
        said = up()
        assert clusters.attach("lab").rest.port != port
        assert "Traceback" not in said
    listening = until(lambda: listeners(clusters.status("lab").pid))
    assert listening == {f"127.0.0.1:{clusters.attach('lab').rest.port}"}


def listeners(pid):
    """Return where the host's sockets of a process listen."""
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    return {line.split()[3] for line in lines.splitlines() if f"pid={pid}," in line}


@pytest.mark.parametrize("size", ["2m", "24m"])
def test_a_full_disk_is_told_and_costs_nothing_that_was_acknowledged(home, size):
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    script = Path(__file__).with_name("full_disk.py")
    done = subprocess.run(
        [*unshare, sys.executable, script, home, size],
        capture_output=True,
        text=True,
        timeout=6 * DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not mentioning(str(home))
