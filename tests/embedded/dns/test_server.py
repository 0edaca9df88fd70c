"""The DNS server as a process: real sockets, a real (small) API behind TLS."""

import http.client
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from k8slab.embedded import wire
from tests.embedded.processes import free_port

CLUSTER = """
.:$PORT {
    errors
    ready 127.0.0.1:$READY
    health 127.0.0.1:$HEALTH
    prometheus 127.0.0.1:$METRICS
    kubernetes cluster.local in-addr.arpa {
        pods insecure
        ttl 30
        fallthrough in-addr.arpa
    }
    loadbalance
}
"""
WEB = "web.shop.svc.cluster.local."


def service(name, address="10.96.1.1", **spec):
    spec = {"clusterIPs": [address], "ports": [{"name": "http", "port": 80}]} | spec
    return {"metadata": {"namespace": "shop", "name": name}, "spec": spec}


def page(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def wait_ready(server, seconds=30):
    end = time.monotonic() + seconds
    while page(server.ports["READY"], "/ready")[0] != 200:
        assert time.monotonic() < end, "the server did not become ready"


class Upstream:
    """A resolver on loopback that answers each A question with one address."""

    def __init__(self, address="203.0.113.9", *, silent=False):
        self.address = address
        self.silent = silent
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join(5)
        self.socket.close()

    def run(self):
        while data := (got := self.socket.recvfrom(4096))[0]:
            query = wire.read(data)
            self.asked.append(query.name)
            if not self.silent:
                record = wire.Record(query.name, wire.A, 60, self.address)
                answers = (record,) if query.type == wire.A else ()
                reply = wire.replace(query.reply(), answers=answers)
                self.socket.sendto(wire.write(reply), got[1])


def test_names_follow_the_api(api, start_dns):
    api.put("services", service("web"))
    server = start_dns(CLUSTER, api.environment())
    wait_ready(server)
    assert server.data(WEB) == ["10.96.1.1"]
    api.put("services", service("web", "10.96.1.2"))
    server.until(WEB, ["10.96.1.2"])
    api.delete("services", "shop", "web")
    server.until(WEB, [])
    assert server.ask(WEB).rcode() == dns.rcode.NXDOMAIN


def test_endpoints_of_a_headless_service_are_answered_over_udp_and_tcp(api, start_dns):
    api.put("services", service("db", "None"))
    api.put(
        "endpointslices",
        {
            "metadata": {
                "namespace": "shop",
                "name": "db-1",
                "labels": {"kubernetes.io/service-name": "db"},
            },
            "endpoints": [{"addresses": [f"10.244.1.{n}"]} for n in range(1, 101)],
            "ports": [{"name": "pg", "port": 5432}],
        },
    )
    server = start_dns(CLUSTER, api.environment())
    wait_ready(server)
    name = "db.shop.svc.cluster.local."
    assert len(server.data(name, tcp=True)) == 100
    cut = server.ask(name, use_edns=False)
    assert cut.flags & dns.flags.TC
    assert len(cut.to_wire()) <= 512
    assert len(server.data(name, payload=4096, use_edns=0)) == 100


def test_it_is_ready_when_everything_has_been_listed_and_not_before(api, start_dns):
    environment = api.environment()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = environment | {"KUBERNETES_SERVICE_PORT": str(closed.getsockname()[1])}
        server = start_dns(CLUSTER, down)
        server.wait_for("Failed to watch")
        assert page(server.ports["READY"], "/ready") == (503, "kubernetes")
        assert server.ask(WEB).rcode() == dns.rcode.SERVFAIL
    assert page(server.ports["HEALTH"], "/health") == (200, "OK")


def test_a_lost_connection_resumes_where_it_was(api, start_dns):
    api.put("services", service("web"))
    server = start_dns(CLUSTER, api.environment())
    wait_ready(server)
    before = len([each for each in api.requests if "watch" not in each[1]])
    api.drop_connections()
    api.put("services", service("web", "10.96.1.3"))
    server.until(WEB, ["10.96.1.3"])
    lists = [each for each in api.requests if "watch" not in each[1]]
    assert len(lists) == before


def test_a_watch_whose_time_is_over_goes_on_over_the_same_connection(api, start_dns):
    api.put("services", service("web"))
    server = start_dns(CLUSTER, api.environment())
    wait_ready(server)
    before = api.connections
    api.end_watches()
    api.put("services", service("web", "10.96.1.5"))
    server.until(WEB, ["10.96.1.5"])
    assert api.connections == before


def test_a_forgotten_resource_version_is_listed_again(api, start_dns):
    api.put("services", service("web"))
    api.put("services", service("old", "10.96.1.7"))
    server = start_dns(CLUSTER, api.environment())
    wait_ready(server)
    assert server.data("old.shop.svc.cluster.local.") == ["10.96.1.7"]
    # Changes that no watch tells: only a new list can.
    api.objects["services"].pop(("shop", "old"))
    api.put("services", service("web", "10.96.1.4"), tell=False)
    api.drop_connections(forget=True)
    server.until(WEB, ["10.96.1.4"])
    assert server.data("old.shop.svc.cluster.local.") == []


def test_other_names_are_forwarded_and_metrics_count_everything(start_dns):
    with Upstream() as upstream:
        server = start_dns(
            ".:$PORT {\n errors\n prometheus 127.0.0.1:$METRICS\n"
            f" forward . 127.0.0.1:{upstream.port}\n cache 30\n}}\n"
        )
        for _ in range(3):
            assert server.data("www.example.com.") == ["203.0.113.9"]
        assert upstream.asked == ["www.example.com."]
        assert server.ask("www.example.com.", "AAAA").rcode() == dns.rcode.NOERROR
    status, text = page(server.ports["METRICS"], "/metrics")
    assert status == 200
    assert f'coredns_dns_requests_total{{server="dns://:{server.port}"' in text
    total = sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("coredns_dns_requests_total")
    )
    assert total == 4


