"""An author's answers to an exercise, read and given as a learner would: for tests of the graders.

``solutions/NN-name/answers/EXERCISE/`` holds ``reference.yaml``, ``alternative-*.yaml`` (also
right, written differently) and ``wrong-*.yaml``. Each is a stream of YAML documents:

    kind: Pod, ...                      a manifest: applied in the exercise's namespace
    kubectl: [label pod web app=shop]   commands, in that namespace
    answers: {web-address: {object: pods/web, path: status.podIP}}
                                        what is typed: a text, or a value of the cluster
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab import programs
from k8slab.course.lab import placed
from k8slab.course.names import fill
from k8slab.course.setup import wait_ready
from k8slab.errors import ExerciseError
from k8slab.grading import Context, values
from k8slab.objects import manifests

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from k8slab.course.lab import Exercise
    from k8slab.course.session import Session

DIRECTORY = "answers"
READY_SECONDS = 20.0

REFERENCE, ALTERNATIVE, WRONG = "reference", "alternative", "wrong"
SORTS = (REFERENCE, ALTERNATIVE, WRONG)

Document = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One answer: its name, and the documents that say what is done."""

    name: str
    sort: str
    """``reference``, ``alternative`` or ``wrong``."""
    documents: tuple[Document, ...]
    place: str = ""
    """Where it stands, for messages."""

    @property
    def right(self) -> bool:
        """Say whether it must be accepted."""
        return self.sort != WRONG


def answer_files(lab: Path, exercise: str) -> list[Path]:
    """Return the answers that an author wrote for an exercise, in order of their names."""
    found = sorted((lab / DIRECTORY / exercise).glob("*.yaml"))
    return [file for file in found if _sort(file) in SORTS]


def read_answer(exercise: Exercise, file: Path) -> Answer:
    """Read one answer, with the exercise's names in it; raises `ExerciseError`."""
    documents = fill(manifests.load_values(file.read_bytes(), str(file)), exercise.names, str(file))
    for document in documents:
        if not isinstance(document, dict) or not {"kind", "kubectl", "answers"} & document.keys():
            raise ExerciseError(
                f"{file}: a document is no manifest", hint="or give it kubectl: or answers:"
            )
    read = [placed(one, exercise.namespace) if "kind" in one else one for one in documents]
    return Answer(file.stem, _sort(file), tuple(read), str(file))


def read_answers(lab: Path, exercise: Exercise) -> list[Answer]:
    """Read all answers of an exercise; the right ones come first."""
    found = [read_answer(exercise, file) for file in answer_files(lab, exercise.id)]
    return sorted(found, key=lambda answer: (SORTS.index(answer.sort), answer.name))


def _sort(file: Path) -> str:
    return file.stem.partition("-")[0]


def give(session: Session, exercise: str, answer: Path | Answer) -> None:
    """Do what an answer says; the exercise has been begun. Raises `ExerciseError`."""
    found = session.lab.exercise(exercise)
    read = answer if isinstance(answer, Answer) else read_answer(found, answer)
    applied: list[Document] = []
    for document in read.documents:
        match document:
            case {"kind": _}:
                applied += session.cluster.apply([document], namespace=found.namespace)
                continue
            case {"kubectl": commands}:
                _run(session, found, commands)
            case {"answers": typed}:
                wait_ready(session.cluster, applied, READY_SECONDS)
                _type(session, found, typed)
    wait_ready(session.cluster, applied, READY_SECONDS)


def _run(session: Session, exercise: Exercise, commands: Sequence[str]) -> None:
    environment = {"KUBECONFIG": str(session.cluster.kubeconfig)}
    for command in commands:
        argv = [*session.cluster.kubectl, "-n", exercise.namespace, *shlex.split(command)]
        programs.run(argv, env=environment, deadline=60)


def _type(session: Session, exercise: Exercise, typed: dict[str, Any]) -> None:
    context = Context(session.cluster, exercise.namespace)
    for question, value in typed.items():
        told = values.read(context, value) if isinstance(value, dict) else value
        session.answer(question, told)
