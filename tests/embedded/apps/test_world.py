"""The world outside, in network namespaces of its own, by real packets."""

import json
import subprocess
import sys
from ipaddress import ip_address

import pytest

from k8slab.embedded import wire
from k8slab.embedded.apps import world_certificates
from k8slab.embedded.apps.world_names import NameServer
from k8slab.embedded.config import WORLD_HOSTS, world_hosts

# Makes the namespaces, starts the world, and prints what programs in each namespace got.
SCRIPT = """
import json, os, signal, socket, subprocess, sys
from k8slab.embedded import linux
from k8slab.embedded.apps.world import main
from k8slab.embedded.config import WORLD_HOSTS

directory = sys.argv[1]
spaces = {}
for network in ("internet", "corp"):
    spaces[network] = linux.new_netns()
    with linux.in_netns(spaces[network]):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for host in WORLD_HOSTS:
            if host.network == network:
                size = "/128" if ":" in host.address else "/32"
                subprocess.run(
                    ["ip", "address", "add", host.address + size, "dev", "lo"], check=True)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
heard, said = os.pipe()
world = os.fork()
if world == 0:
    os.dup2(said, 1)
    files = ["--cert", directory + "/world.crt", "--key", directory + "/world.key"]
    environment = {f"K8SLAB_FD_{name.upper()}": str(fd) for name, fd in spaces.items()}
    versions = ["--ip-version=4", "--ip-version=6"]
    code = main([*files, "--resolver", "127.0.0.1", *versions], environment)
    os._exit(code)
assert b"the world outside" in os.read(heard, 4096)

def run(network, command, text=None):
    def inside():
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=10).stdout
    if network == "router":
        return inside()
    with linux.in_netns(spaces[network]):
        return inside()

results = [run(*each) for each in json.loads(sys.argv[2])]
os.kill(world, signal.SIGTERM)
_, status = os.waitpid(world, 0)
print(json.dumps({"results": results, "code": os.waitstatus_to_exitcode(status)}))
"""


