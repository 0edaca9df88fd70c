"""Rollouts keep their promises: never too many pods, never too few that serve."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8slab.embedded.controllers import rollout
from k8slab.embedded.controllers.rollout import Limits, Set

LIMITS = {
    "percent: surge up, unavailable down": ((10, "25%", "25%"), (3, 2)),
    "one replica": ((1, "25%", "25%"), (1, 0)),
    "both zero lets one be unavailable": ((4, 0, 0), (0, 1)),
    "both zero by rounding": ((3, "0%", "25%"), (0, 1)),
    "numbers": ((4, 2, 1), (2, 1)),
    "no more unavailable than there are": ((2, 0, 5), (0, 2)),
    "no replicas": ((0, "25%", "25%"), (0, 0)),
}


@pytest.mark.parametrize(("given_", "wanted"), LIMITS.values(), ids=LIMITS)
def test_limits(given_, wanted):
    made = rollout.limits(*given_)
    assert (made.surge, made.unavailable) == wanted


def test_the_new_set_grows_by_the_surge_first():
    new, old = Set(name="new", replicas=0), Set(name="old", replicas=4, available=4)
    assert rollout.rolling(new, [old], Limits(replicas=4, surge=1)) == {"new": 1}


def test_the_old_set_shrinks_when_new_pods_serve():
    new, old = Set(name="new", replicas=1, available=1), Set(name="old", replicas=4, available=4)
    assert rollout.rolling(new, [old], Limits(replicas=4, surge=1)) == {"old": 3}


def test_old_pods_that_do_not_serve_go_first():
    new = Set(name="new", replicas=1)
    broken = Set(name="broken", replicas=2)
    good = Set(name="good", replicas=3, available=3)
    limits = Limits(replicas=4, surge=2, unavailable=1)
    assert rollout.rolling(new, [good, broken], limits) == {"broken": 0}


def test_recreate_waits_until_the_last_old_pod_is_gone():
    new, old = Set(name="new", replicas=0), Set(name="old", replicas=2)
    assert rollout.recreate(new, [old], 2, old_pods=2) == {"old": 0}
    gone = replace(old, replicas=0)
    assert rollout.recreate(new, [gone], 2, old_pods=1) == {}
    assert rollout.recreate(new, [gone], 2, old_pods=0) == {"new": 2}


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.integers(0, 40),
    st.integers(0, 5),
)
def test_a_change_of_size_is_shared_exactly(sizes, replicas, surge):
    sets = [Set(name=str(number), replicas=size) for number, size in enumerate(sizes)]
    allowed = Limits(replicas=replicas, surge=surge)
    changes = rollout.proportional(sets, allowed)
    after = [changes.get(one.name, one.replicas) for one in sets]
    assert all(size >= 0 for size in after)
    if sum(sizes):
        assert sum(after) == (allowed.most if replicas else 0)


@given(st.data())
def test_a_rolling_update_keeps_its_limits_and_ends(data):
    """Play a whole update: pods become available in any order, and some old ones break."""
    replicas = data.draw(st.integers(0, 12))
    values = st.one_of(st.integers(0, 4), st.integers(0, 100).map(lambda n: f"{n}%"))
    allowed = rollout.limits(replicas, data.draw(values), data.draw(values))
    broken = data.draw(st.integers(0, min(replicas, allowed.unavailable)))
    old = Set(name="old", replicas=replicas, available=replicas - broken)
    new = Set(name="new", replicas=0)
    for _ in range(200):
        changes = rollout.rolling(new, [old], allowed)
        if "new" in changes:
            new = replace(new, replicas=changes["new"])
        if "old" in changes:
            gone = old.replicas - changes["old"]
            unhealthy = old.replicas - old.available
            old = replace(
                old,
                replicas=changes["old"],
                available=old.available - max(0, gone - unhealthy),
            )
        assert new.replicas + old.replicas <= allowed.most
        assert new.available + old.available >= min(allowed.fewest, replicas - broken)
        if not changes and new.available == new.replicas:
            break
        if new.available < new.replicas:
            step = data.draw(st.integers(1, new.replicas - new.available))
            new = replace(new, available=new.available + step)
    assert (new.replicas, old.replicas) == (replicas, 0)
