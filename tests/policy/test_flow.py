import pytest

from k8slab.errors import UsageError
from k8slab.policy import Flow, Party


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("web", "shop/web"),
        ("pod:web", "shop/web"),
        ("other/web", "other/web"),
        ("deployment/web", "shop/deployment/web"),
        ("other/deployment/web", "other/deployment/web"),
        ("svc:web", "svc:shop/web"),
        ("svc:other/web", "svc:other/web"),
        ("node:n1", "node:n1"),
        ("ip:10.0.0.1", "ip:10.0.0.1"),
        ("ip:fd00::0001", "ip:fd00::1"),
        ("name:example.com", "name:example.com"),
        ("world:internet", "world:internet"),
    ],
)
def test_a_party_is_read_and_written_in_one_form(text, again):
    party = Party.parse(text, "shop")
    assert str(party) == again
    assert Party.parse(again) == party


@pytest.mark.parametrize("text", ["", "pod:", "a/b/c", "/web", "svc:a/b/c", "ip:web", "a/job/b/c"])
def test_what_is_no_party_is_refused(text):
    with pytest.raises(UsageError):
        Party.parse(text)


@pytest.mark.parametrize(("port", "protocol"), [(0, "TCP"), (65536, "TCP"), (80, "ICMP")])
def test_an_impossible_flow_is_refused(port, protocol):
    with pytest.raises(UsageError):
        Flow.of("a", "b", port, protocol)
