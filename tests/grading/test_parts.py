"""The small parts of the grader: polling, values, HTTP answers, differences, paths."""

import pytest

from k8slab.errors import ProbeError, UsageError
from k8slab.grading import Context, Counterexample, Finding, Result, Status, http, values
from k8slab.grading.checks import CHECKS, CheckKind, run_check
from k8slab.grading.comparing import difference
from k8slab.grading.polling import Polling
from k8slab.objects import paths
from k8slab.testing.fake import FakeCluster


class Clock:
    def __init__(self):
        self.now = 0.0

    def pause(self, seconds):
        self.now += seconds


def poll(seen, *, good=lambda _seen: False, quiet=True, deadline=10.0):
    clock, looks = Clock(), iter(seen)
    polling = Polling(
        look=lambda: next(looks),
        good=good,
        quiet=lambda _seen: quiet,
        deadline=deadline,
        clock=lambda: clock.now,
        pause=clock.pause,
    )
    return polling.run(), clock.now


def test_polling_ends_when_the_same_was_seen_twice_and_nothing_is_under_way():
    assert poll(["a", "b", "b"])[0] == "b"


def test_polling_goes_on_to_the_deadline_while_something_is_under_way():
    seen, spent = poll(iter(lambda: "a", None), quiet=False, deadline=3)
    assert seen == "a"
    assert 3 <= spent < 4


@pytest.mark.parametrize("settled", [1, 2])
def test_what_became_good_before_it_was_asked_whether_all_is_quiet_is_seen(settled):
    state = {"seen": "pending"}

    def quiet(_seen):
        state["seen"] = "running"  # between the look and the question, as on a busy machine
        return True

    polling = Polling(
        look=lambda: state["seen"],
        good=lambda seen: seen == "running",
        quiet=quiet,
        deadline=10.0,
        settled=settled,
        pause=lambda _: None,
    )
    assert polling.run() == "running"


def test_a_good_moment_must_last():
    assert poll(["good", "bad", "bad"], good=lambda s: s == "good")[0] == "bad"
    changing = iter(range(9))
    assert poll(changing, good=lambda _seen: True, quiet=False) == (1, 0.02)
    assert poll(["good", "good"], good=lambda s: s == "good", quiet=False)[0] == "good"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.replicas", 2),
        ("status.conditions[type=Ready].status", "True"),
        ("status.podIPs[0].ip", "10.0.0.1"),
        ("status.podIPs[1].ip", None),
        ('metadata.labels["a.b/c"]', "x"),
        ("metadata.labels.none.deeper", None),
        ("status.conditions[type=No].status", None),
    ],
)
def test_paths_find_values(path, value):
    obj = {
        "spec": {"replicas": 2},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "podIPs": [{"ip": "10.0.0.1"}],
        },
        "metadata": {"labels": {"a.b/c": "x"}},
    }
    assert paths.at(obj, path) == value


def test_a_path_that_cannot_be_read_is_refused():
    with pytest.raises(UsageError, match="cannot read the path"):
        paths.at({}, "a[")


@pytest.mark.parametrize(
    ("typed", "value", "same"),
    [
        (" 10.0.0.1 ", "10.0.0.1", True),
        ("Yes", "yes", True),
        ("b, a", "a, b", True),
        ("3", 3, True),
        ("true", True, True),
        ("", None, False),
        ("nothing", None, False),
        ("10.0.0.2", "10.0.0.1", False),
    ],
)
def test_answers_are_compared_without_pedantry(typed, value, same):
    assert values.same(typed, value) is same


def pod(name, address, **labels):
    container = {"name": "a", "image": "i"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {"containers": [container], "podIP": address},
    }


