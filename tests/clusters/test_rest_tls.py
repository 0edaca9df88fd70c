"""TLS as a cluster has it: a CA of its own, a client certificate, a name in the certificate."""

import datetime as dt
import ipaddress
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from k8slab.clusters.kubeconfig import Credentials
from k8slab.clusters.rest import Rest
from k8slab.errors import ClusterNotReadyError


def issue(name, ca=None, names=()):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca[0].subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if ca:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca[1].public_key())
        builder = builder.add_extension(issuer, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(ca[1] if ca else key, hashes.SHA256()), key


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class WhoAmI(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        subject = self.connection.getpeercert()["subject"]
        data = json.dumps(subject[0][0][1]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Give a server that wants a client certificate, and credentials for it."""
    directory = tmp_path_factory.mktemp("pki")
    ca = issue("ca")
    server = issue(
        "api", ca, [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("kubernetes")]
    )
    client = issue("learner", ca)
    (directory / "server.pem").write_bytes(pem(server[0]) + key_pem(server[1]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    context.load_verify_locations(cadata=pem(ca[0]).decode())
    context.verify_mode = ssl.CERT_REQUIRED
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), WhoAmI)
    httpd.daemon_threads = True
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    httpd.handle_error = lambda *_: None  # refused handshakes are what the tests provoke
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield {
        "server": f"https://127.0.0.1:{httpd.server_port}",
        "ca": pem(ca[0]),
        "certificate": pem(client[0]),
        "key": key_pem(client[1]),
    }
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_the_client_certificate_says_who_we_are(world):
    rest = Rest(Credentials(**world))
    assert rest.get("/whoami") == "learner"
    rest.close()


def test_a_server_of_another_ca_is_refused(world):
    other, _ = issue("other")
    with pytest.raises(ClusterNotReadyError, match="certificate verify failed"):
        Rest(Credentials(**{**world, "ca": pem(other)})).get("/whoami")


def test_another_server_name_is_checked_where_one_is_given(world):
    rest = Rest(Credentials(**world, server_name="kubernetes"))
    assert rest.get("/whoami") == "learner"
    rest.close()
    with pytest.raises(ClusterNotReadyError, match="mismatch"):
        Rest(Credentials(**world, server_name="other.example")).get("/whoami")
