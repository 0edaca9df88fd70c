"""Names: how many questions one CoreDNS pod answers, asked by another pod over the network."""

from cluster import pod, state
from harness import Limits, bench

from k8slab import clusters

SERVICES = 100
SECONDS = 2

# Runs in a pod. Sixty-four questions are on their way at any time; an answer that is lost, or
# that is not the Service's address, ends the measurement with an error.
ASK = """
import socket, struct, sys, time

server, seconds, *names = sys.argv[1:]
def question(number, name):
    labels = b"".join(bytes([len(word)]) + word.encode() for word in name.split("."))
    head = struct.pack(">6H", number % 65536, 0x0100, 1, 0, 0, 0)
    return head + labels + bytes([0, 0, 1, 0, 1])
questions = [question(number, name) for number, name in enumerate(names)]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((server, 53))
sock.settimeout(2)
send, receive, count = sock.send, sock.recv, len(questions)
for one in questions:
    send(one)
    assert receive(512)[3] & 15 == 0, one
for number in range(64):
    send(questions[number % count])
done, began = 0, time.perf_counter()
end = began + float(seconds)
while time.perf_counter() < end:
    for _ in range(500):
        answer = receive(512)
        assert answer[7] == 1, answer
        send(questions[done % count])
        done += 1
print((time.perf_counter() - began) / done * 1e6)
"""


def service(name):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": name}},
    }


@bench("dns", "one of many questions to one CoreDNS pod", Limits("us", 66.7, 25))
def questions_to_one_pod():
    with state():
        cluster = clusters.up()
        names = [f"web-{number}" for number in range(SERVICES)]
        asker = pod("asker", image="k8slab/toolbox")
        asker["spec"]["containers"][0]["command"] = ["sleep", "1d"]
        cluster.apply([asker, *map(service, names)])
        cluster.wait("pods", "asker", "default")
        (server, *_) = cluster.list("pods", "kube-system", selector="k8s-app=kube-dns")
        words = ["python3", "-c", ASK, server["status"]["podIP"], str(SECONDS)]
        words += [f"{name}.default.svc.cluster.local" for name in names]
        for _ in range(5):
            done = cluster.exec("default", "asker", words, deadline=30)
            assert done.code == 0, done.stderr
            yield float(done.stdout)
