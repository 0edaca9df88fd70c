"""The web app by real HTTP, UDP and TCP."""

import contextlib
import http.client
import json
import select
import signal
import socket
import ssl
import time

import pytest

from k8slab.embedded.apps import world_authority, world_certificates
from k8slab.embedded.config import WorldHost
from tests.embedded.apps.conftest import running
from tests.embedded.processes import free_port

ENVIRONMENT = {
    "POD_NAME": "web-a",
    "POD_NAMESPACE": "shop",
    "NODE_NAME": "worker",
    "POD_IP": "10.244.1.5",
}


def get(port, path="/", method="GET", body=None, headers=None, host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def web():
    """One app for all tests that do not change it."""
    ports = {
        "http": free_port(),
        "second": free_port(),
        "udp": free_port(socket.SOCK_DGRAM),
        "tcp": free_port(),
    }
    argv = ["--port", ports["http"], f"--port={ports['second']}"]
    argv += ["--udp", ports["udp"], "--tcp", ports["tcp"]]
    with running("k8slab.embedded.apps.web", *argv, environment=ENVIRONMENT) as app:
        app.ports = ports
        app.port = ports["http"]
        yield app


def test_with_a_host_other_names_are_unknown():
    port = free_port()
    argv = ["--port", port, "--host", "shop.test"]
    with running("k8slab.embedded.apps.web", *argv, environment=ENVIRONMENT):
        assert get(port, "/hostname", headers={"Host": f"shop.test:{port}"}) == (200, "web-a\n")
        status, told = get(port, "/hostname", headers={"Host": "alias"})
        assert (status, told) == (404, "alias is no site of this server\n")


def test_the_first_page_says_who_where_and_whom_it_saw(web):
    with socket.create_connection(("127.0.0.1", web.port)) as sock:
        client = f"127.0.0.1:{sock.getsockname()[1]}"
        sock.sendall(b"GET /cart?x=1 HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\n\r\n")
        answer = sock.makefile().read()
    page = answer.partition("\n\n")[2]
    facts = dict(line.split(": ", 1) for line in page.splitlines())
    assert facts == {
        "pod": "web-a",
        "namespace": "shop",
        "node": "worker",
        "ip": "10.244.1.5",
        "port": str(web.port),
        "you are": client,
        "request": "GET /cart?x=1",
        "host": "web.shop",
    }
    assert web.wait_for("/cart") == f"{client} GET /cart?x=1 200"


def test_json_says_the_same_with_the_headers(web):
    status, body = get(web.port, "/a%20b?q=1", headers={"Accept": "application/json", "X-A": "b"})
    page = json.loads(body)
    assert status == 200
    assert (page["pod"], page["path"], page["query"]) == ("web-a", "/a b", {"q": "1"})
    assert page["headers"]["X-A"] == "b"
    assert page["client"]["ip"] == "127.0.0.1"
    assert json.loads(get(web.port, "/json")[1])["node"] == "worker"


def test_it_answers_on_every_port_and_by_ipv6(web):
    assert f"port: {web.ports['second']}" in get(web.ports["second"])[1]
    if socket.has_ipv6:
        assert "you are: [::1]:" in get(web.port, host="::1")[1]


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/healthz", 200, "ok\n"),
        ("/readyz", 200, "ok\n"),
        ("/hostname", 200, "web-a\n"),
        ("/status/503", 503, "status 503\n"),
        ("/status/204", 204, ""),
        ("/status/9", 400, "use /status/CODE, 200 to 599\n"),
        ("/echo?msg=hello%20you", 200, "hello you\n"),
        ("/header?key=Host", 200, None),
        ("/delay/x", 400, None),
        ("/bytes/9999999999", 400, None),
        ("/exit/999", 400, None),
        ("/ready/maybe", 404, None),
    ],
)
def test_each_path_answers_what_it_says(web, path, status, body):
    got = get(web.port, path)
    assert got[0] == status
    assert body is None or got[1] == body


def test_a_body_is_echoed_whole_or_in_chunks(web):
    assert get(web.port, "/echo", "POST", b"x" * 100_000) == (200, "x" * 100_000)
    pieces = iter([b"one ", b"two ", b"three"])
    assert get(web.port, "/echo", "PUT", pieces) == (200, "one two three")


