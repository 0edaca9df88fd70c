import pytest

from k8slab.errors import UsageError
from k8slab.notebook.ranges import explain_range


def test_a_range_shows_its_fixed_bits_and_who_is_in_it():
    assert explain_range("10.1.2.0/25", "10.1.2.200", "10.1.2.3") == (
        "10.1.2.0/25  00001010.00000001.00000010.0|0000000\n"
        "10.1.2.200   00001010.00000001.00000010.1|1001000  not in the range\n"
        "10.1.2.3     00001010.00000001.00000010.0|0000011  in the range\n"
        "25 bits are fixed (left of |): 128 addresses, 10.1.2.0 to 10.1.2.127"
    )


def test_a_bar_stands_where_a_group_ends_too():
    assert "00001010.11110100|00000000.00000000" in explain_range("10.244.0.0/16")


@pytest.mark.parametrize("text", ["10.1.2.1/25", "ten", "10.0.0.0/33"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(UsageError, match="a range is written like"):
        explain_range(text)
