"""The embedded cluster as a learner meets it: by the command line and by the handle."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from harness import Limits, bench

from k8slab import clusters
from k8slab.policy import Party
from k8slab.probes import matrix

COMMAND = [str(Path(sys.executable).with_name("k8slab"))]
IMAGE = "k8slab/app"


@contextmanager
def state():
    """Give a state directory of its own, removed with what runs in it."""
    with tempfile.TemporaryDirectory(prefix="k8slab-bench-") as home:
        os.environ["K8SLAB_HOME"] = home
        try:
            yield
        finally:
            for name in clusters.names():
                clusters.delete(name)
            del os.environ["K8SLAB_HOME"]


def command(*words):
    """Run the command as a process and return how long it took, in seconds."""
    began = time.perf_counter()
    subprocess.run([*COMMAND, *words], check=True, capture_output=True)
    return time.perf_counter() - began


def alive(pid):
    """Say whether a process lives; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@bench("up", "k8slab up, 3 nodes, API and names answer", Limits("s", 1.0, 0.3))
def up():
    with state():
        for _ in range(10):
            yield command("up")
            command("down", "--delete")


@bench("down", "k8slab down, nothing left", Limits("s", 0.5, 0.2))
def down():
    with state():
        for _ in range(10):
            command("up")
            status = clusters.status()
            yield command("down")
            assert not alive(status.pid)
            assert not alive(status.supervisor_pid)


def pod(name, *, args=(), labels=None, image=IMAGE):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"app": name, **(labels or {})},
        },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": image, "args": [*args]}],
        },
    }


def ready_pods(cluster, objects):
    cluster.apply(objects)
    return cluster.wait("pods", namespace="default", deadline=120)


def is_ready(event, name):
    obj = event["object"]
    conditions = obj.get("status", {}).get("conditions") or ()
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and obj["metadata"]["name"] == name


def connect(cluster, flow):
    answer = cluster.request(
        "POST", "/apis/lab.k8slab.dev/v1/probes", {"flows": [{**flow, "protocol": "TCP"}]}
    )
    outcome = answer["results"][0]["outcome"]
    assert outcome in ("open", "refused"), answer
    return outcome


@bench(
    "pod",
    "one pod, apply to Ready and first connection",
    Limits("ms", 40, 5, reach_p99=100, aim_p99=20),
)
def one_pod():
    with state():
        cluster = clusters.up()
        ready_pods(cluster, [pod("client")])
        events = cluster.watch("pods", "default", deadline=600)
        primed = False
        for number in range(101):
            name = f"server-{number}"
            began = time.perf_counter()
            if not primed:
                # The generator opens its watch at the first `next`: a first pod, not counted.
                cluster.apply([pod("first")])
                primed = next(events)
                began = time.perf_counter()
            cluster.apply([pod(name)])
            address = next(e for e in events if is_ready(e, name))["object"]["status"]["podIP"]
            flow = {"from": {"namespace": "default", "pod": "client"}, "to": address, "port": 8080}
            # Ready is, without a readiness probe, that the process runs: it may not listen yet.
            while connect(cluster, flow) == "refused":
                assert time.perf_counter() - began < 10, "it never listened"
            took = time.perf_counter() - began
            if number:
                yield took * 1000
            cluster.delete("pods", name, "default", grace=0)
        events.close()


# Runs in the client's pod: a UDP packet every 200 microseconds. No two have the same source
# and destination port, since an established connection survives a new deny, and what was
# answered once is one as long as the kernel remembers it. Prints when each packet left, and
# whether it was answered, on the machine's one monotonic clock.
STREAM = """
import json, select, socket, sys, time
address, ends = sys.argv[1], time.monotonic() + float(sys.argv[2])
waiting, sent, answered, poll = {}, [], [], select.epoll()
pairs = ((here, there) for there in range(8080, 8084) for here in range(1024, 65536))
upcoming = time.monotonic()
while upcoming < ends:
    now = time.monotonic()
    if now >= upcoming:
        here, there = next(pairs)
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setblocking(False)
        s.bind(("", here)); s.connect((address, there)); s.send(b"x")
        sent.append(now)
        waiting[s.fileno()] = (s, now); poll.register(s, select.EPOLLIN)
        upcoming = max(upcoming + 2e-4, now)
        if len(waiting) > 200:
            first = next(iter(waiting)); waiting.pop(first)[0].close()
    for fd, _ in poll.poll(0):
        if fd in waiting:
            s, left = waiting.pop(fd)
            s.recv(500)  # an ICMP error is no answer: this raises
            answered.append(left); s.close()
print(json.dumps([sent, answered]))
"""

