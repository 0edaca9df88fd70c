"""Give an author's answer to an exercise, as a learner would: for tests of the graders.

``solutions/NN-name/answers/EXERCISE/`` holds ``reference.yaml``, ``alternative-*.yaml`` (also
right, written differently) and ``wrong-*.yaml``. Each is a stream of YAML documents:

    kind: Pod, ...                      a manifest: applied in the exercise's namespace
    kubectl: [label pod web app=shop]   commands, in that namespace
    answers: {web-address: {object: pods/web, path: status.podIP}}
                                        what is typed: a text, or a value of the cluster
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from k8slab import programs
from k8slab.course.names import fill
from k8slab.course.setup import wait_ready
from k8slab.errors import ExerciseError
from k8slab.grading import Context, values
from k8slab.objects import manifests

if TYPE_CHECKING:
    from pathlib import Path

    from k8slab.course.lab import Exercise
    from k8slab.course.session import Session

DIRECTORY = "answers"
READY_SECONDS = 20.0


def answer_files(lab: Path, exercise: str) -> list[Path]:
    """Return the answers that an author wrote for an exercise, in order of their names."""
    return sorted((lab / DIRECTORY / exercise).glob("*.yaml"))


def give(session: Session, exercise: str, file: Path) -> None:
    """Do what an answer says; the exercise has been begun. Raises `ExerciseError`."""
    found = session.lab.exercise(exercise)
    documents = manifests.load_values(file.read_bytes(), str(file))
    for document in fill(documents, found.names, str(file)):
        match document:
            case {"kind": _}:
                (obj,) = session.cluster.apply([document], namespace=found.namespace)
                wait_ready(session.cluster, [obj], READY_SECONDS)
            case {"kubectl": commands}:
                _run(session, found, commands)
            case {"answers": typed}:
                _type(session, found, typed)
            case _:
                raise ExerciseError(
                    f"{file}: a document is no manifest", hint="or give it kubectl: or answers:"
                )


def _run(session: Session, exercise: Exercise, commands: list[str]) -> None:
    environment = {"KUBECONFIG": str(session.cluster.kubeconfig)}
    for command in commands:
        argv = ["kubectl", "-n", exercise.namespace, *shlex.split(command)]
        programs.run(argv, env=environment, deadline=60)


def _type(session: Session, exercise: Exercise, typed: dict[str, Any]) -> None:
    context = Context(session.cluster, exercise.namespace)
    for question, value in typed.items():
        told = values.read(context, value) if isinstance(value, dict) else value
        session.answer(question, told)