def test_the_environment_can_be_read(web):
    assert "POD_NAMESPACE=shop\n" in get(web.port, "/env")[1]


def test_a_delay_holds_up_nobody_else(web):
    with socket.create_connection(("127.0.0.1", web.port)) as slow:
        slow.sendall(b"GET /delay/60000 HTTP/1.1\r\n\r\n")
        assert get(web.port, "/hostname")[0] == 200
        assert select.select([slow], [], [], 0) == ([], [], [])
    start = time.monotonic()
    assert get(web.port, "/delay/300")[0] == 200
    assert time.monotonic() - start >= 0.3


def test_a_connection_is_kept_and_requests_may_be_sent_ahead(web):
    with socket.create_connection(("127.0.0.1", web.port)) as sock:
        sock.sendall(
            b"GET /status/201 HTTP/1.1\r\n\r\nGET /delay/50 HTTP/1.1\r\n\r\n"
            b"GET /status/203 HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
        answer = sock.makefile().read()
    codes = [line.split()[1] for line in answer.splitlines() if line.startswith("HTTP/1.1")]
    assert codes == ["201", "200", "203"]


def test_http_1_0_is_closed_after_the_answer(web):
    with socket.create_connection(("127.0.0.1", web.port)) as sock:
        sock.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
        assert sock.makefile().read().endswith("web-a\n")


def test_head_has_no_body(web):
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    connection.request("HEAD", "/hostname")
    response = connection.getresponse()
    assert (response.getheader("Content-Length"), response.read()) == ("6", b"")
    connection.close()


def test_expect_100_continue_is_answered_before_the_body(web):
    with socket.create_connection(("127.0.0.1", web.port)) as sock:
        sock.sendall(b"PUT /echo HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"hi")
        assert sock.recv(1000).endswith(b"hi")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000, 431),
        (b"PUT /echo HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n", 413),
        (b"PUT /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n", 413),
        (b"PUT /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
    ],
)
def test_what_breaks_a_bound_or_the_grammar_is_refused(web, request_, code):
    with socket.create_connection(("127.0.0.1", web.port)) as sock:
        sock.sendall(request_)
        assert sock.recv(1000).startswith(b"HTTP/1.1 %d " % code)
        assert sock.recv(1000) == b""
    assert get(web.port)[0] == 200


def test_slow_and_many_clients_do_not_block_others(web):
    idle = []
    try:
        for _ in range(600):
            sock = socket.create_connection(("127.0.0.1", web.port))
            sock.sendall(b"GET / HTTP/1.1\r\nHost:")
            idle.append(sock)
        reader = socket.create_connection(("127.0.0.1", web.port))
        idle.append(reader)
        reader.sendall(b"GET /bytes/50000000 HTTP/1.1\r\n\r\n")  # and reads nothing
        start = time.monotonic()
        assert get(web.port, "/hostname") == (200, "web-a\n")
        assert time.monotonic() - start < 20
        idle[0].sendall(b" x\r\nConnection: close\r\n\r\n")
        assert idle[0].makefile().read().startswith("HTTP/1.1 200 OK")
    finally:
        for sock in idle:
            sock.close()


def test_a_long_answer_arrives_whole(web):
    status, body = get(web.port, "/bytes/3000001")
    assert (status, len(body)) == (200, 3_000_001)


def test_udp_tells_what_it_got_and_knows_the_words_of_agnhost(web):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.connect(("127.0.0.1", web.ports["udp"]))
        me = f"127.0.0.1:{sock.getsockname()[1]}"

        def ask(text):
            sock.send(text)
            return sock.recv(2000).decode()

        assert ask(b"hi there") == f"pod: web-a\nyou are: {me}\nyou said: hi there\n"
        assert ask(b"hostname") == "web-a"
        assert ask(b"clientip") == me
        assert ask(b"echo a b") == "a b"


