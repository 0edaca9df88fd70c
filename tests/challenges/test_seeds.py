"""Which challenge somebody gets."""

import pytest

from k8slab.challenges import seeds
from k8slab.challenges.catalogue import injectable
from k8slab.challenges.recipe import level_and_needs
from k8slab.challenges.seeds import Choice, pick, seed_of
from k8slab.errors import UsageError

EVERYTHING = {"agents", "load-balancer", "nodes", "probe", "small-conntrack", "world"}


def own():
    return 1234


def test_class_and_learner_always_give_the_same_challenge_and_others_another():
    anna = Choice(course="spring", learner="anna")
    assert seed_of(anna, own, 0) == seed_of(anna, own, 0)
    others = [Choice(course="spring", learner="boris"), Choice(course="autumn", learner="anna")]
    found = {seed_of(one, own, number) for one in [anna, *others] for number in range(3)}
    assert len(found) == 9


def test_a_given_seed_is_taken_as_it_is():
    assert seed_of(Choice(seed=0, learner="anna"), own, 5) == 0


def test_without_names_the_sequence_is_the_learners_own():
    assert seed_of(Choice(), own, 1) == seed_of(Choice(), own, 1) != seed_of(Choice(), own, 2)
    assert seed_of(Choice(), own, 1) != seed_of(Choice(), lambda: 99, 1)


def test_a_seed_picks_among_the_faults_of_a_level():
    for level in seeds.LEVELS:
        found = {pick(Choice(level=level), seed, EVERYTHING).id for seed in range(300)}
        assert found == {one.id for one in injectable() if level_and_needs(one)[0] == level}


def test_a_cluster_gets_no_fault_that_it_cannot_have():
    found = {pick(Choice(), seed, {"probe"}).id for seed in range(400)}
    assert found == {one.id for one in injectable() if not level_and_needs(one)[1]}
    with pytest.raises(UsageError, match="needs what this cluster has not: agents"):
        pick(Choice(fault="F16"), 1, {"probe"})
    with pytest.raises(UsageError, match="not: small-conntrack") as refused:
        pick(Choice(fault="F18"), 1, EVERYTHING - {"small-conntrack"})
    assert "nf_conntrack_max" in refused.value.hint
    with pytest.raises(UsageError, match="no fault of level 3"):
        pick(Choice(level=3), 1, {"probe"})


@pytest.mark.parametrize("wrong", [{"level": 4}, {"minutes": -1}, {"seed": -1}])
def test_a_choice_that_cannot_be_is_refused(wrong):
    with pytest.raises(UsageError):
        Choice(**wrong)