FLIPS = 100
PAUSE = 0.05
"""Seconds between two changes: some hundred packets."""


def deny(name):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]},
    }


@bench(
    "policy",
    "NetworkPolicy change, answered to enforced on the wire",
    Limits("ms", 10, 0.5, reach_p99=50, aim_p99=2),
)
def policy():
    with state():
        cluster = clusters.up()
        pods = ready_pods(
            cluster,
            [
                pod("client", image="k8slab/toolbox", args=["sleep", "600"]),
                pod("server", args=[f"--udp={port}" for port in range(8080, 8084)]),
            ],
        )
        server = next(p for p in pods if p["metadata"]["name"] == "server")
        seconds = 2 * FLIPS * (PAUSE + 0.02) + 2
        stream = subprocess.Popen(
            [
                *("kubectl", "--kubeconfig", str(cluster.kubeconfig), "exec", "client", "--"),
                *("python3", "-c", STREAM, server["status"]["podIP"], str(seconds)),
            ],
            stdout=subprocess.PIPE,
        )
        time.sleep(1)  # the stream runs: what is measured is between two of its packets
        changes = []
        for _ in range(FLIPS):
            cluster.apply([deny("deny")])
            changes.append(("deny", time.monotonic()))
            time.sleep(PAUSE)
            cluster.delete("networkpolicies.networking.k8s.io", "deny", "default")
            changes.append(("allow", time.monotonic()))
            time.sleep(PAUSE)
        sent, answered = json.loads(stream.communicate()[0])
        yield from (value * 1000 for value in delays(changes, sent, answered))


def delays(changes, sent, answered):
    """Return for each change how long after its answer packets still met the old rule.

    Denied: the last packet that was answered. Allowed: the first one. Where nothing went
    wrong on the wire after the API's answer, that is 0. A window in which the machine let
    no packet leave says nothing and is left out.
    """
    ends = [when for _, when in changes[1:]] + [changes[-1][1] + PAUSE]
    for (kind, when), end in zip(changes, ends, strict=True):
        # The API carries out the next change some time before it answers: leave that out.
        until = end - PAUSE / 2
        tried = [left for left in sent if when < left < until]
        through = [left for left in answered if when < left < until]
        if not tried:
            continue
        if kind == "deny":
            yield max(through, default=when) - when
        else:
            lost = [left for left in tried if left < min(through, default=until)]
            yield max(lost, default=when) - when


@bench("memory", "memory of the empty cluster (PSS)", Limits("MB", 120, 60))
def memory():
    with state():
        for _ in range(3):
            clusters.up()
            yield clusters.status().memory_bytes / 1e6
            clusters.delete()


@bench("memory-pod", "memory of each further idle pod (PSS)", Limits("MB", 5, 1))
def memory_of_a_pod():
    with state():
        cluster = clusters.up()
        before, total = clusters.status().memory_bytes, 0
        for _ in range(5):
            ready_pods(cluster, [pod(f"idle-{total + number}") for number in range(10)])
            total += 10
            yield (clusters.status().memory_bytes - before) / total / 1e6


@bench("matrix", "matrix of 50 x 50 pods x 2 ports, half silently dropped", Limits("s", 2, 0.2))
def connectivity_matrix():
    with state():
        cluster = clusters.up()
        ports = ["--port=8080", "--port=8081"]
        ready_pods(cluster, [pod(f"p{number}", args=ports) for number in range(50)])
        only_8080 = deny("only-8080")
        only_8080["spec"]["podSelector"] = {}
        only_8080["spec"]["ingress"] = [{"ports": [{"protocol": "TCP", "port": 8080}]}]
        cluster.apply([only_8080])
        pods = [Party("pod", f"p{number}", "default") for number in range(50)]
        for _ in range(10):
            began = time.perf_counter()
            found = matrix(cluster, pods, [8080, 8081])
            yield time.perf_counter() - began
            assert len(found.cells) == 50 * 49 * 2
            for (_, _, port), seen in found.cells.items():
                wanted = "open" if port.number == 8080 else "silent"
                assert seen.outcome.value == wanted, (port, seen)