def test_tcp_greets_first_and_then_answers_lines(web):
    with socket.create_connection(("127.0.0.1", web.ports["tcp"])) as sock:
        file = sock.makefile("rw")
        assert file.readline().startswith("pod: web-a you are: 127.0.0.1:")
        file.write("one\ntwo\n")
        file.flush()
        assert file.readline() == f"tcp/{web.ports['tcp']} got: one\n"
        assert file.readline() == f"tcp/{web.ports['tcp']} got: two\n"
        file.write("three\nquit\nfour\n")
        file.flush()
        assert file.read() == f"tcp/{web.ports['tcp']} got: three\n"


def test_probes_of_the_kubelet_do_not_fill_the_log(web):
    get(web.port, "/healthz?quiet", headers={"User-Agent": "kube-probe/1.37"})
    get(web.port, "/healthz?heard")
    web.wait_for("/healthz?heard")
    assert not any("quiet" in line for line in web.lines)


def test_readiness_and_health_fail_on_request(start_web):
    port = free_port()
    start_web("--port", port)
    assert get(port, "/ready/off", "POST")[0] == 200
    assert get(port, "/ready")[:1] == (503,)
    assert [get(port, path)[0] for path in ("/readyz", "/healthz")] == [503, 200]
    get(port, "/ready/on")
    get(port, "/health/off")
    assert [get(port, path)[0] for path in ("/readyz", "/healthz")] == [200, 503]


def test_it_can_be_told_to_exit_with_a_code(start_web):
    port = free_port()
    app = start_web("--port", port)
    assert get(port, "/exit/3") == (200, "exit 3\n")
    assert app.process.wait(30) == 3


def test_who_is_connected_when_it_is_told_to_end_is_still_answered(start_web):
    port = free_port()
    patient = "from k8slab.embedded.apps import http; http.FAREWELL_SECONDS = 60"
    app = start_web("--port", port, prelude=patient)
    request = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"

    def connected(stack, said=b""):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        client.sendall(said)
        return client

    with contextlib.ExitStack() as stack:
        served = connected(stack, request % b"/hostname")
        assert served.recv(1000).startswith(b"HTTP/1.1 200 OK")
        slow = connected(stack, request % b"/delay/3000")
        halfway = connected(stack, b"GET /host")
        get(port, "/hostname")  # all of these have been accepted
        app.process.send_signal(signal.SIGTERM)
        assert served.recv(1000) == b""
        halfway.sendall((request % b"/hostname")[9:])
        for client in (halfway, slow):
            answer = client.makefile().read()
            assert answer.startswith("HTTP/1.1 200 OK")
            assert "\nConnection: close\n" in answer
        with pytest.raises(ConnectionRefusedError):
            connected(stack)
        assert app.process.wait(30) == 0


def test_who_comes_just_before_the_end_is_answered(start_web):
    port = free_port()
    patient = "from k8slab.embedded.apps import http; http.FAREWELL_SECONDS = 60"
    app = start_web("--port", port, prelude=patient)
    app.process.send_signal(signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            for _ in range(100)
        ]
        for client in clients:
            client.sendall(b"GET /hostname HTTP/1.1\r\nHost: x\r\n\r\n")
        app.process.send_signal(signal.SIGTERM)
        app.process.send_signal(signal.SIGCONT)
        for client in clients:
            assert client.makefile().read().startswith("HTTP/1.1 200 OK")
    assert app.process.wait(30) == 0


def test_sigterm_ends_it_at_once(start_web):
    port = free_port()
    app = start_web("--port", port)
    with socket.create_connection(("127.0.0.1", port)):
        start = time.monotonic()
        assert app.stop()[0] == 0
        assert time.monotonic() - start < 10


def test_ports_may_come_from_the_environment(start_web):
    first, second = free_port(), free_port()
    start_web(environment={"PORTS": f"{first},{second}", "POD_NAME": "p"})
    assert get(second, "/hostname")[1] == "p\n"