def test_a_zone_can_have_a_resolver_of_its_own(start_dns):
    with Upstream("203.0.113.1") as internet, Upstream("192.168.1.20") as corp:
        server = start_dns(
            f".:$PORT {{\n forward . 127.0.0.1:{internet.port}\n}}\n"
            f"corp.test:$PORT {{\n forward . 127.0.0.1:{corp.port}\n}}\n"
        )
        assert server.data("wiki.corp.test.") == ["192.168.1.20"]
        assert server.data("corp.test.") == ["192.168.1.20"]
        assert server.data("notcorp.test.") == ["203.0.113.1"]


def test_a_dead_upstream_is_skipped(start_dns):
    number = free_port(socket.SOCK_DGRAM)
    with Upstream() as upstream:
        server = start_dns(
            ".:$PORT {\n errors\n forward . "
            f"127.0.0.1:{number} 127.0.0.1:{upstream.port} {{\n  policy sequential\n }}\n}}\n"
        )
        assert server.data("a.example.") == ["203.0.113.9"]


def test_without_any_upstream_the_answer_is_servfail_and_the_log_says_why(start_dns):
    number = free_port(socket.SOCK_DGRAM)
    server = start_dns(f".:$PORT {{\n errors\n forward . 127.0.0.1:{number}\n}}\n")
    assert server.ask("a.example.").rcode() == dns.rcode.SERVFAIL
    line = server.wait_for("[ERROR] plugin/errors: 2 a.example. A")
    assert "connection refused" in line


