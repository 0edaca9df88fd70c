"""What `observe` shows of a command, and of an object for the API server, on a real cluster."""

import dataclasses
import json

import pytest

from k8slab.clusters.cluster import Cluster
from k8slab.course import Journal, Session, load, looking

LAB = r"""
lab: 99-commands
title: Commands
exercises:
  - id: bare
    title: A program and nothing else
    task: None.
    setup: [pod.yaml]
    checks: [{check: field, object: pods/bare, path: status.phase, equals: Running}]
predictions:
  - id: missing
    exercise: bare
    question: Which programs are there?
    choices: {none: None., some: Some.}
    key: none
    observe: {command: {pod: bare, argv: [curl, -s, localhost]}}
  - id: node
    exercise: bare
    question: What does a node say?
    choices: {word: Hello., nothing: Nothing.}
    key: word
    observe: {command: {node: worker, argv: [sh, -c, "echo hello; exit 3"]}}
  - id: object
    exercise: bare
    question: May a Service have no ports?
    choices: {accepted: It may., refused: It may not.}
    key: accepted
    observe:
      admitted: {apiVersion: v1, kind: Service, metadata: {name: doors}, spec: {ports: []}}
      decides: {accepted: accepted, refused: Required value}
  - id: printed
    exercise: bare
    question: Does a List have a name?
    choices: {name: It has., nothing: It has none.}
    key: nothing
    observe:
      value: [{object: pods/bare, path: status.phase}, {names: pods}]
      kubectl: [get, pods, -o, "jsonpath={.metadata.name}"]
      decides: {name: ^bare$, nothing: '^pods: .+\n\(it printed nothing\)$'}
"""
POD = """
{apiVersion: v1, kind: Pod, metadata: {name: bare}, spec: {
 terminationGracePeriodSeconds: 0, containers: [{name: a, image: "k8slab/app:minimal"}]}}
"""


@pytest.fixture
def session(cluster, tmp_path):
    (tmp_path / "pod.yaml").write_text(POD)
    (tmp_path / "exercises.yaml").write_text(LAB)
    session = Session(load(tmp_path), cluster, Journal(tmp_path / "progress.sqlite"))
    session.begin("bare")
    yield session
    cluster.delete("namespaces", "lab99-bare")
    cluster.wait("namespaces", "lab99-bare", until="delete")


def test_a_program_that_the_image_lacks_is_what_is_to_be_seen(session):
    asked, error = session.observe("missing").lines
    assert asked == "$ curl -s localhost"
    assert error.startswith("error: ")
    assert '"curl": executable file not found' in error


def test_a_node_is_named_by_the_end_of_its_name(session):
    assert session.observe("node").lines == ("$ echo hello; exit 3", "hello", "exit 3")


def test_what_the_api_server_says_to_an_object_decides_and_nothing_is_kept(session):
    seen = session.observe("object")
    assert seen.lines[0].startswith(
        'Service doors: Service "doors" is invalid: spec.ports: Required'
    )
    assert seen.decided == "refused"
    ports = dict(seen.prediction.observe["admitted"], spec={"ports": [{"port": 80}]})
    spec = {**seen.prediction.observe, "admitted": ports}
    accepted = dataclasses.replace(seen.prediction, observe=spec)
    assert looking.look(session.cluster, accepted)[0] == ["Service doors: accepted"]
    assert session.cluster.get("services", "doors", "lab99-bare") is None


def test_several_values_and_the_words_of_kubectl_can_decide_together(session):
    seen = session.observe("printed")
    assert seen.lines == (
        "pods/bare status.phase: Running",
        "pods: bare",
        "$ kubectl -n lab99-bare get pods -o 'jsonpath={.metadata.name}'",
        "(it printed nothing)",
    )
    assert seen.decided == "nothing"


def test_kubectl_means_the_sessions_cluster_whatever_the_current_context_is(session, tmp_path):
    file = tmp_path / "kubeconfig"
    content = json.loads(session.cluster.kubeconfig.read_text())
    name = content["current-context"]
    file.write_text(json.dumps({**content, "current-context": "elsewhere"}))
    own = Cluster("own", provider="existing", kubeconfig=file, context=name)
    there = Session(session.lab, own, session.journal)
    seen = there.observe("printed")
    assert seen.lines[2].startswith(f"$ kubectl --context {name} -n lab99-bare get pods")
    assert seen.decided == "nothing"
