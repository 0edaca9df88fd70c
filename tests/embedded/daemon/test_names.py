"""Names are resolved as the C library of a pod would."""

import struct

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8slab.embedded.daemon.exchanges import Result
from k8slab.embedded.daemon.names import Lookup, ResolvConf, query, read_answer, resolve

CLUSTER = ResolvConf.parse(
    "search default.svc.cluster.local svc.cluster.local cluster.local\n"
    "nameserver 10.96.0.10\noptions ndots:5 edns0\n"
)


class Server:
    """Answers like a name server that knows a few names; records what it was asked."""

    def __init__(self, known, *, deaf=(), failing=()):
        self.known, self.deaf, self.failing, self.asked = known, deaf, failing, []

    def __call__(self, exchanges):
        return [self.answer(each) for each in exchanges]

    def answer(self, exchange):
        if exchange.address in self.deaf:
            return Result(outcome="silent", detail="no answer within 1 s")
        message = dns.message.from_wire(exchange.payload)
        [question] = message.question
        name, kind = question.name.to_text(), question.rdtype.name
        self.asked.append((exchange.address, name, kind))
        response = dns.message.make_response(message)
        records = self.known.get(name)
        if exchange.address in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif records is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif kind in records:
            for target in records.get("CNAME", ()):
                response.answer.append(dns.rrset.from_text(name, 30, "IN", "CNAME", target))
            response.answer.append(dns.rrset.from_text(name, 30, "IN", kind, *records[kind]))
        return Result(outcome="open", data=response.to_wire())


def look_up(server, name, conf=CLUSTER):
    [answer] = resolve([Lookup(3, "pod", conf, name)], server)
    return answer


def test_resolv_conf_is_read_as_the_manual_page_says():
    conf = ResolvConf.parse(
        "# comment\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\n"
        "nameserver 4.4.4.4\ndomain a.test\nsearch b.test c.test\noptions ndots:99 rotate\n"
    )
    assert conf == ResolvConf(("1.1.1.1", "2.2.2.2", "3.3.3.3"), ("b.test", "c.test"), 15)
    assert ResolvConf.parse("").ndots == 1


@pytest.mark.parametrize(
    ("name", "first", "count"),
    [
        ("web", "web.default.svc.cluster.local.", 4),
        ("web.shop", "web.shop.default.svc.cluster.local.", 4),
        ("example.com.", "example.com.", 1),
        ("a.b.c.d.e.f", "a.b.c.d.e.f.", 4),
    ],
)
def test_the_search_list_comes_first_below_ndots(name, first, count):
    candidates = CLUSTER.candidates(name)
    assert (candidates[0], len(candidates)) == (first, count)


def test_a_service_of_another_namespace_is_found_by_the_second_search_domain():
    server = Server({"web.shop.svc.cluster.local.": {"A": ["10.96.3.4"]}})
    assert look_up(server, "web.shop").addresses == ("10.96.3.4",)
    assert [name for _, name, _ in server.asked] == [
        "web.shop.default.svc.cluster.local.",
        "web.shop.svc.cluster.local.",
    ]


def test_an_outside_name_costs_the_whole_search_list():
    server = Server({"example.com.": {"A": ["203.0.113.10"]}})
    assert look_up(server, "example.com").addresses == ("203.0.113.10",)
    assert len(server.asked) == 4


def test_an_alias_is_followed_by_the_server_and_only_addresses_count():
    records = {"CNAME": ["real.test."], "A": ["192.0.2.1"]}
    server = Server({"alias.test.": records})
    assert look_up(server, "alias.test.").addresses == ("192.0.2.1",)


def test_a_name_with_an_address_of_the_other_family_only_is_found():
    server = Server({"six.test.": {"AAAA": ["fd00::1"]}})
    assert look_up(server, "six.test.").addresses == ("fd00::1",)


def test_an_unknown_name_is_told_with_the_name_as_it_was_asked():
    answer = look_up(Server({}), "nowhere")
    assert answer.addresses == ()
    assert answer.problem == "nowhere: NXDOMAIN"


def test_the_second_name_server_is_asked_when_the_first_is_silent():
    conf = ResolvConf(("10.0.0.1", "10.0.0.2"))
    server = Server({"x.test.": {"A": ["192.0.2.7"]}}, deaf={"10.0.0.1"})
    assert look_up(server, "x.test.", conf).addresses == ("192.0.2.7",)
    server = Server({}, deaf={"10.0.0.1", "10.0.0.2"})
    assert "10.0.0.1 did not answer" in look_up(server, "x.test.", conf).problem


def test_a_name_server_that_cannot_answer_leaves_each_question_to_the_next_one():
    two = ResolvConf.parse("search a.test\nnameserver 1.1.1.1\nnameserver 2.2.2.2\n")
    server = Server({"web.": {"A": ["10.0.0.1"]}}, failing={"1.1.1.1"})
    assert look_up(server, "web", two).addresses == ("10.0.0.1",)
    asked = [(address, name) for address, name, _ in server.asked]
    assert asked == [
        (address, name) for name in ("web.a.test.", "web.") for address in ("1.1.1.1", "2.2.2.2")
    ]
    answer = look_up(Server({}, failing={"1.1.1.1"}, deaf={"2.2.2.2"}), "web", two)
    assert answer.problem == "web: no address (DNS code 2)"


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, "a b", "ü.test"])
def test_what_is_no_name_is_not_asked(name):
    server = Server({})
    assert "is not a name" in look_up(server, name).problem
    assert server.asked == []


def test_without_a_name_server_nothing_resolves():
    assert "no name server" in look_up(Server({}), "x", ResolvConf()).problem


def test_a_query_is_what_dnspython_reads():
    message = dns.message.from_wire(query(7, "web.default.svc.cluster.local.", 28))
    assert message.id == 7
    assert message.question[0].to_text() == "web.default.svc.cluster.local. IN AAAA"


@given(st.binary(max_size=80))
def test_no_answer_however_broken_raises(data):
    code, addresses = read_answer(data, 1)
    assert isinstance(code, int)
    assert isinstance(addresses, list)


def test_a_cut_off_answer_is_no_answer():
    whole = Server({"x.": {"A": ["1.2.3.4"]}}).answer(
        type("E", (), {"address": "", "payload": query(1, "x.", 1)})
    )
    assert read_answer(whole.data, 1) == (0, ["1.2.3.4"])
    assert read_answer(whole.data[:-2], 1) == (1, [])
    assert read_answer(struct.pack(">HHHHHH", 1, 0x8183, 0, 0, 0, 0), 1) == (3, [])
