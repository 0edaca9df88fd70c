"""A lab as its ``exercises.yaml`` describes it, read, compared with the schema, and frozen."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.course import schema
from k8slab.course.names import choose, fill
from k8slab.course.sealing import unseal
from k8slab.errors import ExerciseError, UsageError
from k8slab.grading import Want, Wishes, admitted, conditions
from k8slab.grading import values as graded_values
from k8slab.grading.checks import CHECKS, COMMON
from k8slab.grading.fields import at, validate
from k8slab.grading.lookalikes import SAME, Lookalike
from k8slab.grading.result import STRETCH
from k8slab.objects import manifests, meta
from k8slab.objects.lines import keep, with_lines
from k8slab.policy import Flow, Party

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from k8slab.grading.fields import Fields
    from k8slab.objects.meta import Object

FILE = "exercises.yaml"
_ID = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

WORKED = "Worked:"
"""So begin the titles of exercises of which the answer is part of the text."""

TO_COMPLETE = "To complete:"
"""So begin the titles of exercises of which a part of the answer is given."""

LONGEST_LABEL = 63
"""Characters that a namespace's name may have (RFC 1123)."""

CLUSTER_SCOPED = frozenset(
    {"Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition",
     "IngressClass", "GatewayClass", "StorageClass", "PersistentVolume", "ClusterNetworkPolicy"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HintStep:
    """One step of help: `text`, or `otherwise` where the cluster is not as `when` says."""

    text: str
    when: Mapping[str, Any] = field(default_factory=dict)
    otherwise: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Return everything that a learner may be told at this step."""
        return (self.text, self.otherwise) if self.when else (self.text,)


@dataclass(frozen=True)
class Exercise:
    """One exercise: where it lives, how it starts, what it wants."""

    wishes: Wishes
    namespace: str
    task: str
    setup: tuple[Object, ...] = ()
    hints: tuple[HintStep, ...] = ()
    hint_cost: float = 0
    """Points that each step of help costs."""
    solution: str = ""
    """The text of a reference answer."""
    topics: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    transfer: bool = False
    """No counterexample is shown before the second check."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The names that the seed picked, by their words."""
    formerly: tuple[str, ...] = ()
    """Ids that it had in earlier versions of the course."""
    seed: int | None = None
    """What picked the names; ``None`` where there are none to pick."""

    @property
    def id(self) -> str:
        """The exercise's name in its lab."""
        return self.wishes.exercise

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id under which a journal may tell about it, today's last."""
        return (*self.formerly, self.id)

    @property
    def title(self) -> str:
        """The exercise's title."""
        return self.wishes.title

    @property
    def worked(self) -> bool:
        """Say whether its answer is part of the text, so that no solution gives anything away."""
        return self.title.startswith(WORKED)

    @property
    def statement(self) -> str:
        """The task, its questions, and how points are given where that is not all or nothing."""
        asked = [f'`lab.answer("{name}", ...)`: {text}' for name, text in self.questions.items()]
        parts = [f"{name} {points:g}" for name, points in self.wishes.credit.items()]
        lines = [f"Points: {', '.join(parts)}."] if parts else []
        if self.hint_cost:
            lines.append(f"Each hint costs {self.hint_cost:g} points.")
        return "\n\n".join([self.task.strip(), *asked, " ".join(lines)]).strip()

    @property
    def namespaces(self) -> list[str]:
        """Every namespace of the set-up, its own first."""
        made = [meta.name_of(obj) for obj in self.setup if obj["kind"] == "Namespace"]
        return list(dict.fromkeys([self.namespace, *made]))

    @property
    def questions(self) -> dict[str, str]:
        """The questions that the learner answers by typing: name and text."""
        found = (spec for spec in self.wishes.checks if spec["check"] == "answer")
        return {spec["id"]: spec["question"] for spec in found}


@dataclass(frozen=True)
class Prediction:
    """One prediction: the question, the choices, what decides, and why."""

    id: str
    question: str
    choices: Mapping[str, str]
    key: str
    namespace: str = ""
    observe: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    explanation: str = ""
    topics: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    quiz: str = ""
    part: str = ""
    """The part of the notebook that practises it."""

    @property
    def heading(self) -> str:
        """The question, with the numbers of the circulating claims that it puts to the test."""
        if not self.claims:
            return self.question
        word = "claim" if len(self.claims) == 1 else "claims"
        return f"{self.question} ({word} {', '.join(self.claims)})"


@dataclass(frozen=True)
class Lab:
    """One lab: exercises and predictions by id, in order."""

    name: str
    title: str
    directory: Path
    minutes: int = 60
    exercises: Mapping[str, Exercise] = field(default_factory=dict)
    predictions: Mapping[str, Prediction] = field(default_factory=dict)

    @property
    def core(self) -> list[Exercise]:
        """The exercises that everybody does; the others are in the second notebook."""
        return [one for one in self.exercises.values() if not one.title.startswith(STRETCH)]

    def exercise(self, name: str) -> Exercise:
        """Return an exercise; `UsageError` names those there are."""
        found: Exercise = _pick(self.exercises, name, "exercise", self.name)
        return found

    def prediction(self, name: str) -> Prediction:
        """Return a prediction; `UsageError` names those there are."""
        found: Prediction = _pick(self.predictions, name, "prediction", self.name)
        return found


def _pick(found: Mapping[str, Any], name: str, what: str, lab: str) -> Any:
    if name in found:
        return found[name]
    known = ", ".join(found) or "none"
    raise UsageError(f"the lab {lab} has no {what} {name!r}", hint=f"there are: {known}")


def load(directory: Path | str, seed: Callable[[], int] = lambda: 0) -> Lab:
    """Read the lab in a directory; raises `ExerciseError` with file, exercise and field.

    `seed` is asked for only by a lab with seeded names.
    """
    directory = Path(directory)
    file = directory / FILE
    data = read_yaml(file)
    validate(data, schema.LAB, str(file))
    _compare_elements(data, schema.LAB, str(file))
    number = data["lab"].partition("-")[0]
    reader = _Reader(file, number, tuple(data.get("needs") or ()), seed)
    exercises = _by_id(
        (reader.exercise(entry, n) for n, entry in _mappings(data, "exercises", str(file))), file
    )
    _compare_ids(exercises, file)
    foretold = _mappings(data, "predictions", str(file))
    predictions = _by_id((reader.prediction(entry, n, exercises) for n, entry in foretold), file)
    return Lab(
        data["lab"], data["title"], directory, data.get("minutes", 60), exercises, predictions
    )


def read_yaml(file: Path) -> Any:
    """Return the one value of a YAML file; raises `ExerciseError` or `ManifestError`."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ExerciseError(f"{file}: cannot read it: {error.strerror}") from error
    documents = manifests.load_values(content, str(file))
    if len(documents) != 1:
        raise ExerciseError(f"{file}: must hold one document, not {len(documents)}")
    return with_lines(documents[0], content.decode("utf-8-sig"))


def _entries(data: Mapping[str, Any], key: str) -> Iterator[tuple[int, Any]]:
    return enumerate(data.get(key) or (), 1)


def _mappings(data: Mapping[str, Any], key: str, place: str) -> Iterator[tuple[int, Any]]:
    """Yield the entries of a list, each of which must be a mapping: only these know their line."""
    for number, entry in _entries(data, key):
        if not isinstance(entry, dict):
            raise ExerciseError(
                f"{at(place, data, key)}: field {key!r}: number {number} must be a mapping"
            )
        yield number, entry


def _by_id(found: Iterator[Any], file: Path) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for one in found:
        if one.id in result:
            raise ExerciseError(f"{file}: the id {one.id!r} stands twice")
        result[one.id] = one
    return result


def _compare_ids(exercises: Mapping[str, Exercise], file: Path) -> None:
    """Raise `ExerciseError` where what was done under an id could be two exercises'."""
    owners: dict[str, str] = {}
    for exercise in exercises.values():
        for name in exercise.ids:
            if owners.setdefault(name, exercise.id) != exercise.id:
                raise ExerciseError(
                    f"{file}: the id {name!r} is, or was, of {owners[name]} and of {exercise.id}",
                    hint="an id in `formerly` belongs to one exercise and is given to no other",
                )


@dataclass(frozen=True)
class _Reader:
    """Turns the mappings of one file into values; every message begins with the place."""

    file: Path
    number: str
    needs: tuple[str, ...]
    seed: Callable[[], int]

    def _identify(self, entry: Any, what: str, number: int) -> str:
        known = entry.get("id") if isinstance(entry, dict) else None
        place = f"{self.file}: {what} {known or number}"
        if isinstance(known, str) and not _ID.fullmatch(known):
            raise ExerciseError(
                f"{at(place, entry, 'id')}: field 'id' may hold lower-case letters, digits and"
                " dashes only"
            )
        return place

    def exercise(self, entry: Any, number: int) -> Exercise:
        place = self._identify(entry, "exercise", number)
        validate(entry, schema.EXERCISE, place)
        _compare_elements(entry, schema.EXERCISE, place)
        entry = _unsealed(entry, place)
        chosen = self._names(entry, place)
        entry = fill(keep(entry, {k: entry[k] for k in entry if k != "names"}), chosen, place)
        namespace = entry.get("namespace") or own_namespace(self.number, entry["id"])
        if not _ID.fullmatch(namespace) or len(namespace) > LONGEST_LABEL:
            raise ExerciseError(
                f"{at(place, entry, 'namespace')}: field 'namespace': {namespace!r} is no name"
                " of a namespace"
            )
        wants = [
            self._want(flow, namespace, f"{place}, flow {n}")
            for n, flow in _mappings(entry, "flows", place)
        ]
        for n, spec in _mappings(entry, "checks", place):
            self._check(spec, f"{place}, check {n}")
        checks = tuple(entry.get("checks") or ())
        wishes = Wishes(
            entry["id"],
            entry["title"],
            entry.get("points", 1),
            tuple(wants),
            checks,
            entry.get("may_change"),
            (*self.needs, *(entry.get("needs") or ())),
            credit=_credit(entry, place),
            no_collateral=entry.get("no_collateral", False),
            fresh_pods=entry.get("fresh_pods", _fresh_by_default(entry)),
            canaries=tuple(
                self._canary(canary, namespace, f"{place}, canary {n}")
                for n, canary in _mappings(entry, "canaries", place)
            ),
        )
        if not wants and not wishes.checks:
            raise ExerciseError(
                f"{at(place, entry, 'id')}: wants nothing", hint="give it flows or checks"
            )
        return Exercise(
            wishes,
            namespace,
            entry["task"],
            tuple(fill(list(self._setup(entry, namespace, place)), chosen, place)),
            self._hints(entry, namespace, place),
            entry.get("hint_cost", 0),
            fill(self._solution(entry, place), chosen, place),
            tuple(entry.get("topics") or ()),
            tuple(entry.get("claims") or ()),
            entry.get("transfer", False),
            chosen,
            tuple(entry.get("formerly") or ()),
            self.seed() if chosen else None,
        )

    def _names(self, entry: Mapping[str, Any], place: str) -> dict[str, str]:
        names = entry.get("names") or {}
        for word, choices in names.items():
            if not isinstance(choices, list) or not choices or not _all_texts(choices):
                raise ExerciseError(
                    f"{at(place, entry, 'names')}: names: {word!r} needs a list of names"
                )
        # An exercise that is called otherwise today keeps its learners' names: its first id picks.
        ids: list[str] = [*(entry.get("formerly") or ()), entry["id"]]
        return choose(names, self.seed(), ids[0]) if names else {}

    def prediction(self, entry: Any, number: int, exercises: Mapping[str, Exercise]) -> Prediction:
        place = self._identify(entry, "prediction", number)
        validate(entry, schema.PREDICTION, place)
        _compare_elements(entry, schema.PREDICTION, place)
        entry = _unsealed(entry, place)
        choices, reasons = entry["choices"], entry.get("reasons") or {}
        for name, among in (("key", choices), ("reason", reasons)):
            wanted = name == "key" or bool(reasons)
            if wanted and entry.get(name) not in among:
                raise ExerciseError(
                    f"{at(place, entry, name)}: field {name!r} is {entry.get(name)!r}",
                    hint=f"allowed are {', '.join(map(str, among))}",
                )
        owner = entry.get("exercise")
        if owner is not None and owner not in exercises:
            raise ExerciseError(
                f"{at(place, entry, 'exercise')}: field 'exercise': there is no exercise {owner!r}"
            )
        namespace = exercises[owner].namespace if owner else "default"
        observe = entry.get("observe") or {}
        self._observe(observe, namespace, f"{place}, observe")
        if "decides" in observe:
            _compare_patterns(observe["decides"], choices, f"{place}, observe, decides")
        return Prediction(
            entry["id"],
            entry["question"],
            choices,
            entry["key"],
            namespace,
            observe,
            reasons,
            entry.get("reason", ""),
            entry.get("explanation", ""),
            tuple(entry.get("topics") or ()),
            tuple(entry.get("claims") or ()),
            entry.get("quiz", ""),
            entry.get("part", ""),
        )

    def _want(self, entry: Any, namespace: str, place: str) -> Want:
        validate(entry, schema.FLOW, place)
        return Want(
            make_flow(entry, namespace, place),
            entry["want"],
            entry.get("because", ""),
            group=entry.get("group", ""),
            predicted=entry.get("predicted", True),
        )

    def _canary(self, entry: Any, namespace: str, place: str) -> Lookalike:
        validate(entry, schema.CANARY, place)
        _compare_elements(entry, schema.CANARY, place)
        try:
            like = Party.parse(entry["like"], namespace)
        except UsageError as error:
            raise ExerciseError(
                f"{at(place, entry, 'like')}: {error.message}", hint=error.hint
            ) from error
        return Lookalike(
            like,
            tuple(entry.get("without") or ()),
            entry.get("labels") or {},
            entry.get("elsewhere", False),
            entry.get("want", SAME),
        )

    def _hints(self, entry: Mapping[str, Any], namespace: str, place: str) -> tuple[HintStep, ...]:
        given = entry.get("hints") or ()
        if len(given) > schema.MOST_HINTS:
            raise ExerciseError(
                f"{at(place, entry, 'hints')}: field 'hints': {len(given)} steps",
                hint=schema.EXERCISE["hints"].meaning,
            )
        return tuple(
            self._hint(hint, namespace, f"{place}, hint {n}") for n, hint in enumerate(given, 1)
        )

    def _hint(self, entry: Any, namespace: str, place: str) -> HintStep:
        if isinstance(entry, str):
            return HintStep(entry)
        validate(entry, schema.HINT, place)
        conditions.check(entry["when"], f"{place}, when")
        if "flow" in entry["when"]:
            make_flow(entry["when"]["flow"], namespace, f"{place}, when, flow")
        return HintStep(entry["text"], entry["when"], entry["otherwise"])

    def _check(self, spec: Any, place: str) -> None:
        kind = spec.get("check") if isinstance(spec, dict) else None
        if not isinstance(kind, str) or kind not in CHECKS:
            raise ExerciseError(
                f"{at(place, spec, 'check')}: field 'check' is {kind!r}",
                hint=f"allowed are {', '.join(CHECKS)}",
            )
        validate(keep(spec, {name: spec[name] for name in COMMON if name in spec}), COMMON, place)
        CHECKS[kind].validate(spec, place)

    def _observe(self, spec: Mapping[str, Any], namespace: str, place: str) -> None:
        validate(spec, schema.OBSERVE, place)
        without_want = {key: value for key, value in schema.FLOW.items() if key != "want"}
        for n, flow in _mappings(spec, "flows", place):
            validate(flow, without_want, f"{place}, flow {n}")
            make_flow(flow, namespace, f"{place}, flow {n}")
        tables = {"http": schema.HTTP, "command": schema.COMMAND, "resolve": schema.RESOLVE}
        for key, table in tables.items():
            if key in spec:
                validate(spec[key], table, f"{place}, {key}")
        if fault := admitted.fault(spec["admitted"]) if "admitted" in spec else "":
            raise ExerciseError(f"{at(place, spec, 'admitted')}: field 'admitted': {fault}")
        for value in several(spec.get("value")):
            validate(value, graded_values.FIELDS, f"{place}, value")
            if fault := graded_values.fault(value):
                raise ExerciseError(f"{place}, value: {fault}")

    def _setup(self, entry: Mapping[str, Any], namespace: str, place: str) -> Iterator[Object]:
        for name in entry.get("setup") or ():
            path = self.file.parent / str(name)
            if not path.exists():
                raise ExerciseError(
                    f"{at(place, entry, 'setup')}: field 'setup': there is no file {path}"
                )
            for manifest in manifests.load_paths([path]):
                yield placed(manifest.object, namespace)

    def _solution(self, entry: Mapping[str, Any], place: str) -> str:
        name = entry.get("solution") or ""
        if not name or "\n" in name:  # a released lab carries the text itself
            return str(name)
        path = self.file.parent / name
        if not path.is_file():
            raise ExerciseError(
                f"{at(place, entry, 'solution')}: field 'solution': there is no file {path}"
            )
        return path.read_text(encoding="utf-8")


def own_namespace(lab: str, exercise: str) -> str:
    """Return the namespace of an exercise that names none; of the lab its number is enough."""
    return f"lab{lab.partition('-')[0]}-{exercise}"


def several(value: Any) -> list[Any]:
    """Return what stands alone or in a list as a list; an empty one for nothing."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _credit(entry: Mapping[str, Any], place: str) -> dict[str, float]:
    """Return the points of each group; raises `ExerciseError` when they do not add up."""
    credit = entry.get("credit") or {}
    used = {
        part["group"]
        for part in (*(entry.get("flows") or ()), *(entry.get("checks") or ()))
        if "group" in part
    }
    place = at(place, entry, "credit")
    for name in sorted({*credit, *used}, key=str):
        if name not in credit:
            raise ExerciseError(f"{place}: the group {name!r} has no points in `credit`")
        if name not in used:
            raise ExerciseError(f"{place}: credit: no flow and no check has the group {name!r}")
        worth = credit[name]
        if isinstance(worth, bool) or not isinstance(worth, int | float) or worth < 0:
            raise ExerciseError(
                f"{place}: credit: the points of {name!r} must be a number, 0 or more"
            )
    points = entry.get("points", 1)
    if credit and abs(sum(credit.values()) - points) > 1e-9:
        raise ExerciseError(
            f"{place}: credit gives {sum(credit.values()):g} points together, not {points:g}"
        )
    return dict(credit)


def _compare_elements(entry: Mapping[str, Any], fields: Fields, place: str) -> None:
    """Raise `ExerciseError` for what stands inside of a field, or for a number below zero."""
    for name in fields.keys() & entry.keys():
        where, value = f"{at(place, entry, name)}: field {name!r}", entry[name]
        if isinstance(value, int | float) and value < 0:
            raise ExerciseError(f"{where} must not be less than 0", hint=fields[name].meaning)
        inner = value.values() if isinstance(value, dict) else value
        if name in schema.OF_TEXTS and not _all_texts(inner):
            raise ExerciseError(f"{where} must hold texts only", hint=fields[name].meaning)
        if name == "needs" and (unknown := sorted({*value} - {*schema.NEEDS})):
            raise ExerciseError(
                f"{where}: no cluster has {', '.join(unknown)}",
                hint=f"allowed are {', '.join(schema.NEEDS)}",
            )


def _all_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(one, str) for one in values)


def _compare_patterns(decides: Mapping[str, Any], choices: Mapping[str, str], place: str) -> None:
    """Raise `ExerciseError` unless there is a regular expression for each choice, and no other."""
    if set(decides) != set(choices):
        raise ExerciseError(
            f"{at(place, decides, '')}: names {', '.join(map(str, decides))}",
            hint=f"give an expression for each choice: {', '.join(map(str, choices))}",
        )
    for choice, pattern in decides.items():
        where = f"{at(place, decides, choice)}: {choice}"
        if not isinstance(pattern, str) or not pattern:  # an empty one fits whatever is seen
            raise ExerciseError(f"{where}: {pattern!r} is no regular expression")
        try:
            re.compile(pattern, re.MULTILINE)
        except re.error as error:
            raise ExerciseError(f"{where}: {error} in {pattern!r}") from error


def _fresh_by_default(entry: Mapping[str, Any]) -> bool:
    """Say whether pods are replaced before points are given, where the exercise does not say.

    Not where addresses are typed: they would be wrong as soon as they were right.
    """
    typed = any(spec.get("check") == "answer" for spec in entry.get("checks") or ())
    return entry.get("may_change") is not None and not typed


def _unsealed(entry: dict[str, Any], place: str) -> dict[str, Any]:
    rest = {key: value for key, value in entry.items() if key != "sealed"}
    return keep(entry, rest | (unseal(entry["sealed"], place) if "sealed" in entry else {}))


def placed(obj: Object, namespace: str) -> Object:
    """Return an object with its namespace: `namespace` where it names none and has one."""
    if obj["kind"] in CLUSTER_SCOPED:
        return obj
    metadata = obj.get("metadata") or {}
    return {**obj, "metadata": {**metadata, "namespace": metadata.get("namespace") or namespace}}


def make_flow(entry: Mapping[str, Any], namespace: str, place: str) -> Flow:
    """Return the flow of a mapping with from, to, port, protocol; raises `ExerciseError`."""
    try:
        return Flow.of(
            entry["from"],
            entry["to"],
            entry["port"],
            entry.get("protocol", "TCP"),
            namespace=namespace,
        )
    except UsageError as error:
        raise ExerciseError(
            f"{at(place, entry, 'from')}: {error.message}", hint=error.hint
        ) from error
