"""Life inside pods, as a learner sees it: tools, files, neighbours, beginnings and ends."""

import re

import pytest
from pods_kit import READY, app, container, first_words, pod, said, sh

from k8slab.testing.names import until_known

NET = "nicolaka/netshoot"


@pytest.fixture
def net(cluster, namespace):
    """Give a pod with the machine's tools, and run commands in it."""
    cluster.apply([pod("net", container(NET, "sleep 3600"))], namespace=namespace)
    cluster.wait("pods", "net", namespace)
    return sh(cluster, namespace, "net")


@pytest.fixture
def web(cluster, namespace):
    """Give a web pod and a Service before it."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    cluster.apply([pod("web", app(readinessProbe=READY))], namespace=namespace)
    cluster.wait("pods", "web", namespace)
    # Last, since a Service is answered when the kernel leads to the pods that are ready.
    cluster.apply([service], namespace=namespace)
    until_known(cluster, "web", namespace)
    return cluster.get("pods", "web", namespace)["status"]["podIP"]


def test_the_tools_of_networkers_say_what_they_say_elsewhere(net, web, namespace):
    assert "pod: web" in net("curl -s http://web/")
    name = f"web.{namespace}.svc.cluster.local"
    assert net(f"dig +short {name}").startswith("10.96.")
    assert f"Name:\t{name}" in net("nslookup web")
    assert "NXDOMAIN" in net("nslookup nosuch", code=1)
    assert "succeeded" in net("nc -zv web 80 2>&1")
    assert "refused" in net("nc -zv web 81 2>&1", code=1)
    assert "1 received" in net(f"ping -c1 {web}")
    assert re.search(r"^default via 169\.254\.1\.1 dev eth0", net("ip route"), re.MULTILINE)
    assert "/32 scope global eth0" in net("ip -4 address show eth0")
    assert net("cat /etc/resolv.conf").splitlines()[2] == "options ndots:5"


def test_nc_listens_on_tcp_and_udp(net):
    ready = "until ss -Hln{0} | grep -q :99; do :; done"
    tcp = f"nc -l -p 9901 > /tmp/t & {ready.format('t')}; echo tcp | nc -q0 127.0.0.1 9901; wait"
    assert net(f"{tcp}; cat /tmp/t") == "tcp\n"
    udp = f"nc -u -l -p 9902 > /tmp/u & {ready.format('u')}; echo udp | nc -u -w1 127.0.0.1 9902"
    assert net(f"{udp}; until [ -s /tmp/u ]; do :; done; kill %1; cat /tmp/u") == "udp\n"


@pytest.mark.parametrize("interface", ["eth0", "any"])
def test_tcpdump_shows_packets_while_they_pass(net, web, interface):
    listening = "until grep -q 'listening on' /tmp/e; do :; done"
    shown = net(
        f"tcpdump -nn --immediate-mode -c2 -i {interface} icmp > /tmp/o 2> /tmp/e & {listening}; "
        f"ping -c1 {web} > /tmp/p; wait; cat /tmp/o /tmp/e"
    )
    assert f"> {web}: ICMP echo request" in shown
    assert f"{web} > " in shown
    assert "2 packets captured" in shown


def test_tcpdump_writes_a_file_until_it_is_interrupted(net, web):
    shown = net(
        "(trap - INT; exec tcpdump -U --immediate-mode -w /tmp/x.pcap tcp port 8080) 2> /tmp/e & "
        "until grep -q 'listening on' /tmp/e; do :; done; "
        f"curl -s http://{web}:8080/ > /tmp/c; "
        "until [ $(stat -c %s /tmp/x.pcap) -gt 500 ]; do :; done; "
        "kill -TERM $!; wait; tcpdump -nnr /tmp/x.pcap 2> /tmp/r"
    )
    assert f"> {web}.8080: Flags [S]" in shown


def test_a_container_sees_its_own_processes_and_files_only(net):
    assert net("cat /proc/1/cmdline") == "sh\0-c\0sleep 3600\0"
    assert len(net("ls -d /proc/[0-9]*").split()) < 6
    assert net("id -u; hostname").split() == ["0", "net"]
    assert net("ls -A /home /root /mnt").split() == ["/home:", "/mnt:", "/root:"]
    assert "Read-only" in net("touch /usr/bin/x 2>&1", code=1)
    assert net("kill -9 1; echo alive") == "alive\n"


def test_a_pod_starts_in_order_with_its_files_and_environment(cluster, namespace):
    shared = {"name": "shared", "mountPath": "/shared"}
    config = {"name": "config", "mountPath": "/config"}
    main = container(
        "busybox",
        "sleep 3600",
        env=[
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "pw"}}},
            {"name": "BOTH", "value": "$(IP) $(PW)"},
        ],
        volumeMounts=[shared, config],
        lifecycle={"postStart": {"exec": {"command": ["sh", "-c", "echo post >> /shared/order"]}}},
    )
    first, second = (
        container("busybox", f"echo {n} >> /shared/order", name=n, volumeMounts=[shared])
        for n in ("first", "second")
    )
    volumes = [
        {"name": "shared", "emptyDir": {}},
        {"name": "config", "configMap": {"name": "config"}},
    ]
    side = app(name="side", readinessProbe=READY)
    made = pod("rich", main, side, initContainers=[first, second], volumes=volumes)
    meta = {"apiVersion": "v1"}
    cluster.apply(
        [
            {**meta, "kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"color": "red"}},
            {
                **meta,
                "kind": "Secret",
                "metadata": {"name": "secret"},
                "stringData": {"pw": "word"},
            },
            made,
        ],
        namespace=namespace,
    )
    cluster.wait("pods", "rich", namespace)
    run = sh(cluster, namespace, "rich", "main")
    assert run("cat /shared/order").split() == ["first", "second", "post"]
    address = cluster.get("pods", "rich", namespace)["status"]["podIP"]
    assert run("echo $BOTH") == f"{address} word\n"
    assert "pod: rich" in run("curl -s localhost:8080")  # containers share the network
    assert "sleep" not in sh(cluster, namespace, "rich", "side")("cat /proc/*/cmdline")
    changed = {**meta, "kind": "ConfigMap", "metadata": {"name": "config"}}
    cluster.apply([{**changed, "data": {"color": "blue"}}], namespace=namespace)
    assert run("until grep blue /config/color; do :; done") == "blue\n"


@pytest.mark.parametrize(
    ("policy", "code", "phase", "reason"),
    [
        ("Never", 0, "Succeeded", "Completed"),
        ("Never", 3, "Failed", "Error"),
        ("OnFailure", 0, "Succeeded", "Completed"),
    ],
)
def test_a_pod_that_ends_has_the_phase_that_its_policy_gives(
    cluster, namespace, policy, code, phase, reason
):
    made = pod("end", container("busybox", f"exit {code}"), restartPolicy=policy)
    cluster.apply([made], namespace=namespace)
    (ended,) = cluster.wait("pods", "end", namespace, until=f"jsonpath={{.status.phase}}={phase}")
    state = ended["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (code, reason)


def test_a_container_that_fails_its_liveness_probe_is_started_again(cluster, namespace):
    probe = {"exec": {"command": ["cat", "/tmp/ok"]}, "periodSeconds": 1, "failureThreshold": 1}
    probe["timeoutSeconds"] = 30  # on a busy machine even cat takes its time
    script = "trap 'exit 0' TERM; touch /tmp/ok; sleep 3600 & wait"
    live = container("busybox", script, livenessProbe=probe)
    live["startupProbe"] = {**probe, "failureThreshold": 30}  # the file may come a moment later
    cluster.apply([pod("live", live)], namespace=namespace)
    cluster.wait("pods", "live", namespace)
    sh(cluster, namespace, "live")("rm /tmp/ok")
    path = "jsonpath={.status.containerStatuses[0].restartCount}=1"
    cluster.wait("pods", "live", namespace, until=path)
    assert any(
        "failed liveness probe, will be restarted" in event["message"]
        for event in cluster.list("events", namespace)
    )


def test_a_pod_is_told_to_stop_and_killed_when_its_grace_is_over(cluster, namespace):
    polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    deaf = container("busybox", "echo up; sleep 3600")  # PID 1 without a handler
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo before > /proc/1/fd/1"]}}}
    cluster.apply(
        [
            pod("polite", container("busybox", polite, lifecycle=hook), grace=300),
            pod("deaf", deaf, grace=1),
        ],
        namespace=namespace,
    )
    cluster.wait("pods", "polite", namespace)
    cluster.wait("pods", "deaf", namespace)
    assert first_words(cluster, namespace, "polite") == "up\n"  # it has its handler now
    following = said(cluster, namespace, "polite")
    cluster.delete("pods", "polite", namespace)
    cluster.delete("pods", "deaf", namespace)
    cluster.wait("pods", "polite", namespace, until="delete")
    assert following() == ["up", "before", "bye"]
    cluster.wait("pods", "deaf", namespace, until="delete")


def test_limits_are_shown_to_the_pod_and_requests_decide_where_it_runs(cluster, namespace):
    limit = {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}
    small = container(
        "busybox", "sleep 3600", env=[limit], resources={"limits": {"memory": "64Mi"}}
    )
    huge = container("busybox", "true", resources={"requests": {"memory": "900Ti"}})
    cluster.apply([pod("small", small), pod("huge", huge)], namespace=namespace)
    cluster.wait("pods", "small", namespace)
    assert sh(cluster, namespace, "small")("echo $MEM") == f"{64 * 2**20}\n"
    until = "jsonpath={.status.conditions[0].reason}=Unschedulable"
    (waiting,) = cluster.wait("pods", "huge", namespace, until=until)
    assert "2 Insufficient memory" in waiting["status"]["conditions"][0]["message"]


def test_the_files_of_a_volume_have_the_modes_that_it_says(cluster, namespace):
    meta = {"apiVersion": "v1"}
    items = [{"key": "a", "path": "deep/a", "mode": 0o755}, {"key": "b", "path": "b"}]
    volumes = [
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "some", "configMap": {"name": "some", "items": items, "defaultMode": 0o640}},
    ]
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("keys", "some")]
    cluster.apply(
        [
            {**meta, "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"k": "word"}},
            {
                **meta,
                "kind": "ConfigMap",
                "metadata": {"name": "some"},
                "data": {"a": "1", "b": "2"},
            },
            pod("moded", container("busybox", "sleep 999", volumeMounts=mounts), volumes=volumes),
        ],
        namespace=namespace,
    )
    cluster.wait("pods", "moded", namespace)
    run = sh(cluster, namespace, "moded")
    modes = run("stat -L -c %a /keys/k /some/deep/a /some/b").split()
    assert modes == ["400", "755", "640"]
    assert run("cat /keys/k") == "word"