def test_a_changed_corefile_is_taken_over_and_a_wrong_one_is_not(start_dns):
    body = ".:$PORT {{\n reload 1h\n hosts {{\n  {} a.example\n }}\n}}\n"
    server = start_dns(body.format("10.0.0.1"))
    assert server.data("a.example.") == ["10.0.0.1"]
    server.write(".:$PORT {\n nonsense\n}\n")
    server.process.send_signal(signal.SIGUSR1)
    line = server.wait_for("plugin/reload: Corefile changed but reload failed")
    assert "Unknown directive 'nonsense'" in line
    assert server.data("a.example.") == ["10.0.0.1"]
    server.write(".:$PORT {\n hosts {\n")
    server.process.send_signal(signal.SIGUSR1)
    line = server.wait_for("[WARNING] plugin/reload: Corefile parse failed")
    assert "Unexpected EOF, expecting '}'" in line
    server.write(body.format("10.0.0.2"))
    server.process.send_signal(signal.SIGUSR1)
    server.wait_for("Reloading complete")
    assert server.data("a.example.") == ["10.0.0.2"]


def test_a_ring_of_forwards_ends_the_process_with_the_reason(start_dns):
    server = start_dns(".:$PORT {\n loop\n forward . 127.0.0.1:$PORT\n}\n")
    line = server.wait_for("[FATAL] plugin/loop: Loop (127.0.0.1:")
    assert 'detected for zone "."' in line
    assert server.process.wait(30) == 1


