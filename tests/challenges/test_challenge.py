"""A challenge on a real cluster: what counts, what is sealed, what comes back."""

import pytest

from k8slab import challenges
from k8slab.challenges import Choice, current, start
from k8slab.challenges.beginning import mend
from k8slab.course.journal import Journal
from k8slab.errors import ClusterError, UsageError

SEED = 4711


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal.sqlite")


@pytest.fixture
def typo(cluster, journal):
    found = start(cluster, Choice(fault="F01", seed=SEED), journal=journal)
    yield found
    if (left := current(cluster, journal=journal)) is not None:
        left.stop()


def named(challenge, **other):
    cause = challenge.case.causes[0]
    wanted = {"object": cause.object, "field": cause.field, "evidence": challenge.case.evidence[0]}
    return challenge.diagnose(**(wanted | other))


def test_setting_the_scene_up_anew_without_a_diagnosis_gives_half(cluster, typo):
    mend(cluster, typo.case)
    score = typo.check()
    assert (score.points, score.cause) == (5, 0)
    assert named(typo).right
    assert typo.check().points == 10


def test_breaking_something_else_costs_a_point(cluster, typo):
    assert named(typo).right
    mend(cluster, typo.case)
    (other,) = [o for o in typo.case.sound if o["kind"] == "Service"]
    cluster.delete("services", other["metadata"]["name"], typo.namespace)
    score = typo.check()
    assert score.fixed
    assert score.points == 9
    assert "it is gone" in score.text()


def test_guesses_are_counted_and_the_first_wrong_one_is_free(typo):
    first = named(typo, object="pods/nobody")
    assert (first.right, first.counted, first.points) == (False, False, 0)
    assert first.lines == ("it is another object",)
    second = named(typo, field="spec.ports")
    assert (second.right, second.counted) == (False, True)
    assert "the object is right" in second.text()
    assert named(typo, evidence="I feel it").points == 3
    assert named(typo).points == 4


def test_after_giving_up_the_answer_is_known_and_nothing_counts(cluster, typo):
    answer = typo.give_up()
    assert answer.object in answer.text()
    with pytest.raises(UsageError, match="answer has been shown"):
        named(typo)
    mend(cluster, typo.case)
    assert typo.check().points == 0


def test_when_the_time_is_over_nothing_more_counts(cluster, journal):
    challenge = start(cluster, Choice(fault="F01", seed=SEED, minutes=1e-6), journal=journal)
    try:
        assert challenge.late
        with pytest.raises(UsageError, match="time is over"):
            named(challenge)
        mend(cluster, challenge.case)
        assert challenge.check().points == 0
    finally:
        challenge.stop()


def test_no_hop_is_asked_where_no_packet_is_lost(typo):
    assert not typo.asks_hop
    assert "hop" not in typo.task
    with pytest.raises(UsageError, match="no packet is lost"):
        typo.hop("node test-worker")


def test_another_process_finds_the_challenge_and_its_points(cluster, journal, typo):
    assert named(typo).right
    again = current(cluster, journal=Journal(journal.path))
    assert (again.seed, again.namespace, again.task) == (typo.seed, typo.namespace, typo.task)
    mend(cluster, again.case)
    assert again.check().points == 10


def test_the_key_cannot_be_read_in_files(journal, typo):
    files = [path for path in journal.path.parent.iterdir() if path.is_file()]
    told = b"".join(path.read_bytes() for path in files)
    case = typo.case
    assert str(SEED).encode() in told
    # Its id is noted as what was asked for, where somebody asked for it.
    for secret in (case.fault.fault, case.causes[0].field, *case.evidence[:1]):
        assert secret.encode() not in told


def test_deleting_all_policies_is_no_way_to_mend(cluster, journal):
    challenge = start(cluster, Choice(fault="F35", seed=SEED), journal=journal)
    try:
        for policy in cluster.list("networkpolicies.networking.k8s.io", challenge.namespace):
            name = policy["metadata"]["name"]
            cluster.delete("networkpolicies.networking.k8s.io", name, challenge.namespace)
        score = challenge.check()
        assert not score.fixed
        assert score.points == 0
    finally:
        challenge.stop()


def test_what_was_changed_outside_of_the_namespace_comes_back(cluster, journal):
    def replicas():
        return cluster.get("deployments.apps", "coredns", "kube-system")["spec"]["replicas"]

    before = replicas()
    challenge = start(cluster, Choice(fault="F27", seed=SEED), journal=journal)
    assert replicas() == 0
    # Begun by one process, ended by another: all that is needed is in the journal.
    current(cluster, journal=journal).stop()
    assert replicas() == before
    cluster.wait("deployments.apps", "coredns", "kube-system")
    assert current(cluster, journal=journal) is None
    assert challenge.event("reset")


def test_a_start_that_was_interrupted_is_cleaned_up_by_the_next_one(cluster, journal, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(challenges.beginning, "_await_symptom", interrupt)
        with pytest.raises(KeyboardInterrupt):
            start(cluster, Choice(fault="F23", seed=SEED), journal=journal)
    half = current(cluster, journal=journal)
    assert not half.ready
    with pytest.raises(ClusterError, match="did not start completely"):
        half.check()
    ((node, lost),) = [(a["node"], a["run"][3]) for a in half.case.inject]
    whole = start(cluster, Choice(fault="F03", seed=SEED + 1), journal=journal)
    try:
        assert half.event("reset")
        block = cluster.get("nodes", lost.strip("{}").split()[0].partition("/")[2])["spec"][
            "podCIDR"
        ]
        assert block in cluster.node_run(node, ["ip", "route"]).stdout
    finally:
        whole.stop()
