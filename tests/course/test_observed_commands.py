"""What `observe` shows of a command, on a real cluster."""

import pytest

from k8slab.course import Journal, Session, load

LAB = """
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
