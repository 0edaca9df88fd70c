"""The face on a cluster of plain Python: every view has text and HTML that say the same."""

import os
from pathlib import Path

import pytest
import yaml

from k8slab import clusters, programs
from k8slab.clusters import records
from k8slab.course import load
from k8slab.errors import ApiStatusError, EnvironmentLacksError, UsageError
from k8slab.grading import NotSolvedError
from k8slab.notebook import Face
from k8slab.programs import Completed
from k8slab.testing.fake import FakeCluster

DATA = Path(__file__).parents[1] / "data" / "solutions"


@pytest.fixture
def face(tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KUBECONFIG", "/mine")
    face = Face()
    face.use(load(DATA / "90-example"), FakeCluster(on_exec=_exec))
    return face


def _exec(namespace, pod, argv):
    return Completed(tuple(argv), 0, f"{namespace}/{pod}: {' '.join(argv)}\n")


def test_before_the_start_it_says_what_to_do():
    with pytest.raises(UsageError, match=r"lab\.start\(\)"):
        Face().check("protect")


def test_an_untouched_lab_runs_through_and_says_not_yet(face):
    assert "not started yet" in repr(face.check("protect"))
    face.begin("protect")
    view = face.check("protect")
    assert "not yet" in repr(view)
    assert not view.passed
    html = view.html
    assert "for example" in repr(view)
    assert "lab90-protect/batch -&gt; lab90-protect/db" in html


def test_raise_on_fail_raises_for_solution_notebooks(face):
    face.begin("protect")
    with pytest.raises(NotSolvedError, match="not yet"):
        face.check("protect", raise_on_fail=True)
    face.apply(face.session.solution("protect", force=True).text)
    assert face.check("protect", raise_on_fail=True).passed


def test_a_solution_says_first_what_it_changes_and_the_check_says_it_again(face):
    face.begin("protect")
    said = "now that its solution is shown, checks add no points any more"
    view = face.solution("protect", force=True)
    for text in (repr(view), view.html):
        assert 0 < text.index(said) < text.index("NetworkPolicy")
    again = face.solution("protect", force=True)
    assert said not in repr(again)
    face.apply(face.session.lab.exercise("protect").solution)
    checked = face.check("protect", raise_on_fail=True)
    assert (checked.passed, checked.result.points) == (True, 0)
    assert said in repr(checked)
    assert f"<p>{said}</p>" in checked.html


def test_the_whole_cycle_works_without_a_browser(face):
    face.begin("protect")
    assert "Noted: Nothing answers." in repr(face.predict("open-by-default", "silent", 5))
    assert "it came out differently" in repr(face.observe("open-by-default"))
    assert "+ The reason is" in repr(face.explain("open-by-default", "luck"))
    assert "Hint 1 of 2" in repr(face.hint("protect"))
    assert "surprised by" in repr(face.progress())


def test_a_form_is_a_widget_with_text_for_whoever_sees_none(face):
    form = face.predict("open-by-default")
    assert 'answer with lab.predict("open-by-default", "open")' in repr(form)
    bundle = form.bundle()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == repr(form)
    radio, button = form.widget.children[1], form.widget.children[3]
    radio.value = "open"
    button.click()
    event = face.session.journal.last("90-example", "prediction", "open-by-default")
    assert event.data == {"choice": "open", "confidence": 3}


def test_a_form_without_a_choice_saves_nothing(face):
    form = face.explain("open-by-default")
    form.widget.children[2].click()
    assert "Choose one first" in form.widget.children[-1].value
    assert face.session.journal.events(kind="reason") == []


def test_a_form_that_is_shown_again_has_what_was_saved(face):
    form = face.predict("open-by-default")
    assert form.widget.children[1].value is None
    again = "Run this cell again for a form to click in, or answer with"
    assert again in form.bundle()["text/html"]
    face.predict("open-by-default", "silent", 5)
    form = face.predict("open-by-default")
    _, radio, slider, _, told = form.widget.children
    assert (radio.value, slider.value) == ("silent", 5)
    assert "You chose: Nothing answers. (saved)" in told.value
    assert f"You chose: Nothing answers. (saved). {again}" in form.bundle()["text/html"]
    assert repr(form).endswith("You chose: Nothing answers. (saved).")
    face.explain("open-by-default", "luck")
    assert face.explain("open-by-default").widget.children[1].value == "luck"


def test_a_form_tells_a_screen_reader_what_is_saved_and_that_it_was(face):
    form = face.predict("open-by-default")
    _, radio, _, button, told = form.widget.children
    question = face.session.lab.prediction("open-by-default").question
    assert button.tooltip == f"Save my choice: {question}"
    assert "alert" not in told.value
    radio.value = "open"
    button.click()
    assert told.value.startswith('<div role="alert"><p>Noted: ')


def test_what_is_wrong_behind_a_click_is_told_below_the_form(face, monkeypatch):
    def full(*_what, **_data):
        raise EnvironmentLacksError("the journal cannot be written", hint="make room")

    form = face.predict("open-by-default")
    monkeypatch.setattr(face.session.journal, "add", full)
    form.widget.children[1].value = "open"
    form.widget.children[3].click()
    told = form.widget.children[-1].value
    assert "error: the journal cannot be written" in told
    assert "make room" in told


def test_apply_shows_what_came_of_each_object(face):
    face.begin("protect")
    text = face.session.solution("protect", force=True).text
    assert repr(face.apply(text)) == "NetworkPolicy only-web lab90-protect created"
    assert repr(face.apply(text)) == "NetworkPolicy only-web lab90-protect unchanged"
    assert repr(face.apply("# your answer")) == "nothing to apply yet"


def test_the_matrix_is_a_table_and_a_picture_with_alt_text(face):
    face.begin("protect")
    view = face.matrix()
    assert "lab90-protect/batch" in repr(view)
    html = view.html
    assert 'alt="Connectivity matrix, 6 flows: 6 open.' in html
    assert html.count(">+ open</td>") == 6


def test_the_topology_is_a_picture_with_alt_text_and_a_table(face):
    face.begin("protect")
    view = face.topology()
    assert "node fake-worker" in repr(view)
    assert 'alt="Topology. node fake-control-plane: no pods;' in view.html


class Kubectl:
    """A door through which kubectl only says what it was asked."""

    def find(self, program):
        return program

    def run(self, argv, *, deadline, stdin, env):
        return Completed(tuple(argv), 1 if "fail" in argv else 0, f"{' '.join(argv)} {env}\n")


@pytest.mark.parametrize(
    ("command", "run"),
    [
        ("get pods", "kubectl -n lab90-protect get pods"),
        ("kubectl get pods", "kubectl -n lab90-protect get pods"),
        ("get pods -A", "kubectl get pods -A"),
        ("get pods -nother", "kubectl get pods -nother"),
        ("get pods --namespace=other", "kubectl get pods --namespace=other"),
        ("exec web -- nc -n 1.2.3.4", "kubectl -n lab90-protect exec web -- nc -n 1.2.3.4"),
    ],
)
def test_kubectl_works_in_the_exercises_namespace(face, command, run):
    face.begin("protect")
    with programs.replaced(Kubectl()):
        output = face.kubectl(command)
    assert output.text.startswith(f"{run} {{'KUBECONFIG': '/nonexistent/kubeconfig'}}")


def test_a_failing_kubectl_is_shown_and_not_raised(face):
    with programs.replaced(Kubectl()):
        assert repr(face.kubectl("fail")).endswith("(exit code 1)")


def test_commands_run_in_pods_and_on_nodes(face):
    face.begin("protect")
    assert face.pod("web").run("ip route").text == "lab90-protect/web: ip route"
    assert face.pod("web").run("ip route | head").text.endswith("web: sh -c ip route | head")
    assert face.node("worker2").run("ip route").text == "fake-worker2: ip route"
    with pytest.raises(UsageError, match="there is no node 'x'"):
        face.node("x")


def test_one_flow_can_be_tried(face):
    face.begin("protect")
    assert repr(face.reach("web", "db", 8080)).startswith("+ lab90-protect/web -> ")


def test_kubeconfig_is_set_for_this_notebook(face):
    assert os.environ["KUBECONFIG"] == "/nonexistent/kubeconfig"


@pytest.mark.parametrize(
    ("address", "number", "told"),
    [
        ("172.18.0.3", 2, ""),
        ("fd00:172:18::3", 2, "Here the first addresses are IPv6: not all"),
        ("172.18.0.3", 1, "Here one node takes all pods: not all"),
        ("fd00::3", 1, "Here the first addresses are IPv6 and one node takes all pods: not all"),
    ],
)
def test_the_start_says_where_the_labs_do_not_fit(face, monkeypatch, address, number, told):
    addresses = [{"type": "InternalIP", "address": one} for one in (address, "fd00::4")]
    nodes = [
        {"metadata": {"name": f"worker{n}"}, "status": {"addresses": addresses}}
        for n in range(number)
    ]
    cluster = FakeCluster()
    monkeypatch.setattr(cluster, "list", lambda *_, **__: nodes)
    monkeypatch.setattr(clusters, "attach", lambda _name: cluster)
    monkeypatch.chdir(DATA / "90-example")
    said = repr(face.start())
    assert told in said
    assert ("written for" in said) is bool(told)


def test_commands_of_a_notebook_mean_the_cluster_on_which_it_was_started(monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/mine")
    monkeypatch.setenv("K8SLAB_CLUSTER", "green")
    monkeypatch.setattr(clusters, "attach", FakeCluster)
    Face().start(str(DATA / "90-example"), cluster="blue")
    assert os.environ["KUBECONFIG"] == "/nonexistent/kubeconfig"
    assert records.chosen_name() == "blue"


def test_seeded_names_and_quizzes_come_from_the_lab(face, tmp_path):
    data = yaml.safe_load((DATA / "90-example" / "exercises.yaml").read_text())
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: <<guest>>}, spec: {containers: []}}"
    (manifests / "a.yaml").write_text(pod)
    exercise = {
        "id": "moved",
        "title": "Moved",
        "task": "Label <<guest>>.",
        "transfer": True,
        "names": {"guest": ["anna", "boris"], "host": ["anna", "boris"]},
        "setup": ["manifests/a.yaml"],
        "checks": [
            {
                "check": "field",
                "object": "pods/<<guest>>",
                "path": "metadata.labels.a",
                "equals": "b",
            }
        ],
    }
    quiz = {"id": "q", "quiz": "entry", "question": "Up?", "choices": {"a": "A", "b": "B"}}
    seen = {"value": {"count": "nodes"}}
    quiz |= {"key": "a", "explanation": "See.", "part": "Part 1: nodes", "observe": seen}
    data |= {"exercises": [exercise], "predictions": [quiz]}
    (tmp_path / "exercises.yaml").write_text(yaml.safe_dump(data))
    face.use(load(tmp_path, lambda: 7), face.cluster)

    names = face.names("moved")
    assert sorted(names.values()) == ["anna", "boris"]
    assert f"Label {names['guest']}." in repr(face.begin("moved"))
    first, second = face.check("moved"), face.check("moved")
    assert first.result.counterexample is None
    assert "shown from the second check on" in first.text
    assert second.result.counterexample.what == f"pods/{names['guest']} metadata.labels.a"

    face.quiz("entry")
    before = repr(face.quiz_result("entry"))
    assert "no answer yet" in before
    assert "nodes: 3" not in before  # it would be the answer
    assert "See." not in before
    assert repr(face.predict("q", "b")) == "Noted: B"
    wrong = repr(face.quiz_result("entry")).splitlines()
    assert wrong[2:] == [
        "    the cluster shows: nodes: 3",
        "    See.",
        "Work through Part 1: nodes. Each part stands alone.",
    ]
    face.predict("q", "a")
    right = ["1 of 1 known already", "+ Up? A", "    the cluster shows: nodes: 3"]
    assert repr(face.quiz_result("entry")).splitlines() == right
    assert face.session.journal.events(kind="observation") == []
    assert face.session.progress().predictions == 0


