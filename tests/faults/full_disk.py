"""usage: full_disk.py HOME SIZE: live on a small disk, in a mount namespace of our own."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from faults_kit import k8slab, pod, until

from k8slab import clusters
from k8slab.errors import ApiStatusError

NOTE = "bytes of this log are lost"


def main(home, size):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "disk", home], check=True)
    os.environ["K8SLAB_HOME"] = home
    if size == "2m":
        done = k8slab("up", "--name", "lab")
        assert done.returncode == 3, done.stderr
        assert "is full" in done.stderr, done.stderr
        assert "make room" in done.stderr, done.stderr
        return
    cluster = clusters.up("lab", wanted=clusters.Wanted(nodes=1))
    try:
        fill_and_make_room(cluster, Path(home) / "filler")
    finally:
        clusters.down("lab")


def fill_and_make_room(cluster, filler):
    talker = pod("talker", "sh", "-c", "while :; do seq 999; sleep 0.05; done")
    cluster.apply([talker, data("before", "x")], namespace="default")
    cluster.wait("pods", "talker", "default")
    fill(filler)
    refused = refusal(cluster)
    assert "cannot be written" in str(refused), refused
    assert "make room" in str(refused), refused
    assert cluster.get("configmaps", "before", "default"), "reading goes on"
    assert cluster.exec("default", "talker", ["echo", "here"]).stdout == "here\n"
    clusters.down("lab")
    fill(filler)
    done = k8slab("up", "--name", "lab")
    assert done.returncode == 3, done.stderr
    assert "is full" in done.stderr, done.stderr
    filler.unlink()
    clusters.up("lab")
    assert cluster.get("configmaps", "before", "default")["data"] == {"text": "x"}
    cluster.wait("pods", "talker", "default")
    # Full once more, then room while it runs: it goes on by itself, and the log tells of the gap.
    fill(filler)
    refusal(cluster)
    filler.unlink()
    cluster.apply([data("after", "x")], namespace="default")
    until(lambda: NOTE in cluster.logs("default", "talker"))


def data(name, text):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"text": text},
    }


def refusal(cluster):
    """Write until the disk is full; return the error."""
    for number in range(100):
        try:
            cluster.apply([data(f"filling-{number}", "x" * 200_000)], namespace="default")
        except ApiStatusError as error:
            return error
    raise AssertionError("the disk was never full")


def fill(file):
    with file.open("ab", buffering=0) as target:
        try:
            while True:
                target.write(bytes(4096))
        except OSError:
            return


main(*sys.argv[1:])
