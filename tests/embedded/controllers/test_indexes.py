"""Sets of numbers as runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8slab.embedded.controllers.indexes import Indexes

MOST = 2**31 - 1


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([0], "0"), ([2, 0, 1], "0-2"), ([0, 1], "0,1"), ([0, 2, 3, 4, 7], "0,2-4,7")],
)
def test_numbers_are_written_as_the_status_of_a_job_has_them(numbers, text):
    assert str(Indexes().including(numbers)) == text


@given(st.sets(st.integers(0, 40)), st.integers(0, 40), st.integers(0, 50))
def test_runs_are_the_set_of_their_numbers(numbers, limit, count):
    found = Indexes().including(numbers)
    assert len(found) == len(numbers)
    assert Indexes.parse(str(found), MOST) == found
    assert len(Indexes.parse(str(found), limit)) == sum(1 for n in numbers if n < limit)
    assert found.missing(limit, count) == [n for n in range(limit) if n not in numbers][:count]


def test_what_is_no_number_in_a_status_is_passed_over():
    assert str(Indexes.parse("0,x,3-5,7-,-", 5)) == "0,3,4"


def test_two_thousand_million_numbers_cost_as_much_as_their_gaps():
    found = Indexes.parse(f"0-{MOST}", MOST).including([])
    assert len(found) == MOST
    assert found.missing(MOST, 500) == []
    assert Indexes().including([1]).missing(MOST, 3) == [0, 2, 3]
