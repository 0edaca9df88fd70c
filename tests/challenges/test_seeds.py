"""Which challenge somebody gets."""

import math
from types import SimpleNamespace

import pytest

from k8slab.challenges import seeds
from k8slab.challenges.catalogue import injectable
from k8slab.challenges.recipe import level_and_needs
from k8slab.challenges.seeds import Choice, pick, seed_of
from k8slab.errors import UsageError

SHAPE = {"ipv4", "two-workers"}
EVERYTHING = SHAPE | {"agents", "load-balancer", "nodes", "probe", "small-conntrack", "world"}


def own():
    return 1234


def test_class_and_learner_always_give_the_same_challenge_and_others_another():
    anna = Choice(course="spring", learner="anna")
    assert seed_of(anna, own, 0) == seed_of(anna, own, 0)
    others = [Choice(course="spring", learner="boris"), Choice(course="autumn", learner="anna")]
    assert len({seed_of(one, own, 0) for one in [anna, *others]}) == 3


def test_class_and_learner_are_the_same_challenge_however_often_it_was_begun_before():
    anna = Choice(course="spring", learner="anna")
    assert {seed_of(anna, own, number) for number in range(5)} == {seed_of(anna, lambda: 99, 0)}


def test_a_given_seed_is_taken_as_it_is():
    assert seed_of(Choice(seed=0, learner="anna"), own, 5) == 0


def test_without_names_the_sequence_is_the_learners_own():
    assert seed_of(Choice(), own, 1) == seed_of(Choice(), own, 1) != seed_of(Choice(), own, 2)
    assert seed_of(Choice(), own, 1) != seed_of(Choice(), lambda: 99, 1)


def test_a_seed_picks_among_the_faults_of_a_level():
    for level in seeds.LEVELS:
        found = {pick(Choice(level=level), seed, EVERYTHING).id for seed in range(300)}
        assert found == {one.id for one in injectable() if level_and_needs(one)[0] == level}


def test_a_fault_and_another_level_are_no_choice():
    with pytest.raises(UsageError, match="F01 is of level 1, not 3"):
        pick(Choice(fault="F01", level=3), 1, EVERYTHING)
    assert pick(Choice(fault="F01", level=1), 1, EVERYTHING).id == "F01"


def test_a_cluster_gets_no_fault_that_it_cannot_have():
    found = {pick(Choice(), seed, {"probe"}).id for seed in range(400)}
    assert found == {one.id for one in injectable() if not level_and_needs(one)[1]}
    with pytest.raises(UsageError, match="needs what this cluster has not: agents"):
        pick(Choice(fault="F16"), 1, {"probe"} | SHAPE)
    with pytest.raises(UsageError, match="not: small-conntrack") as refused:
        pick(Choice(fault="F18"), 1, EVERYTHING - {"small-conntrack"})
    assert "nf_conntrack_max" in refused.value.hint
    with pytest.raises(UsageError, match="no fault of level 3"):
        pick(Choice(level=3), 1, {"probe"})


LESS = [
    EVERYTHING - {"small-conntrack"},
    EVERYTHING - {"two-workers"},
    EVERYTHING - {"ipv4", "small-conntrack"},
]


@pytest.mark.parametrize("less", LESS)
@pytest.mark.parametrize("level", [0, *seeds.LEVELS])
def test_another_cluster_gets_the_same_fault_wherever_it_can_have_it(less, level):
    choice = Choice(level=level)
    for seed in range(200):
        full = pick(choice, seed, EVERYTHING)
        if level_and_needs(full)[1] <= less:
            assert pick(choice, seed, less) == full


@pytest.mark.parametrize(
    "wrong",
    [{"level": 4}, {"minutes": -1}, {"minutes": math.nan}, {"minutes": math.inf}, {"seed": -1}],
)
def test_a_choice_that_cannot_be_is_refused(wrong):
    with pytest.raises(UsageError):
        Choice(**wrong)


def a_node(name, *addresses, taint=False):
    taints = {"taints": [{"key": "node-role.kubernetes.io/control-plane"}]} if taint else {}
    told = [{"type": "InternalIP", "address": one} for one in addresses]
    metadata = {"name": name}
    return {"kind": "Node", "metadata": metadata, "spec": taints, "status": {"addresses": told}}


@pytest.mark.parametrize(
    ("addresses", "workers", "has"),
    [
        (["172.18.0.2"], 2, {"ipv4", "two-workers"}),
        (["172.18.0.2", "fd00::2"], 1, {"ipv4"}),
        (["fd00::2"], 2, {"two-workers"}),
    ],
)
def test_what_a_cluster_can_have_follows_from_its_nodes_too(addresses, workers, has):
    nodes = [a_node(f"worker{number}", *addresses) for number in range(workers)]
    nodes.append(a_node("control-plane", *addresses, taint=True))
    cluster = SimpleNamespace(capabilities=frozenset({"nodes"}), list=lambda _: nodes)
    assert seeds.possible(cluster) == {"nodes"} | has


def test_a_fault_that_is_asked_for_says_what_the_shape_of_the_cluster_lacks():
    with pytest.raises(UsageError, match="not: two-workers") as refused:
        pick(Choice(fault="F24"), 1, EVERYTHING - {"two-workers"})
    assert "--nodes 3" in refused.value.hint
    with pytest.raises(UsageError, match="not: ipv4") as refused:
        pick(Choice(fault="F06"), 1, EVERYTHING - {"ipv4"})
    assert "--ip-family" in refused.value.hint


def test_a_fault_whose_recipe_names_two_nodes_needs_two_or_does_with_one():
    """On one worker the words <<worker>> and <<worker2>> are the same node."""
    alike = {"F13", "F14", "F18"}  # both nodes get the same, or one node is enough
    named = {one.id for one in injectable() if "<<worker2>>" in one.recipe.read_text("utf-8")}
    assert {"F08", "F16", "F20", "F23"} <= named
    needing = {one.id for one in injectable() if "two-workers" in level_and_needs(one)[1]}
    assert named - alike <= needing


@pytest.mark.parametrize("fault", ["F15", "F24", "F43"])
def test_what_changes_rules_or_routes_of_ipv4_needs_it(fault):
    """Tables `ip` are those of IPv4, and `ip route flush` means IPv4 (ip-route(8))."""
    with pytest.raises(UsageError, match="not: ipv4"):
        pick(Choice(fault=fault), 1, EVERYTHING - {"ipv4"})
