"""Programs run with what is written, or the grader says that they do not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from k8slab.course import Journal, Session, load
from k8slab.course.answers import read_answer
from k8slab.embedded.dns.checksum import checksum
from k8slab.errors import ApiStatusError
from k8slab.grading import Context, Status, readers
from k8slab.programs import Completed
from k8slab.testing.fake import PLURALS, FakeCluster

DNS = Path(__file__).parents[2] / "solutions" / "02-dns"
OLD = ".:53 {\n    reload\n    forward . 10.96.0.10\n}\n"
NEW = OLD.replace("10.96.0.10", "192.168.1.53")
RUNS = "[INFO] plugin/reload: Running configuration SHA512 = {}"


def stamp(ago):
    return (datetime.now(UTC) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def configmap(data, ago):
    metadata = {"name": "files", "managedFields": [{"time": stamp(ago)}]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pod(started, **container):
    mount = {"name": "files", "mountPath": "/etc/coredns"}
    image = "registry.k8s.io/coredns/coredns:v1.12.0"
    found = {"name": "main", "image": image, "args": ["-conf", "/etc/coredns/Corefile"]}
    volume = {"name": "files", "configMap": {"name": "files"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "dns"},
        "spec": {
            "containers": [{**found, **container, "volumeMounts": [mount]}],
            "volumes": [volume],
        },
        "started": {"name": "main", "state": {"running": {"startedAt": stamp(started)}}},
    }


def context(data, log=(), *, written=60, started=600, on_exec=None, **container):
    """Return a context in which a pod has a file and has written a log: (seconds ago, text)."""
    cluster = FakeCluster(on_exec=on_exec)
    made = pod(started, **container)
    status = made.pop("started")
    objects = [made] if data is None else [made, configmap(data, written)]
    cluster.apply(objects, namespace="shop")
    cluster.get("pods", "dns", "shop")["status"]["containerStatuses"] = [status]
    cluster.written["shop/dns"] = "".join(
        f"{stamp(ago).removesuffix('Z')}.123456789Z {text}\n" for ago, text in log
    )
    return Context(cluster, "shop", deadline=0.05)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(readers, "PATIENCE", 0.05)


def log_of(text):
    return [(600, ".:53"), (600, RUNS.format(checksum(text)))]


def test_a_corefile_that_coredns_runs_with_is_read_whenever_it_was_written():
    assert readers.check(context({"Corefile": OLD}, log_of(OLD), written=0)) is None


@pytest.mark.parametrize(
    "more",
    [
        {"image": "coredns@sha256:0123", "args": ["-conf=/etc/coredns/Corefile"]},
        {
            "image": "localhost:5000/coredns",
            "command": ["/coredns", "--conf", "/etc/coredns/Corefile"],
        },
    ],
)
def test_coredns_is_known_however_it_is_written(more):
    found = readers.check(context({"Corefile": NEW}, log_of(OLD), written=100, **more))
    assert found.status is Status.INCONCLUSIVE


def test_one_that_it_does_not_run_with_yet_leaves_everything_open():
    found = readers.check(context({"Corefile": NEW}, log_of(OLD), written=1))
    assert found.status is Status.INCONCLUSIVE
    assert found.lines == (
        "dns has not read the change of the ConfigMap files yet: check again later",
    )


def test_one_that_crashes_while_it_is_asked_is_looked_at_again(monkeypatch):
    monkeypatch.setattr(readers, "PATIENCE", 30.0)
    asked = context({"Corefile": OLD}, log_of(OLD))
    cluster, answers = asked.cluster, []

    def logs(_self, space, name, **_options):
        answers.append(cluster.written[f"{space}/{name}"])
        if len(answers) == 1:
            raise ApiStatusError(
                'container "main" is waiting to start', code=400, reason="BadRequest"
            )
        return answers[-1]

    monkeypatch.setattr(FakeCluster, "logs", logs)
    assert readers.check(asked) is None
    assert len(answers) > 1


def test_a_reload_says_what_runs_now():
    log = [*log_of(OLD), (50, "[INFO] Reloading"), (50, RUNS.format(checksum(NEW)))]
    log += [(50, "[INFO] Reloading complete")]
    assert readers.check(context({"Corefile": NEW}, log)) is None
    assert readers.check(context({"Corefile": OLD}, log, written=1)).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    "log",
    [
        [(50, "[WARNING] plugin/reload: Corefile parse failed: no plugin x")],
        [
            (50, "[INFO] Reloading"),
            (50, "[ERROR] Restart failed: no plugin x"),
            (50, "[ERROR] plugin/reload: Corefile changed but reload failed: no plugin x"),
        ],
    ],
)
def test_a_refused_corefile_fails_although_the_server_runs_on(log):
    found = readers.check(context({"Corefile": NEW}, [*log_of(OLD), *log]))
    assert found.status is Status.FAILED
    assert found.lines[0].endswith("will not start again: no plugin x")
    assert found.counterexample.replay == "kubectl -n shop logs dns -c main"
    # The one before is put back: that is what runs.
    assert readers.check(context({"Corefile": OLD}, [*log_of(OLD), *log], written=1)) is None


def test_a_refusal_from_before_the_change_says_nothing_about_it():
    log = [*log_of(OLD), (100, "[WARNING] plugin/reload: Corefile parse failed: x")]
    assert readers.check(context({"Corefile": NEW}, log)).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"Corefile": ".:53 {\n"}, "Unexpected EOF, expecting '}'"),
        ({}, "the ConfigMap files is without Corefile: dns runs on with what it has read"),
        (None, "the ConfigMap files is not there: dns runs on with what it has read"),
    ],
)
def test_what_can_be_no_corefile_fails_without_a_word_of_the_server(data, why):
    found = readers.check(context(data, log_of(OLD), written=0))
    assert found.status is Status.FAILED
    assert why in found.lines[0]


def test_without_reload_a_change_is_read_by_a_new_start_alone():
    quiet = OLD.replace("    reload\n", "")
    log = [(600, ".:53"), (600, "CoreDNS-1.12.0")]
    found = readers.check(context({"Corefile": quiet}, log))
    assert found.status is Status.FAILED
    assert "has no `reload`" in found.lines[0]
    assert readers.check(context({"Corefile": quiet}, log, started=10)) is None
    # It had `reload`, and lost it: the last thing that it says is that the change was taken.
    log = [*log_of(OLD), (50, "[INFO] Reloading"), (50, "[INFO] Reloading complete")]
    assert readers.check(context({"Corefile": NEW}, log)).status is Status.FAILED


@pytest.mark.parametrize(
    "log", [[(600, ".:53")], [*log_of(OLD), (50, "[INFO] Reloading")]], ids=["start", "reload"]
)
def test_a_server_that_has_not_said_all_yet_leaves_everything_open(log):
    assert readers.check(context({"Corefile": NEW}, log)).status is Status.INCONCLUSIVE


def shows(text):
    return lambda _space, _pod, argv: Completed(tuple(argv), 0, text, "")


def test_of_other_programs_the_file_is_looked_at_and_then_some_time_must_pass():
    other = {"image": "nginx", "args": []}
    data = {"index.html": "new"}
    assert readers.check(context(data, on_exec=shows("new"), **other)) is None
    for wrong in (
        context(data, on_exec=shows("old"), **other),
        context(data, on_exec=shows("new"), written=-60, **other),  # however slow this test is
    ):
        assert readers.check(wrong).status is Status.INCONCLUSIVE
    # Where nobody can look inside, the time must do; a file of the start was read at the start.
    assert readers.check(context(data, **other)) is None
    assert readers.check(context(data, on_exec=shows("old"), written=700, **other)) is None


def mounted(volume, objects, written, **mount):
    """Return a context in which nginx, 600 s old, has a volume mounted at /files."""
    cluster = FakeCluster(on_exec=shows("old"))
    made = pod(600, image="nginx", args=[])
    status = made.pop("started")
    (container,) = made["spec"]["containers"]
    container["volumeMounts"] = [{"name": "files", "mountPath": "/files", **mount}]
    made["spec"]["volumes"] = [{"name": "files", **volume}]
    metadata = {"name": "key", "managedFields": [{"time": stamp(written)}]}
    cluster.apply([made, *({**one, "metadata": metadata} for one in objects)], namespace="shop")
    cluster.get("pods", "dns", "shop")["status"]["containerStatuses"] = [status]
    return Context(cluster, "shop", deadline=0.05)


SECRET = {"apiVersion": "v1", "kind": "Secret", "data": {"tls.key": "bmV3"}}  # new
BINARY = {"apiVersion": "v1", "kind": "ConfigMap", "binaryData": {"tls.key": "bmV3"}}


@pytest.mark.parametrize(
    ("volume", "given"),
    [
        ({"secret": {"secretName": "key"}}, SECRET),
        ({"projected": {"sources": [{"secret": {"name": "key"}}]}}, SECRET),
        ({"projected": {"sources": [{"configMap": {"name": "key"}}]}}, BINARY),
    ],
)
def test_secrets_projected_volumes_and_binary_data_are_followed_too(monkeypatch, volume, given):
    monkeypatch.setitem(PLURALS, "Secret", "secrets")
    asked = []

    def answers(text):
        def run(_space, _pod, argv):
            asked.append(argv)
            return Completed(tuple(argv), 0, text, "")

        return run

    found = mounted(volume, [given], 60)
    finding = readers.check(found)
    assert finding.status is Status.INCONCLUSIVE
    assert ("the Secret key" if given is SECRET else "the ConfigMap key") in finding.lines[0]
    found.cluster.on_exec = answers("new")
    assert readers.check(found) is None
    assert asked[-1] == ["cat", "/files/tls.key"]
    assert readers.check(mounted(volume, [given], 700)) is None  # read at the start


def test_a_file_that_is_mounted_by_sub_path_stays_and_nobody_waits_for_it():
    volume, where = {"configMap": {"name": "key"}}, {"subPath": "tls.key"}
    assert readers.check(mounted(volume, [BINARY], 60, **where)) is None
    assert readers.check(mounted(volume, [BINARY], 60)).status is Status.INCONCLUSIVE


def test_coredns_with_a_corefile_by_sub_path_knows_nothing_of_a_change():
    found = context({"Corefile": NEW}, [*log_of(OLD), (600, "CoreDNS-1.12.0")])
    (container,) = found.cluster.get("pods", "dns", "shop")["spec"]["containers"]
    assert readers.check(found).status is Status.INCONCLUSIVE
    container["volumeMounts"] = [
        {"name": "files", "mountPath": "/etc/coredns/Corefile", "subPath": "Corefile"}
    ]
    finding = readers.check(found)
    assert finding.status is Status.FAILED
    assert "mounted by `subPath`" in finding.lines[0]


def test_whoever_may_not_read_secrets_is_not_kept_waiting_for_them(monkeypatch):
    monkeypatch.setitem(PLURALS, "Secret", "secrets")
    listed = FakeCluster.list

    def refusing(self, resource, *args, **more):
        if resource == "secrets":
            raise ApiStatusError("not for you", code=403, reason="Forbidden")
        return listed(self, resource, *args, **more)

    found = mounted({"secret": {"secretName": "key"}}, [SECRET], 60)
    assert readers.check(found).status is Status.INCONCLUSIVE
    monkeypatch.setattr(FakeCluster, "list", refusing)
    assert readers.check(found) is None


def clock_of(monkeypatch, ahead):
    """Have the cluster's clock go ahead of the machine's, by so many seconds."""

    def request(_self, _method, path, body, **_more):
        assert path == "/api/v1/namespaces/shop/configmaps?dryRun=All"
        return {**body, "metadata": {"creationTimestamp": stamp(-ahead)}}

    monkeypatch.setattr(FakeCluster, "request", request)


@pytest.mark.parametrize("ahead", [3600, -3600])
def test_a_change_is_as_old_as_the_clusters_own_clock_says(monkeypatch, ahead):
    clock_of(monkeypatch, ahead)
    data, other = {"index.html": "new"}, {"image": "nginx", "args": []}

    def found(ago):
        times = {"written": ago - ahead, "started": 600 - ahead}
        return readers.check(context(data, on_exec=shows("new"), **times, **other))

    assert found(60) is None
    assert found(-60).status is Status.INCONCLUSIVE
    log = [(50 - ahead, "[WARNING] plugin/reload: Corefile parse failed: no plugin x")]
    refused = context({"Corefile": NEW}, log, written=60 - ahead, started=600 - ahead)
    assert readers.check(refused).status is Status.FAILED


@pytest.mark.timeout(300)
def test_on_a_real_cluster_an_answer_is_not_judged_by_the_one_before(
    cluster, tmp_path, monkeypatch
):
    monkeypatch.setattr(readers, "PATIENCE", 60.0)
    session = Session(load(DNS), cluster, Journal(tmp_path / "progress.sqlite"))
    exercise = session.lab.exercise("stub-domain")
    answers = DNS / "answers" / "stub-domain"
    right = read_answer(exercise, answers / "reference.yaml").documents[0]["data"]["Corefile"]
    wrong = read_answer(exercise, answers / "wrong-everything.yaml").documents[0]["data"][
        "Corefile"
    ]

    def check(text):
        given = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "corefile"}}
        data = {} if text is None else {"data": {"Corefile": text}}
        cluster.apply([given | data], namespace=exercise.namespace)
        return session.check("stub-domain")

    try:
        session.begin("stub-domain")
        # A server that takes its time: whoever looks at once sees the answer before.
        assert check(right.replace("reload", "reload 6s")).status is Status.PASSED
        assert check(wrong).status is Status.FAILED
        for text, why in (
            ("nonsense", "refuses"),
            (".:53 {\n    nonsense\n}\n", "refuses"),
            (None, "without"),
        ):
            result = check(text)
            assert result.status is Status.FAILED
            assert why in result.text()
            assert "will not start again" in result.text()
    finally:
        for name in exercise.namespaces:
            cluster.delete("namespaces", name)
        for name in exercise.namespaces:
            cluster.wait("namespaces", name, until="delete")