def test_an_object_can_be_waited_for(face):
    face.begin("protect")
    assert repr(face.wait("pods/web")) == "pods/web: ready"
    assert face.pod("web").address.startswith("10.244.")


@pytest.mark.parametrize(
    ("address", "host"),
    [("10.244.1.5", "10.244.1.5"), ("fd00:10:244::7", "[fd00:10:244::7]"), ("", "")],
)
def test_the_address_of_a_pod_and_of_a_node_can_stand_in_a_url(face, monkeypatch, address, host):
    found = {
        "pods": {"status": {"podIP": address}, "spec": {"nodeName": "fake-worker"}},
        "nodes": {"status": {"addresses": [{"type": "InternalIP", "address": address}]}},
    }
    pod = face.pod("web")
    monkeypatch.setattr(face.cluster, "get", lambda kind, *_: found[kind])
    assert (pod.address, pod.host) == (address, host)
    assert (pod.node.address, pod.node.host) == (address, host)


def test_what_cannot_be_applied_is_shown_and_not_raised(face, monkeypatch):
    face.begin("protect")
    assert repr(face.apply("a: [")).startswith("refused: cell:2:")

    def refuse(objects, *, namespace=""):
        raise ApiStatusError("spec.containers: Required value", code=422, reason="Invalid")

    monkeypatch.setattr(face.cluster, "apply", refuse)
    view = face.apply("{apiVersion: v1, kind: Pod, metadata: {name: x}}")
    assert repr(view).splitlines() == [
        "Pod x lab90-protect refused",
        "Pod x: spec.containers: Required value",
    ]


def test_a_command_in_a_pod_that_is_not_there_is_shown_and_not_raised(face):
    output = face.pod("none").run("ip route")
    assert (output.code, output.said) == (1, "error: there is no pod default/none")


@pytest.mark.parametrize(
    "ask",
    [
        lambda face: face.kubectl("get 'pods"),
        lambda face: face.pod("web").run("echo 'a"),
        lambda face: face.resolve("web", "x", command="dig 'x"),
    ],
)
def test_a_quote_that_is_not_closed_is_told_and_ends_in_no_traceback(face, ask):
    face.begin("protect")
    with pytest.raises(UsageError, match="No closing quotation"):
        ask(face)


def test_a_pod_knows_its_node_and_one_that_is_not_there_says_so(face):
    face.begin("protect")
    node = face.pod("web").node
    assert node.name.startswith("fake-worker")
    assert node.address.startswith("172.18.0.")
    missing = face.pod("nobody").node
    assert missing.address == ""
    assert repr(missing.run("ip route")) == (
        "error: no node: none runs the pod lab90-protect/nobody\n(exit code 1)"
    )