@pytest.fixture
def context():
    cluster = FakeCluster()
    cluster.apply([pod("a", "", app="x"), pod("b", "", app="x"), pod("c", "")])
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "shop"}}
    cluster.apply([event | {"reason": "FailedScheduling"}])
    return Context(cluster, "shop", deadline=0.05)


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"count": "pods", "selector": "app=x", "equals": 2}, "passed"),
        ({"count": "pods", "equals": 2}, "failed"),
        ({"count": "pods", "at_least": 3}, "passed"),
        ({"count": "pods", "at_most": 2}, "failed"),
        ({"names": "pods", "selector": "app=x", "equals": "a, b"}, "passed"),
        ({"events": "FailedScheduling", "equals": 1}, "passed"),
        ({"events": "Scheduled", "at_least": 1}, "failed"),
        ({"object": "pods/a", "path": "metadata.labels", "contains": {"app": "x"}}, "passed"),
        ({"object": "pods/a", "path": "metadata.labels", "contains": {"app": "y"}}, "failed"),
        ({"object": "pods/a", "path": "metadata.labels.app", "not_equals": "x"}, "failed"),
        ({"object": "pods/a", "path": "metadata.name", "matches": "^a$", "meaning": "a"}, "passed"),
        ({"object": "pods/no", "path": "metadata.name", "exists": False}, "passed"),
        ({"object": "pods/no", "path": "metadata.name", "equals": "no"}, "failed"),
        ({"object": "pods", "selector": "app=x", "path": "kind", "equals": "Pod"}, "passed"),
        ({"object": "pods/a", "path": "status.podIP", "in": "10.244.0.0/16", "equals": "yes"},
         "passed"),
        ({"object": "pods/a", "path": "status.podIP", "in": "10.9.0.0/16", "equals": "yes"},
         "failed"),
    ],
)  # fmt: skip
def test_a_field_is_compared(context, spec, status):
    assert run_check(context, {"check": "field", **spec}).status.value == status


@pytest.mark.parametrize(
    ("spec", "wanted", "seen"),
    [
        ({"path": "metadata.name", "matches": "^b$", "meaning": "to be called b"},
         "to be called b", "a"),
        ({"path": "metadata.name", "exists": False}, "not to be there", "a"),
        ({"path": "metadata.no", "exists": True}, "to be there", "nothing"),
        ({"path": "spec.hostNetwork", "equals": True}, "to be true", "nothing"),
        ({"path": "metadata.labels", "equals": {"app": "y"}}, 'to be {"app": "y"}',
         '{"app": "x"}'),
        ({"path": "metadata.labels", "contains": {"app": "y"}}, 'to contain {"app": "y"}',
         '{"app": "x"}'),
    ],
)  # fmt: skip
def test_what_a_field_is_wanted_to_be_is_told_in_words_that_learners_know(
    context, spec, wanted, seen
):
    example = run_check(context, {"check": "field", "object": "pods/a", **spec}).counterexample
    assert (example.wanted, example.seen) == (wanted, seen)


def test_a_file_is_not_told_as_a_value_but_where_it_can_be_read(context):
    data = {"Corefile": ".:53 {\n    errors\n    ready\n}\n"}
    metadata = {"name": "corefile", "namespace": "shop"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    context.cluster.apply([config])
    spec = {"object": "configmaps/corefile", "path": "data.Corefile", "contains": "loop"}
    found = run_check(context, {"check": "field", **spec})
    assert found.lines == ("configmaps/corefile data.Corefile is a text of 4 lines",)
    assert found.counterexample.seen == "a text of 4 lines"
    assert "get configmaps corefile" in found.counterexample.replay


def test_a_value_that_cannot_be_compared_is_our_error_and_not_a_failure(context):
    spec = {"object": "pods/a", "path": "metadata.name", "in": "10.0.0.0/8", "equals": "yes"}
    finding = run_check(context, {"check": "field", **spec})
    assert finding.status is Status.ERROR


@pytest.mark.parametrize(
    ("wanted", "found", "where"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ""),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, "a.b[1].c"),
        ({"a": [1]}, {"a": [1, 2]}, "a"),
        ({"a": {}}, {}, "a"),
        ({"a": None}, {}, ""),
    ],
)
def test_a_difference_is_what_the_set_up_wants_and_the_cluster_lacks(wanted, found, where):
    assert difference(wanted, found) == where


def test_an_http_answer_is_read():
    text = (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nX-A: b: c\r\n\r\nbody\r\n\r\nmore"
    )
    answer = http.parse(text)
    assert (answer.status, answer.headers, answer.body) == (
        404,
        {"x-a": "b: c"},
        "body\n\nmore",
    )
    with pytest.raises(ProbeError):
        http.parse("no http")


def finding(status):
    return Finding("x", status, counterexample=Counterexample(status.value, "a", "b"))


