"""Pods that take all they can get: bounded, told, and nobody else suffers."""

import os
import time
from pathlib import Path

import pytest
from faults_kit import family, pod, until

from k8slab import clusters
from k8slab.embedded.runtime.runtime import POD_PROCESSES
from k8slab.errors import ApiStatusError

SPACE = "greedy"
OTHERS = 60
"""Processes of the cluster's own and of the other pods, at most."""
PATIENCE = 60.0
"""Seconds in which the API and another pod must answer, on a busy machine."""


@pytest.fixture(scope="module")
def place(lab):
    lab.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}])
    lab.apply([pod("web", image="k8slab/app"), pod("box", "sleep", "9999")], namespace=SPACE)
    lab.wait("pods", namespace=SPACE)
    return lab


def size_of(log):
    """Return the bytes of a log; none when it was turned over between two looks."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def exec_in(cluster):
    """Run a command in the greedy pod; return its output or why there is none."""
    try:
        return cluster.exec(SPACE, "greedy", ["df", "/"], deadline=PATIENCE).stdout
    except ApiStatusError as error:
        return str(error)


@pytest.fixture
def greedy(place):
    """Return a function that starts a greedy pod and checks that all others get on meanwhile.

    It returns what `look` sees while the pod is still there.
    """
    web = place.get("pods", "web", SPACE)["status"]["podIP"]

    def start(script, seen, look=exec_in):
        made = pod("greedy", "bash", "-c", script, restartPolicy="Never")
        place.apply([made], namespace=SPACE)
        place.wait("pods", "greedy", SPACE)
        try:
            until(lambda: seen in place.logs(SPACE, "greedy", tail=50))
            began = time.monotonic()
            assert place.rest.text("/readyz") == "ok"
            argv = ["curl", "-sm50", "-o/dev/null", "-w%{http_code}", f"http://{web}:8080/"]
            assert place.exec(SPACE, "box", argv, deadline=PATIENCE).stdout == "200"
            assert time.monotonic() - began < PATIENCE
            place.apply([pod("newcomer", "sleep", "99")], namespace=SPACE)
            place.wait("pods", "newcomer", SPACE, deadline=PATIENCE)
            with family("lab") as processes:
                assert len(processes.members()) < POD_PROCESSES + OTHERS
            return look(place)
        finally:
            for name in ("greedy", "newcomer"):
                place.delete("pods", name, SPACE, grace=0)
                place.wait("pods", name, SPACE, until="delete")

    return start


@pytest.mark.parametrize("prefix", ["", "unshare -Ur "])
def test_a_fork_bomb_is_bounded_also_from_a_user_namespace_of_its_own(greedy, prefix):
    script = f"{prefix}bash -c 'f() {{ f | f & }}; f; sleep 999'"
    said = greedy(script, "Resource temporarily unavailable")
    # In a moment at which one has just ended there is room for it.
    assert "the pod has as many processes as it may have: 512" in said or "tmpfs" in said


def test_a_pod_fills_only_its_own_root(greedy):
    script = "cat /dev/zero > /tmp/x; for i in {1..20000}; do > /tmp/$i; done; sleep 999"
    said = greedy(script, "/tmp/20000: No space left on device")
    assert said.split()[-2] == "100%"


def test_a_log_without_end_keeps_its_size(greedy, module_home):
    def log_sizes(_cluster):
        # os.walk, since directories of other pods may go meanwhile.
        places = ((Path(at), name) for at, _, names in os.walk(module_home) for name in names)
        return [size_of(at / name) for at, name in places if "greedy_greedy" in str(at)]

    sizes = greedy("yes 'this is a line that comes again and again'", "again", log_sizes)
    assert sizes
    assert sum(sizes) <= 2 * 10 * 2**20 + 2**16


SOCKETS = """exec python3 -c '
import socket, time
kept = []
try:
    while True:
        kept.append(socket.socket(type=socket.SOCK_DGRAM))
        kept[-1].connect(("{address}", 9))
        kept[-1].send(b"x")
except OSError as error:
    print("stopped:", error, flush=True)
time.sleep(999)
'"""


def test_a_pod_that_opens_sockets_without_end_stops_nobody(place, greedy):
    address = place.get("pods", "box", SPACE)["status"]["podIP"]
    greedy(SOCKETS.format(address=address), "stopped: [Errno 24] Too many open files")


MEMORY = """exec python3 -c '
from pathlib import Path
score = int(Path("/proc/self/oom_score_adj").read_text())
print("score", score, flush=True)
import time; time.sleep(999)
'"""


def test_a_pod_is_what_the_kernel_ends_first_when_memory_runs_out(place, greedy):
    greedy(MEMORY, "score 1000")
    daemon = clusters.status("lab").pid
    assert int(Path(f"/proc/{daemon}/oom_score_adj").read_text()) < 1000
