"""Corefiles are read, and refused, in CoreDNS' words."""

import pytest

from k8slab.embedded.dns.catalogue import Catalogue
from k8slab.embedded.dns.chain import Plan
from k8slab.embedded.dns.corefile import DEFAULT, CorefileError, parse
from k8slab.embedded.dns.metrics import Metrics
from k8slab.embedded.dns.plugins import PLUGINS, RELOAD_SECONDS, build


def plan():
    return Plan(catalogue=Catalogue(), metrics=Metrics(), file="Corefile", say=lambda _: None)


def build_text(text):
    made = plan()
    return [build(block, made) for block in parse(text, file="Corefile")], made


def test_the_default_corefile_is_served(tmp_path):
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 172.18.0.1\nsearch x\n")
    sites, made = build_text(DEFAULT.replace("/etc/resolv.conf", str(resolv)))
    assert [site.block.zones for site in sites] == [(".",)]
    assert made.lameduck == 5
    assert made.reload_seconds == RELOAD_SECONDS
    assert made.health == [":8080"]
    assert made.ready == [":8181"]
    assert made.prometheus == [":9153"]
    assert made.needs == {"services", "endpointslices", "namespaces"}


def test_a_block_may_have_several_zones_and_ports():
    blocks = parse("corp.test, Example.com:1053 dns://a.b {\n errors\n}\n")
    assert [(block.zones, block.port) for block in blocks] == [
        (("corp.test.", "a.b."), 53),
        (("example.com.",), 1053),
    ]


def test_an_address_range_as_zone_is_its_reverse_zone():
    assert parse("10.0.0.0/8 {\n}\n")[0].zones == ("10.in-addr.arpa.",)
    assert parse("192.168.1.0/24 {\n}\n")[0].zones == ("1.168.192.in-addr.arpa.",)


def test_comments_and_quotes_are_understood():
    (block,) = parse('. { # all\n  log . "{remote} {name}" # how\n}\n')
    assert block.directives[0].arguments == (".", "{remote} {name}")


ERRORS = [
    (". {\n  errors\n  foo\n}\n", "Corefile:3 - Error during parsing: Unknown directive 'foo'"),
    (". {\n errors\n", "Corefile:2 - Error during parsing: Unexpected EOF, expecting '}'"),
    ("errors\n", "Corefile:1 - Error during parsing: Unknown directive 'errors'"),
    (
        ". {\n cache {\n  nonsense\n }\n}\n",
        "plugin/cache: Corefile:3 - Error during parsing: unknown",
    ),
    (". {\n forward .\n}\n", "plugin/forward: Corefile:2 - Error during parsing: Wrong argument"),
    (". {\n forward . example.com\n}\n", "not an IP address or file"),
    (". {\n forward . 1.1.1.1 {\n  policy best\n }\n}\n", "Corefile:3 .*unknown policy 'best'"),
    (". {\n forward . /no/such/file\n}\n", "open /no/such/file: no such file or directory"),
    (". {\n kubernetes {\n  pods maybe\n }\n}\n", "plugin/kubernetes: Corefile:3 .*pods"),
    (". {\n kubernetes {\n  ttl 9999\n }\n}\n", r"ttl must be in range \[0, 3600\]"),
    (". {\n health {\n  lameduck 5\n }\n}\n", "missing unit in duration"),
    (". {\n reload 1s\n}\n", "greater or equal to 2s"),
    (". {\n rewrite name a\n}\n", "plugin/rewrite: Corefile:2"),
    (". {\n rewrite name regex ( b\n}\n", "invalid regex"),
    (". {\n hosts {\n  10.0.0.1.2 a\n }\n}\n", "plugin/hosts: Corefile:3"),
    (". {\n template\n}\n", "Corefile:2 - .*plugin 'template' is not part of this server"),
    (". {\n log {\n  class most\n }\n}\n", "plugin/log: Corefile:3"),
    (". {\n}\n. {\n}\n", "Corefile:3 - .*cannot serve dns://.:53 - it is already defined"),
    (".:99999 {\n}\n", "invalid port"),
    (". {\n forward . 1.1.1.1 { policy random }\n}\n", "Corefile:2 - .*Unexpected"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_a_wrong_corefile_is_refused_with_its_line(text, message):
    with pytest.raises(CorefileError, match=message):
        build_text(text)


def test_plugins_are_chained_in_their_own_order_not_the_files():
    text = ". {\n forward . 127.0.0.1\n hosts {\n  10.0.0.1 a.example\n }\n log\n cache\n}\n"
    (site,), made = build_text(text)
    lines = []
    made.say = lines.append
    order = list(PLUGINS)
    assert order.index("log") < order.index("cache") < order.index("hosts") < order.index("forward")
    assert not site.storable
