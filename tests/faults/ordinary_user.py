"""Do what a learner does, as whoever runs this; tell it, and go on when a line comes."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from faults_kit import pod

from k8slab import clusters

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
}
CAPTURE = """
    tcpdump -ln -i eth0 -c 1 tcp dst port 80 >/tmp/seen 2>/tmp/said & capture=$!
    while kill -0 $capture && ! grep -q 'listening on' /tmp/said; do :; done
    until curl -s http://web/ >/tmp/answer; do :; done
    wait $capture; cat /tmp/answer /tmp/seen /tmp/said
"""


def main():
    cluster = clusters.up("lab", wanted=clusters.Wanted(nodes=2))
    try:
        found = work(cluster)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        sys.stdin.readline()
        assert cluster.get("pods", "box", "default")
    finally:
        clusters.down("lab")
    assert clusters.status("lab").state == "stopped"
    clusters.delete("lab")


def work(cluster):
    objects = [pod("web", image="k8slab/app"), pod("box", "sleep", "9999"), SERVICE]
    cluster.apply(objects, namespace="default")
    cluster.wait("pods", namespace="default")
    seen = cluster.exec("default", "box", ["sh", "-c", CAPTURE], deadline=100)
    pid = clusters.status("lab").pid
    return {"seen": seen.stdout + seen.stderr, "pid": pid, "port": cluster.rest.port}


main()