def test_an_exercise_is_as_good_as_its_worst_check():
    both = (finding(Status.PASSED), finding(Status.INCONCLUSIVE))
    result = Result("e", "E", 2, both)
    assert (result.status, result.points) == (Status.INCONCLUSIVE, 0)
    assert result.counterexample.what == "inconclusive"
    assert Result("e", "E", 2, (finding(Status.PASSED),)).points == 2
    assert Result("e", "E", 2, ()).status is Status.NOT_STARTED


def test_a_result_is_plain_json_too():
    result = Result("e", "E", 2, (finding(Status.FAILED),)).to_dict()
    assert result["status"] == "failed"
    assert result["checks"][0]["status"] == "failed"
    assert result["checks"][0]["counterexample"]["seen"] == "b"


def test_a_url_can_hold_values_that_the_cluster_tells(shop):
    context = Context(shop, "shop", deadline=0.05)
    address = shop.get("pods", "db", "shop")["status"]["podIP"]
    filled = values.fill(context, "http://{pods/db status.podIP}:8080/{pods/no status.podIP}")
    assert filled == f"http://{address}:8080/nothing"


def test_a_field_can_be_wanted_as_another_object_has_it(shop):
    context = Context(shop, "shop", deadline=0)
    spec = {"check": "field", "object": "pods/web", "path": "metadata.labels.app"}
    other = {"object": "pods/db", "path": "metadata.labels.app"}
    found = run_check(context, {**spec, "same_as": other})
    assert found.status is Status.FAILED
    assert found.counterexample.wanted == "to be db"
    assert run_check(context, {**spec, "same_as": {**other, "object": "pods/web"}}).status is (
        Status.PASSED
    )


def test_an_object_that_is_not_there_is_called_so(shop):
    context = Context(shop, "shop", deadline=0)
    spec = {"check": "field", "object": "pods/wob", "path": "status.phase", "equals": "Running"}
    found = run_check(context, spec)
    assert found.lines == ('pods "wob" not found in the namespace shop',)


def test_an_answer_is_called_by_its_question_and_never_told(shop):
    value = {"object": "pods/web", "path": "status.podIP"}
    spec = {"check": "answer", "id": "ip", "question": "Which address has web?", "value": value}
    found = run_check(Context(shop, "shop"), spec)
    assert found.check == "Which address has web?"
    assert found.lines == ('no answer yet: lab.answer("ip", "...")',)
    found = run_check(Context(shop, "shop", answers={"ip": "10.9.9.9"}), spec)
    assert found.lines == ("the cluster says something else than 10.9.9.9",)


def waiting(reason):
    return {"state": {"waiting": {"reason": reason}}}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}


@pytest.mark.parametrize(
    ("status", "settled"),
    [
        ({"phase": "Running"}, True),
        ({"phase": "Pending"}, False),
        ({"phase": "Pending", "conditions": [UNSCHEDULABLE]}, True),
        ({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}, False),
        ({"phase": "Pending", "containerStatuses": [waiting("ErrImagePull")]}, True),
    ],
)
def test_a_check_does_not_wait_for_what_stays_pending(shop, status, settled):
    shop.get("pods", "web", "shop")["status"] = status
    assert Context(shop, "shop").quiet() is settled


def test_a_check_waits_for_pods_in_every_namespace_of_the_exercise(shop):
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    shop.get("pods", "web", "shop")["status"] = {"phase": "Pending"}
    assert Context(shop, "other").quiet()
    assert not Context(shop, "other", setup=[made]).quiet()


@pytest.mark.parametrize(
    ("failures", "status"), [(0, Status.PASSED), (1, Status.PASSED), (2, Status.ERROR)]
)
def test_a_check_whose_pod_goes_while_it_is_asked_asks_once_more(
    shop, monkeypatch, failures, status
):
    left = ["the pod has gone"] * failures

    def ask(_context, _spec):
        if left:
            raise ProbeError(left.pop())
        return Finding("asked", Status.PASSED)

    monkeypatch.setitem(CHECKS, "asked", CheckKind({}, ask))
    found = run_check(Context(shop, "shop"), {"check": "asked", "title": "it answers"})
    assert (found.status, found.check) == (status, "it answers")
    assert found.lines == (("the pod has gone",) if status is Status.ERROR else ())
