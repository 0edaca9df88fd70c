"""Which capabilities a container keeps."""

import pytest

from k8slab.embedded.runtime.capabilities import DEFAULT, NAMES, choose, mask
from k8slab.errors import UsageError


def test_the_default_set_is_the_usual_one():
    assert choose(privileged=False) == DEFAULT
    assert not {"NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"} & DEFAULT


def test_capabilities_are_added_and_dropped_with_or_without_prefix():
    found = choose(privileged=False, add=["net_admin"], drop=["CAP_NET_RAW"])
    assert found == (DEFAULT | {"NET_ADMIN"}) - {"NET_RAW"}


def test_all_means_all():
    assert choose(privileged=False, add=["ALL"]) == frozenset(NAMES)
    assert choose(privileged=False, drop=["ALL"]) == frozenset()
    assert choose(privileged=False, drop=["ALL"], add=["NET_RAW"]) == {"NET_RAW"}
    assert choose(privileged=True, drop=["ALL"]) == frozenset(NAMES)


def test_an_unknown_name_is_told():
    with pytest.raises(UsageError, match="unknown capability NET_AMDIN"):
        choose(privileged=False, add=["NET_AMDIN"])


def test_a_mask_has_one_bit_for_each_capability_by_its_number():
    assert mask(["CHOWN", "DAC_OVERRIDE", "CHECKPOINT_RESTORE"]) == 1 | 2 | 1 << 40
    assert mask([]) == 0