def curl(*words):
    return ["curl", "-sS", "--max-time", "5", *words]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Run every command once in one world; return the outputs by title, and its exit code."""
    directory = tmp_path_factory.mktemp("world")
    world_certificates.make_world_certificates(directory)
    ca = str(directory / "world-ca.crt")
    resolve = ["--resolve", "api.example.net:443:198.51.100.10"]
    commands = {
        "web": ["internet", curl("http://203.0.113.10/a?b")],
        "web over IPv6": ["internet", curl("http://[2001:db8:113::10]/")],
        "json": ["internet", curl("-H", "Accept: application/json", "http://203.0.113.20/")],
        "https": ["internet", curl("--cacert", ca, *resolve, "https://api.example.net/")],
        "wiki": ["corp", curl("http://192.168.1.20/")],
        "dns": ["internet", ["dig", "+short", "@203.0.113.53", "www.example.com"]],
        "dns over tcp": ["internet", ["dig", "+tcp", "+short", "@203.0.113.53", "example.org"]],
        "dns over IPv6": [
            "internet",
            ["dig", "+short", "@2001:db8:113::53", "example.org", "AAAA"],
        ],
        "corporate dns": ["corp", ["dig", "+short", "@192.168.1.53", "db.corp.test"]],
        "router": ["router", ["dig", "+short", "@127.0.0.1", "cdn.example.net"]],
        "database": ["corp", ["nc", "-w", "5", "192.168.1.10", "5432"], "select 1\nquit\n"],
    }
    arguments = [str(directory), json.dumps(list(commands.values()))]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return dict(zip(commands, told["results"], strict=True)) | {"code": told["code"]}


def test_web_servers_say_who_they_are_and_whom_they_saw(answers):
    lines = answers["web"].splitlines()
    assert lines[0] == "site: example.com"
    assert lines[2].startswith("you are: 203.0.113.10:")
    assert lines[3] == "request: GET http://203.0.113.10/a?b"
    assert answers["web over IPv6"].splitlines()[2].startswith("you are: [2001:db8:113::10]:")
    assert json.loads(answers["json"])["site"] == "example.org"
    assert answers["wiki"].startswith("site: wiki.corp.test\nnetwork: corp\n")


def test_https_is_trusted_by_who_trusts_the_worlds_authority(answers):
    assert answers["https"].startswith("site: api.example.net\n")
    assert "https://api.example.net/" in answers["https"]


def test_names_are_answered_in_each_network_and_by_the_router(answers):
    assert answers["dns"] == "203.0.113.10\n"
    assert answers["dns over tcp"] == "203.0.113.20\n"
    assert answers["dns over IPv6"] == "2001:db8:113::20\n"
    assert answers["corporate dns"] == "192.168.1.10\n"
    assert answers["router"] == "198.51.100.20\n"


def test_the_database_greets_and_answers_with_the_address_it_saw(answers):
    greeting, answer = answers["database"].splitlines()
    assert greeting.startswith("db.corp.test legacy database ready, you are: 192.168.1.10:")
    assert answer == "OK 1 row: 'select 1' asked by 192.168.1.10"


def test_the_world_leaves_at_sigterm(answers):
    assert answers["code"] == 0


def ask(network, name, kind="A", versions=(4, 6)):
    return NameServer(network, world_hosts(versions)).answer(
        wire.Message(name=name, type=wire.TYPES[kind])
    )


@pytest.mark.parametrize("host", [host for host in WORLD_HOSTS if host.network != "laptop"])
def test_every_host_of_the_table_has_its_names_both_ways(host):
    kind = "AAAA" if ":" in host.address else "A"
    for name in host.names:
        assert [r.data for r in ask(host.network, f"{name}.", kind).answers] == [host.address]
    reverse = f"{ip_address(host.address).reverse_pointer}."
    assert [r.data for r in ask(host.network, reverse, "PTR").answers] == [f"{host.names[0]}."]


def test_a_name_may_spell_its_address():
    (record,) = ask("corp", "192-0-2-7.ip.corp.test.").answers
    assert record.data == "192.0.2.7"


@pytest.mark.parametrize(
    ("network", "name", "kind", "rcode", "answers"),
    [
        ("internet", "example.com.", "NS", wire.NOERROR, 1),
        ("internet", "example.com.", "MX", wire.NOERROR, 1),
        ("internet", "example.com.", "TXT", wire.NOERROR, 1),
        ("internet", "example.com.", "SOA", wire.NOERROR, 1),
        ("internet", "example.com.", "AAAA", wire.NOERROR, 1),
        ("internet", "192-0-2-7.ip.example.net.", "A", wire.NOERROR, 1),
        ("internet", "192-0-2-7.ip.example.net.", "AAAA", wire.NOERROR, 0),
        ("internet", "192-0-2-700.ip.example.net.", "A", wire.NXDOMAIN, 0),
        ("internet", "192-0-2-7.ip.corp.test.", "A", wire.NXDOMAIN, 0),
        ("internet", "no.example.com.", "A", wire.NXDOMAIN, 0),
        ("internet", "wiki.corp.test.", "A", wire.NXDOMAIN, 0),
        ("internet", "web.shop.svc.cluster.local.", "A", wire.NXDOMAIN, 0),
        ("corp", "no.corp.test.", "A", wire.NXDOMAIN, 0),
        ("corp", "example.com.", "A", wire.REFUSED, 0),
    ],
)
def test_what_is_there_is_answered_and_what_is_not_denied_with_the_right_code(
    network, name, kind, rcode, answers
):
    reply = ask(network, name, kind)
    assert (reply.rcode, len(reply.answers)) == (rcode, answers)
    soa = [record.type for record in reply.authority]
    assert soa == ([wire.SOA] if not answers and rcode != wire.REFUSED else [])


@pytest.mark.parametrize(
    ("network", "name", "zone"),
    [
        ("internet", "ip.example.net.", "example.net."),
        ("corp", "ip.corp.test.", "corp.test."),
        ("internet", "net.", "."),
        ("internet", ".", "."),
        ("internet", "113.0.203.in-addr.arpa.", "in-addr.arpa."),
        ("corp", "1.168.192.in-addr.arpa.", "in-addr.arpa."),
    ],
)
def test_a_name_with_nothing_but_names_below_it_exists(network, name, zone):
    reply = ask(network, name)
    assert (reply.rcode, reply.answers) == (wire.NOERROR, ())
    assert [(r.type, r.name) for r in reply.authority] == [(wire.SOA, zone)]


def test_the_corporate_server_does_not_know_what_is_above_its_zone():
    assert ask("corp", "test.").rcode == ask("corp", "ip.example.net.").rcode == wire.REFUSED
    assert ask("internet", "nic.").rcode == ask("internet", "ip.net.").rcode == wire.NXDOMAIN


def test_the_key_is_private_and_certificates_are_made_once(tmp_path):
    first = world_certificates.make_world_certificates(tmp_path)
    assert (tmp_path / "world.key").stat().st_mode & 0o777 == 0o600
    assert world_certificates.make_world_certificates(tmp_path) == first


def test_the_world_of_a_cluster_with_one_family_has_no_address_of_the_other():
    assert not ask("internet", "example.com.", "AAAA", versions=[4]).answers
    assert not ask("internet", "example.com.", "A", versions=[6]).answers
    assert ask("internet", "example.com.", "AAAA", versions=[6]).answers
