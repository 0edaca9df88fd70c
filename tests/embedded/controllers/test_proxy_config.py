"""What a kube-proxy reads of its ConfigMap."""

import pytest

from k8slab.embedded.controllers.proxy_config import min_sync_period, seconds_in
from k8slab.errors import UsageError


class Holding:
    """An API with one ConfigMap, or none."""

    def __init__(self, data=None):
        self.data = data

    def get(self, resource, name, namespace):
        assert (resource, name, namespace) == ("configmaps", "kube-proxy", "kube-system")
        return None if self.data is None else {"data": self.data}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("1s", 1), ("0s", 0), ("500ms", 0.5), ("1m0s", 60), ("1m30.5s", 90.5), ("null", 0)],
)
def test_a_duration_is_read_as_go_writes_it(written, seconds):
    assert seconds_in(f"mode: nftables\nnftables:\n  minSyncPeriod: {written}\n") == seconds


def test_what_iptables_mode_would_wait_does_not_count():
    assert seconds_in("iptables: {minSyncPeriod: 5s}") == 0
    assert seconds_in("nftables: null\n") == 0


@pytest.mark.parametrize("written", ["fast", "1", "-1s", "1 s", "1h"])
def test_what_is_no_duration_is_named(written):
    with pytest.raises(UsageError, match="minSyncPeriod"):
        seconds_in(f"nftables: {{minSyncPeriod: {written}}}")


@pytest.mark.parametrize("text", ["{", "- nftables", "nftables: fast", "just words"])
def test_what_is_no_configuration_is_named(text):
    with pytest.raises(UsageError, match=r"config\.conf"):
        seconds_in(text)


def test_a_wait_of_hours_is_a_mistake():
    with pytest.raises(UsageError, match="above 300 s"):
        seconds_in("nftables: {minSyncPeriod: 90m}")


@pytest.mark.parametrize("data", [None, {}, {"kubeconfig.conf": "x"}])
def test_without_a_configuration_nothing_waits(data):
    assert min_sync_period(Holding(data)) == 0


def test_the_configuration_of_the_cluster_is_found():
    assert min_sync_period(Holding({"config.conf": "nftables: {minSyncPeriod: 2s}"})) == 2