def test_https_is_served_with_a_given_certificate(start_web, tmp_path, monkeypatch):
    hosts = [WorldHost("internet", "127.0.0.1", ("localhost",), "web")]
    monkeypatch.setattr(world_authority, "WORLD_HOSTS", hosts)
    world_certificates.make_world_certificates(tmp_path)
    port = free_port()
    files = ("--cert", tmp_path / "world.crt", "--key", tmp_path / "world.key")
    start_web("--tls", port, *files)
    context = ssl.create_default_context(cafile=str(tmp_path / "world-ca.crt"))

    def fetch(path):
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    with socket.create_connection(("127.0.0.1", port)) as silent:  # never shakes hands
        assert json.loads(fetch("/json"))["scheme"] == "https"
        assert len(fetch("/bytes/2000000")) == 2_000_000
        silent.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert not silent.recv(1000).startswith(b"HTTP")
    assert fetch("/status/200")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prot", "80"], "unknown option --prot"),
        (["--port", "99999"], "a port is a number from 1 to 65535"),
        (["--tls", "8443"], "--tls needs --cert and --key"),
        (["--mode", "apache"], "unknown mode apache"),
        (["--mode", "agnhost", "nettest"], "nettest is not part of the imitation"),
    ],
)
def test_a_wrong_command_line_is_explained_with_code_2(argv, message):
    with running("k8slab.embedded.apps.web", *argv, until=message) as app:
        assert app.process.wait(30) == 2


def test_a_taken_port_is_explained_with_code_1():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with running("k8slab.embedded.apps.web", "--port", number, until="cannot listen") as app:
            assert f"tcp [::]:{number}" in app.lines[-1] or f"0.0.0.0:{number}" in app.lines[-1]
            assert app.process.wait(30) == 1


def test_agnhost_netexec_and_pause(start_web):
    port, udp = free_port(), free_port(socket.SOCK_DGRAM)
    arguments = ("netexec", f"--http-port={port}", "--udp-port", udp)
    start_web("--mode", "agnhost", *arguments, environment={"POD_NAME": "p"})
    assert get(port, "/hostname")[1] == "p\n"
    assert get(port, "/clientip")[1].startswith("127.0.0.1:")
    paused = start_web("--mode", "agnhost", "pause", until="pausing")
    assert paused.stop()[0] == 0


def test_nginx_serves_its_page_or_the_files_that_are_mounted(start_web, tmp_path):
    port = free_port()
    prelude = (
        "from k8slab.embedded.apps import imitations\n"
        f"init = imitations.Files.__init__\n"
        "imitations.Files.__init__ = "
        f"lambda self, root, page, server: init(self, {str(tmp_path)!r}, page, server)"
    )
    app = start_web("--mode=nginx", "--port", port, prelude=prelude)
    assert "Welcome to nginx!" in get(port)[1]
    assert get(port, "/missing")[0] == 404
    assert get(port, "/", "POST")[0] == 405
    (tmp_path / "index.html").write_text("mine")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("text")
    assert get(port)[1] == "mine"
    assert get(port, "/sub/a.txt") == (200, "text")
    assert get(port, "/../../../etc/passwd")[0] == 404
    assert get(port, "/%2e%2e/%2e%2e/etc/passwd")[0] == 404
    assert '"GET /sub/a.txt HTTP/1.1" 200 4' in app.wait_for("/sub/a.txt")


def test_http_echo_and_whoami(start_web):
    echo, whoami = free_port(), free_port()
    start_web("--mode", "http-echo", "-text=hello", f"-listen=:{echo}")
    start_web("--mode", "whoami", "--port", whoami, "--name=w")
    assert get(echo) == (200, "hello\n")
    assert get(whoami, "/x")[1].startswith("Name: w\nHostname: ")
    assert "\nGET /x HTTP/1.1\n" in get(whoami, "/x")[1]


def test_it_needs_no_import_once_it_runs(start_web):
    """A pod has no files of ours: whatever would still be imported must not be needed."""
    port, tcp, udp = free_port(), free_port(), free_port(socket.SOCK_DGRAM)
    prelude = (
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        os.write(1, f'LATE IMPORT {name}\\n'.encode())\n"
        "sys.meta_path.insert(0, Refuse())"
    )
    app = start_web("--port", port, "--tcp", tcp, "--udp", udp, prelude=prelude)
    for path in ("/", "/json", "/delay/1", "/status/404", "/bytes/9", "/env", "/echo?msg=x"):
        get(port, path)
    socket.create_connection(("127.0.0.1", tcp)).close()
    code, rest = app.stop()
    assert code == 0
    assert "LATE IMPORT" not in "\n".join(app.lines) + rest
