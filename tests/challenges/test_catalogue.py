"""The catalogue and its recipes: complete, readable, and without anything that gives away."""

import itertools
import random
import re

import pytest
from challenges_kit import evidence_for, seed_of, variants

from k8slab.challenges import catalogue, recipe
from k8slab.challenges.catalogue import FOLLOWS, INJECTABLE, TOLD
from k8slab.challenges.diagnosis import judge
from k8slab.challenges.words import PARTIES, typo, words
from k8slab.course.names import fill
from k8slab.errors import UsageError
from k8slab.objects import meta
from k8slab.probes import Outcome
from k8slab.probes.journey import Packet

NODES = ["test-worker", "test-worker2"]
ALL = catalogue.injectable()
SEEDS = range(12)


def test_the_catalogue_has_every_fault_of_the_course_in_one_state():
    entries = catalogue.entries()
    assert [*entries] == [f"F{number:02}" for number in range(1, 46)]
    for one in entries.values():
        assert one.state in (INJECTABLE, TOLD, FOLLOWS)
        assert not (one.told and one.follows), one.id
        assert one.where in catalogue.PROVIDERS, one.id


def test_a_fault_has_a_recipe_if_and_only_if_it_can_be_injected():
    files = {path.stem for path in catalogue.RECIPES.glob("*.yaml")}
    assert files == {one.id for one in ALL}


def test_what_is_told_only_is_refused_with_its_reason():
    with pytest.raises(UsageError, match=r"F17.*legacy iptables"):
        catalogue.entry("f17")
    with pytest.raises(UsageError, match="follows with lab 06"):
        catalogue.entry("F40")
    with pytest.raises(UsageError, match="no fault 'F99'"):
        catalogue.entry("F99")


@pytest.mark.parametrize("entry", ALL, ids=lambda one: one.id)
def test_a_recipe_can_be_read_for_any_seed(entry):
    for seed in SEEDS:
        case = recipe.read(entry, seed, words(seed, NODES))
        level, needs = recipe.level_and_needs(entry)
        assert case.level == level
        assert needs <= {*case.needs}
        assert case.causes
        assert case.task
        assert case.symptom.wants or case.symptom.checks
        for pattern in case.evidence:
            re.compile(pattern)
        assert evidence_for(case)
        if case.lost is not None and case.lost.packet == Packet():
            (lost,) = (want for want in case.symptom.wants if want.flow == case.lost.flow)
            assert not lost.fulfilled_by(Outcome.OPEN)
            assert lost.fulfilled_by(Outcome.SILENT)


def test_a_cluster_gets_no_variant_that_it_cannot_have():
    local = catalogue.entry("F08")
    for seed in SEEDS:
        case = recipe.read(local, seed, words(seed, NODES), {"probe"})
        assert "world" not in case.needs
    assert any("world" in recipe.read(local, seed, words(seed, NODES)).needs for seed in SEEDS)


@pytest.mark.parametrize("entry", ALL, ids=lambda one: one.id)
def test_nothing_in_the_cluster_tells_which_fault_it_is(entry):
    case = recipe.read(entry, 1, words(1, NODES))
    for obj in case.setup:
        assert entry.id not in str(obj)
        assert entry.fault not in str(obj)
        assert not meta.annotations_of(obj)


@pytest.mark.parametrize("entry", ALL, ids=lambda one: one.id)
def test_a_task_tells_a_complaint_and_not_the_cause(entry):
    for seed in SEEDS:
        case = recipe.read(entry, seed, words(seed, NODES))
        assert case.fault.fault.lower() not in case.task.lower()
        for cause in case.causes:
            assert cause.field not in case.task


COMMANDS = re.split(
    r"\s{2,}",
    """
    kubectl get svc,endpointslice,pods -o wide    kubectl describe networkpolicy    kubectl logs
    kubectl get deploy -o yaml    curl -v http://localhost    curl -m 60    ss -tn    ss -lnt    dig
    nft list ruleset    nft list table ip kube-proxy    nft list map ip kube-proxy service-ips
    nft list table ip network-policy    nft list chain ip kube-proxy mark-for-masquerade
    ip route    ip route get    ip rule    ip link    ip addr    conntrack -L -p udp    conntrack -S
    cat /proc/sys/net/netfilter/nf_conntrack_count    sysctl net.netfilter.nf_conntrack_max
    k8slab agents    k8slab trace    ping -M do -s 1472    cat /etc/resolv.conf    nslookup
    ls /etc/cni/net.d    openssl s_client -connect
""".strip(),
)
WORDS = re.findall(
    r"\S+",
    """
    affinity blackhole certificate cni conntrack cordon db dropped egress frag http hostPort
    host-local ingress ipBlock localhost loop masquerade minSyncPeriod ndots network-policy nft
    nameserver NXDOMAIN open ports preStop refused selector service-ips SSL stopped subject
    succeeded targetPort terminating time-out timeout via
""",
)


