"""The bounds of the check `distribution`: their arithmetic, and what they tell apart."""

import random
from fractions import Fraction
from math import comb

import pytest

from k8slab.errors import UsageError
from k8slab.grading import spread
from k8slab.grading.spread import FALSE_FAILURE, POWER, plan

CASES = [(0.5, 0.5), (1 / 3,) * 3, (0.1,) * 10, (0.9, 0.1)]


def tails(count, share):
    """Return exact probabilities of each number of hits, as fractions."""
    share = Fraction(share).limit_denominator(1000)
    return [
        comb(count, hits) * share**hits * (1 - share) ** (count - hits) for hits in range(count + 1)
    ]


@pytest.mark.parametrize("shares", CASES[:2])
def test_a_fair_spread_is_refused_less_than_once_in_a_million(shares):
    wanted = plan(shares)
    refused = Fraction(0)
    for share, (low, high) in zip(shares, wanted.bounds, strict=True):
        exact = tails(wanted.requests, share)
        refused += sum(exact[:low]) + sum(exact[high + 1 :])
    assert refused < FALSE_FAILURE


@pytest.mark.parametrize("shares", CASES[:2])
def test_half_a_share_is_noticed_with_the_power_that_is_stated(shares):
    wanted = plan(shares)
    for share, (low, _) in zip(shares, wanted.bounds, strict=True):
        assert sum(tails(wanted.requests, share / 2)[:low]) > POWER
    assert 1 - 2 * (1 - POWER) >= 0.99


@pytest.mark.parametrize("shares", CASES)
def test_a_pod_that_gets_nothing_is_always_noticed(shares):
    assert all(low > 0 for low, _ in plan(shares).bounds)


@pytest.mark.parametrize("shares", CASES)
def test_fair_draws_lie_within_the_bounds(shares):
    wanted = plan(shares)
    draw = random.Random(7)
    for _ in range(50):
        hits = draw.choices(range(len(shares)), shares, k=wanted.requests)
        counts = [hits.count(number) for number in range(len(shares))]
        assert all(
            low <= count <= high for count, (low, high) in zip(counts, wanted.bounds, strict=True)
        )


def test_one_pod_alone_must_answer_everything():
    wanted = plan((1.0,))
    assert wanted.bounds == ((wanted.requests, wanted.requests),)


@pytest.mark.parametrize("pods", [2, 3, 10])
def test_a_random_spread_sticks_to_one_pod_less_than_once_in_a_million(pods):
    chance = pods * Fraction(1, pods) ** spread.sticking(pods)
    assert FALSE_FAILURE / pods**2 < chance < FALSE_FAILURE


def test_shares_that_cannot_be_told_apart_are_refused():
    with pytest.raises(UsageError, match="too many"):
        plan((0.0001, 0.9999))


def test_a_spec_is_judged():
    ask = {"from": "a", "url": "http://b"}
    assert spread.fault({**ask, "pods": "app=b"}) == ""
    assert spread.fault({**ask, "sticks": "app=b"}) == ""
    assert spread.fault(ask) == "needs one of pods, shares and sticks"
    assert spread.fault({**ask, "pods": "a=b", "sticks": "a=b"}).startswith("needs one of")
    assert "above 0" in spread.fault({**ask, "shares": {"app=a": 0}})