@pytest.mark.parametrize(
    ("corefile", "message"),
    [
        (". {\n foo\n}\n", ":2 - Error during parsing: Unknown directive 'foo'"),
        (". {\n kubernetes\n}\n", "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be"),
        (None, "No such file or directory"),
    ],
)
def test_what_cannot_be_served_ends_with_code_1(tmp_path, corefile, message):
    path = tmp_path / "Corefile"
    if corefile is not None:
        path.write_text(corefile)
    code = (
        "import sys; from k8slab.embedded.dns.server import main; "
        "sys.exit(main(['-conf', sys.argv[1]], {}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stdout


def test_bytes_that_are_no_question_are_survived(start_dns):
    server = start_dns(".:$PORT {\n hosts {\n  10.0.0.1 a.example\n }\n}\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.connect(("127.0.0.1", server.port))
        sock.send(b"x")
        sock.send(b"\xab\xcd\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1")
        assert sock.recv(512)[:4] == b"\xab\xcd\x80\x01"  # FORMERR
        for opcode, rest in ((2, b""), (5, b"\1x")):  # STATUS; UPDATE, whose records are empty
            query = wire.write(wire.Message(id=1, flags=opcode << 11, name="a.example."))
            sock.send(query + rest)
            flags = 1 << 15 | opcode << 11 | wire.NOTIMP
            assert sock.recv(512) == struct.pack("!6H", 1, flags, 0, 0, 0, 0)
        question = wire.write(wire.Message(id=1, name="a.example."))[12:]
        long = b"\x3f" + b"a" * 63
        for counts, rest in (
            ((2, 0, 0, 0), question * 2),
            ((0, 0, 0, 0), b""),
            ((1, 2, 0, 0), question * 3),
            ((1, 0, 0, 0), long * 4 + b"\0\0\1\0\1"),  # a name of 257 bytes
            ((1, 0, 0, 0), b"\1a\xc0\x0c\0\1\0\1"),  # which never ends
        ):
            sock.send(struct.pack("!6H", 1, 0, *counts) + rest)
            assert sock.recv(512) == struct.pack("!6H", 1, 1 << 15 | wire.FORMERR, 0, 0, 0, 0)
    assert server.data("a.example.") == ["10.0.0.1"]


def test_a_notify_is_answered_as_a_question_and_nothing_of_it_is_kept_for_others(start_dns):
    hosts = "hosts {\n  10.0.0.1 a.example\n }"
    with Upstream() as upstream:
        forward = f"cache\n forward . 127.0.0.1:{upstream.port}"
        for plugins in (hosts, f"cache\n {hosts}", forward):
            server = start_dns(f".:$PORT {{\n {plugins}\n}}\n")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(30)
                sock.connect(("127.0.0.1", server.port))
                for opcode in (wire.NOTIFY, 0, wire.NOTIFY):
                    flags = opcode | wire.RD
                    sock.send(wire.write(wire.Message(id=1, flags=flags, name="a.example.")))
                    answer = wire.read(sock.recv(512))
                    assert (answer.rcode, len(answer.answers)) == (wire.NOERROR, 1)
                    assert answer.flags & (wire.QR | wire.OPCODE) == wire.QR | opcode
                    # The bit is copied from queries alone, as Go's package dns does it.
                    assert upstream.asked or bool(answer.flags & wire.RD) == (not opcode)
        assert len(upstream.asked) == 2  # the first one, and the question


def test_a_version_of_edns_that_nobody_knows_is_told(start_dns):
    server = start_dns(".:$PORT {\n hosts {\n  10.0.0.1 a.example\n }\n}\n")
    answer = server.ask("a.example.", use_edns=1)
    assert (answer.rcode(), answer.edns, answer.answer) == (dns.rcode.BADVERS, 0, [])
    assert server.ask("a.example.", use_edns=0).rcode() == dns.rcode.NOERROR


def test_other_classes_are_refused_but_where_the_server_forwards_and_are_never_mixed_up(start_dns):
    server = start_dns(".:$PORT {\n hosts {\n  10.0.0.1 a.example\n }\n cache\n}\n")
    for klass in ("CH", "HS", "ANY"):
        assert server.ask("a.example.", rdclass=klass).rcode() == dns.rcode.REFUSED
    assert server.data("a.example.") == ["10.0.0.1"]
    with Upstream() as upstream:
        server = start_dns(f".:$PORT {{\n forward . 127.0.0.1:{upstream.port}\n cache\n}}\n")
        query = wire.Message(id=1, klass=3, name="b.example.")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(30)
            sock.connect(("127.0.0.1", server.port))
            sock.send(wire.write(query))
            answer = sock.recv(512)
        assert wire.read(answer).rcode == wire.NOERROR
        assert answer.count(b"\0\1\0\3") == 2  # of the question, and of the record
        assert server.data("b.example.") == ["203.0.113.9"]
        assert upstream.asked == ["b.example."] * 2


def test_repeated_answers_keep_the_id_and_are_counted(start_dns):
    server = start_dns(
        ".:$PORT {\n prometheus 127.0.0.1:$METRICS\n hosts {\n  10.0.0.1 a.example\n }\n}\n"
    )
    ids = [server.ask("a.example.").id for _ in range(20)]
    assert len(set(ids)) > 1  # dnspython refuses an answer whose id is not the question's
    _, text = page(server.ports["METRICS"], "/metrics")
    line = next(each for each in text.splitlines() if each.startswith("coredns_dns_requests_total"))
    assert line.endswith(" 20")


def test_it_needs_no_import_once_it_runs(api, start_dns):
    """A pod has no files of ours: whatever would still be imported must not be needed."""
    program = (
        "import os, sys; from k8slab.embedded.dns.server import main\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        os.write(1, f'LATE IMPORT {name}\\n'.encode()); return None\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "sys.exit(main(sys.argv[1:], dict(os.environ)))"
    )
    api.put("services", service("web"))
    with Upstream() as upstream:
        corefile = CLUSTER.replace(
            "loadbalance", f"loadbalance\n log\n cache\n loop\n forward . 127.0.0.1:{upstream.port}"
        )
        server = start_dns(corefile, api.environment(), program=program)
        wait_ready(server)
        assert server.data(WEB, tcp=True) == ["10.96.1.1"]
        assert server.data("www.example.com.") == ["203.0.113.9"]
        page(server.ports["METRICS"], "/metrics")
    server.process.terminate()
    rest, _ = server.process.communicate(timeout=30)
    assert "LATE IMPORT" not in "\n".join(server.lines) + rest.decode()
    assert server.process.returncode == 0