@pytest.mark.parametrize("entry", ALL, ids=lambda one: one.id)
def test_no_evidence_is_what_a_diagnosis_names_anyway(entry):
    """Only what a command printed is evidence: not the object, its field, the task, a command."""
    for seed in SEEDS:
        case = recipe.read(entry, seed, words(seed, NODES))
        causes = [text for one in case.causes for text in (one.object, one.field)]
        names = [name for one in case.causes for name in one.object.split("/")]
        for told in (case.task, *causes, *names, *COMMANDS, *WORDS, " ".join(causes)):
            assert not judge(case, "", "", told.strip()).evidence, told


@pytest.mark.parametrize(
    ("fault", "variant", "printed"),
    [
        ("F01", 0, "Type: ClusterIP\nEndpoints:           \nEvents: <none>\n"),
        ("F02", 0, '{"restartCount": 0, "ready": false}'),
        ("F04", 0, "Port: http  80/TCP\nTargetPort:  http/TCP\nEndpoints:\nEvents: <none>\n"),
        ("F15", 0, "chain mark-for-masquerade {\n}"),
        ("F16", 0, "<<worker2>>  running  stopped  running  running"),
        ("F27", 0, '"spec": {"replicas": 0, "selector": {}}'),
        ("F28", 0, "search shop.svc.cluster.local svc.cluster.local\noptions ndots:5\n"),
        ("F32", 0, "  egress:\n  - ports:\n    - port: 8123\n"),
        ("F34", 1, "  - from:\n    - podSelector:\n        matchLabels:\n"),
        ("F43", 0, "<<worker>> running running stopped running"),
    ],
)
def test_evidence_is_taken_in_the_forms_in_which_commands_print_it(fault, variant, printed):
    entry = catalogue.entry(fault)
    seed = seed_of(variant, variants(entry))
    found = words(seed, NODES)
    text = fill(printed, found, fault)
    assert judge(recipe.read(entry, seed, found), "", "", text).evidence


@pytest.mark.parametrize(
    ("fault", "told", "field"),
    [
        ("F06", "services/<<store>>", "spec.ports[0].name"),
        ("F16", "node/<<worker2>>", "rules"),
        ("F24", "node/<<worker>>", "kube-proxy"),
        ("F28", "deploy/<<client>>", "spec.template.spec.dnsConfig"),
    ],
)
def test_every_way_to_see_what_a_recipe_broke_is_right(fault, told, field):
    entry = catalogue.entry(fault)
    seed = seed_of(0, variants(entry))
    found = words(seed, NODES)
    assert judge(recipe.read(entry, seed, found), fill(told, found, fault), field, "").right


def test_names_and_numbers_differ_with_the_seed_and_never_among_themselves():
    for seed in SEEDS:
        found = words(seed, NODES)
        names = [found[role] for role in PARTIES]
        assert len({*names}) == len(names)
        assert {found["worker"], found["worker2"]} == {*NODES}
        assert found == words(seed, NODES)
    pairs = itertools.pairwise(words(seed, NODES) for seed in SEEDS)
    assert all(one["namespace"] != other["namespace"] for one, other in pairs)


def test_a_slip_of_the_fingers_is_always_another_word():
    for name in itertools.chain(*PARTIES.values()):
        for seed in range(20):
            wrong = typo(name, random.Random(seed))
            assert wrong != name
            assert sorted(wrong) == sorted(name)


@pytest.mark.parametrize("entry", ALL, ids=lambda one: one.id)
def test_only_on_a_cluster_of_ones_own_anything_outside_of_the_namespaces_is_broken(entry):
    """On a cluster of others (`existing`) there is no shell on nodes, and no fault for all."""
    case = recipe.read(entry, 1, words(1, NODES))
    wide = any({"namespace", "node", "agent"} & {*action} for action in case.inject)
    assert not wide or {"nodes", "agents"} & {*case.needs}


def test_an_answer_names_what_mends_this_cluster_and_not_one_word_for_something_else():
    """F11 said "L7 cookie" and F09 "provider", where a field of the Service is to be changed."""
    words = {"F09": "class", "F11": "sessionAffinity", "F12": "as here", "F34": "one dash"}
    for fault, said in words.items():
        assert said in catalogue.entry(fault).fix


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("F14", "destination 10.96.0.9:53 becomes 10.244.1.61:53, as the connection table has it"),
        ("F19", "LOST: it has 1428 bytes, and eth0 takes 1300 at most (its MTU)"),
    ],
)
def test_what_a_journey_shows_of_a_lost_packet_is_evidence(fault, line):
    case = recipe.read(catalogue.entry(fault), 1, words(1, NODES))
    cause = case.causes[0]
    assert judge(case, cause.object, cause.field, line).evidence
