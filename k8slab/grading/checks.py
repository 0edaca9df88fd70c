"""Checks by name: what an exercise can want besides flows.

A check is a table of fields and a function from context and spec to a finding. New kinds
are entered in `CHECKS`; course, command line and reference page find them there.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from k8slab.errors import ExerciseError, K8slabError, UsageError
from k8slab.grading import admitted, audited, certificates, http, queries, rollouts, spread, values
from k8slab.grading.fields import MEANING, Field, Fields, at, pattern_fault, text, validate
from k8slab.grading.polling import Polling
from k8slab.grading.result import Counterexample, Finding, Status
from k8slab.objects import paths
from k8slab.objects.lines import keep
from k8slab.probes import Flow, Outcome, Party, observe, one_pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.grading.context import Context

Spec = dict[str, Any]

COMMON: Fields = {
    "check": text("the kind of check", required=True),
    "title": text("what is wanted, as the learner reads it"),
    "group": text("the group of `credit` that it belongs to"),
}
"""Fields of every check."""


@dataclass(frozen=True)
class CheckKind:
    """One kind of check: its fields, what else must hold among them, and how it is run."""

    fields: Fields
    run: Callable[[Context, Spec], Finding]
    fault: Callable[[Spec], str] = lambda _spec: ""
    depends_on_pods: bool = False
    """Whether it is run again with new pods."""

    def validate(self, spec: Spec, place: str) -> None:
        """Raise `ExerciseError` when an exercise file uses this check wrongly."""
        given = keep(spec, {name: value for name, value in spec.items() if name not in COMMON})
        validate(given, self.fields, place)
        try:
            fault = self.fault(given) or _asker_fault(given)
        except ExerciseError as error:  # of a part, which knows its field and line alone
            where = f"{at(place, spec, 'check')}: {error.message}"
            raise ExerciseError(where, hint=error.hint) from error
        if fault:
            raise ExerciseError(f"{at(place, spec, 'check')}: {fault}")


def _asker_fault(spec: Spec) -> str:
    try:
        Party.parse(spec.get("from", "anybody"), "anywhere")
    except UsageError as error:
        return f"field 'from': {error.message}"
    return ""


def run_check(context: Context, spec: Spec) -> Finding:
    """Run one check of an exercise; an error of our own becomes a finding that says so."""
    kind = CHECKS[spec["check"]]
    title = spec.get("title") or spec.get("question") or spec["check"]
    try:
        found = _run_to_the_end(context, kind, spec)
    except K8slabError as error:
        found = Finding(title, Status.ERROR, (str(error),))
    return replace(found, check=title, group=spec.get("group", ""))


def _run_to_the_end(context: Context, kind: CheckKind, spec: Spec) -> Finding:
    """Run a check; once more when all is quiet, should a pod go while it is asked.

    The old pod of a roll-out is such a one: it is listed, and gone when a command starts in it.
    """
    try:
        return kind.run(context, spec)
    except K8slabError as error:
        if error in context.unasked.values():
            raise  # nobody will ask in the place of this asker
        Polling(
            look=context.quiet, good=bool, quiet=lambda _: False, deadline=context.deadline
        ).run()
        return kind.run(context, spec)


def _contains(seen: Any, want: Any) -> bool:
    if isinstance(seen, str):
        return str(want) in seen
    if isinstance(seen, dict) and isinstance(want, dict):
        return want.items() <= seen.items()
    return isinstance(seen, list | dict) and want in seen


def _is_number(seen: Any) -> bool:
    """Say whether a value can be more or less than a number: a learner may have written a word."""
    return isinstance(seen, int | float) and not isinstance(seen, bool)


# Wishes about a value: how it is compared, in a table. What `matches` wants its `meaning` tells.
_COMPARE: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "equals": ("to be {}", lambda seen, want: seen == want),
    "not_equals": ("not to be {}", lambda seen, want: seen != want),
    "matches": (
        "{}",
        lambda seen, want: seen is not None and bool(re.search(want, values.as_text(seen))),
    ),
    "contains": ("to contain {}", _contains),
    "at_least": ("to be at least {}", lambda seen, want: _is_number(seen) and seen >= want),
    "at_most": ("to be at most {}", lambda seen, want: _is_number(seen) and seen <= want),
    "exists": ("{}", lambda seen, want: (seen is not None) == want),
}
_ANY = (str, int, float, bool, list, dict)
COMPARISONS: Fields = {
    "equals": Field(_ANY, "the value wanted"),
    "not_equals": Field(_ANY, "a value that is not wanted"),
    "matches": text("a regular expression that must be found in the value"),
    "contains": Field((str, int, dict), "an element or a part of the value"),
    "at_least": Field((int, float), "the least number wanted"),
    "at_most": Field((int, float), "the greatest number wanted"),
    "exists": Field((bool,), "whether there must be a value at all"),
    "same_as": Field((dict,), "where the cluster tells the value wanted"),
}


def misses(seen: Any, spec: Spec) -> list[str]:
    """Return in words every comparison of `spec` that the value does not fulfil."""
    return [
        words.format(_told(name, spec))
        for name, (words, holds) in _COMPARE.items()
        if name in spec and not holds(seen, spec[name])
    ]


def _told(name: str, spec: Spec) -> str:
    """Say what a comparison wants, in words that learners know."""
    if name == "matches":
        return str(spec.get("meaning", ""))
    if name == "exists":
        return "to be there" if spec[name] else "not to be there"
    return values.as_text(spec[name])


def _shown(value: Any) -> str:
    """Return a value as it stands in a sentence: a file is to be read elsewhere."""
    told = values.as_text(value)
    lines = len(told.splitlines())
    return f"a text of {lines} lines" if lines > 1 else told


def _check_field(context: Context, spec: Spec) -> Finding:
    def wanted() -> Spec:
        if "same_as" not in spec:
            return spec
        return {**spec, "equals": values.read(context, spec["same_as"])}

    value = Polling(
        look=lambda: values.read(context, spec),
        good=lambda seen: not misses(seen, wanted()),
        quiet=lambda _: context.quiet(),
        deadline=context.deadline,
    ).run()
    missed = misses(value, wanted())
    if not missed:
        return Finding("field", Status.PASSED)
    if "from" in spec:
        return _costly(context, spec, value, missed)
    listed = "endpointslices" if "endpoints" in spec else "events"
    what = spec.get("object") or spec.get("count") or spec.get("names") or listed
    name = f"{what} {spec.get('path', '')}".strip()
    space = spec.get("namespace", context.namespace)
    seen = _shown(value)
    line = f"{name} is {seen}"
    resource, _, rest = str(what).partition("/")
    if "object" in spec and values.find(context, spec) is None:
        line = seen = f'{resource} "{rest}" not found in the namespace {space}'
    command = f"kubectl -n {space} get {resource} {rest}".strip()
    example = Counterexample(name, " and ".join(missed), seen, replay=f"{command} -o yaml")
    return Finding("field", Status.FAILED, (line,), example)


def _costly(context: Context, spec: Spec, value: Any, missed: list[str]) -> Finding:
    """Tell about a look-up that costs something else than wanted."""
    name = spec.get("queries") or spec["seconds"]
    unit = "queries" if "queries" in spec else "seconds"
    source = Party.parse(spec["from"], context.namespace)
    line = f"{name} costs {value} {unit} in {source}"
    replay = f'in a notebook: lab.resolve("{spec["from"]}", "{name}")'
    example = Counterexample(
        f"{unit} of {name} in {source}", " and ".join(missed), str(value), replay=replay
    )
    return Finding("field", Status.FAILED, (line,), example)


def _check_answer(context: Context, spec: Spec) -> Finding:
    typed = context.answers.get(spec["id"])
    if typed is None:
        line = f'no answer yet: lab.answer("{spec["id"]}", "...")'
        return Finding("answer", Status.FAILED, (line,))
    if spec.get("at_start"):
        if spec["id"] not in context.told:
            line = "what it was at the start was not measured: reset the exercise"
            return Finding("answer", Status.INCONCLUSIVE, (line,))
        value, verb = context.told[spec["id"]], "said"
    else:
        value, verb = values.read(context, spec["value"]), "says"
    before = context.typed.get(spec["id"], typed)
    shown = typed if before == typed else f"{typed} ({before} when you typed it)"
    if values.alike(spec["value"], typed, value):
        return Finding("answer", Status.PASSED, (f"{shown} is what the cluster {verb} too",))
    # What the cluster says is the solution: it is not shown.
    return Finding("answer", Status.FAILED, (f"the cluster {verb} something else than {shown}",))


DRAWN = "{drawn}"


def _drawn(spec: Spec) -> Spec:
    """Draw the address that a name spells: nobody can have written this name down.

    It is one of the asker's own (127.0.0.0/8, RFC 1122), which refuses at once whoever connects.
    """
    if DRAWN not in spec["name"]:
        return spec
    numbers = ["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))]
    name = spec["name"].replace(DRAWN, "-".join(numbers))
    return {**spec, "name": name, "resolves": ".".join(numbers)}


def _check_dns(context: Context, spec: Spec) -> Finding:
    spec = _drawn(spec)
    # TCP, because a refusal comes at once: only the address that was found matters.
    flow = Flow(context.asker(spec["from"]), Party("name", spec["name"]), 53)

    def wanted() -> str:
        wish = spec.get("resolves", True)
        if isinstance(wish, dict):
            return values.as_text(values.read(context, wish))
        return ("an address" if wish else "no address") if isinstance(wish, bool) else wish

    def good(seen: tuple[Outcome, str]) -> bool:
        outcome, address = seen
        if outcome is Outcome.FAILED:
            return False
        wish = wanted()
        if wish == "no address":
            return outcome is Outcome.UNRESOLVED
        resolved = outcome is not Outcome.UNRESOLVED
        return resolved if wish == "an address" else address == wish

    def look() -> tuple[Outcome, str]:
        (seen,) = observe(context.cluster, [flow])
        return seen.outcome, seen.address

    seen = Polling(
        look=look,
        good=good,
        # A server that has just been started may not answer yet.
        quiet=lambda seen: context.quiet(listening=seen[0] is not Outcome.UNRESOLVED),
        deadline=context.deadline,
    ).run()
    if good(seen):
        return Finding("dns", Status.PASSED)
    source = one_pod(context.cluster, Party.parse(spec["from"], context.namespace))
    outcome, address = seen
    told = "the probe did not work" if outcome is Outcome.FAILED else address or "no address"
    command = ""
    if source.kind == "pod":
        command = f"kubectl -n {source.namespace} exec {source.name} -- nslookup {spec['name']}"
    example = Counterexample(f"{source} asks for {spec['name']}", wanted(), told, (), command)
    return Finding("dns", Status.FAILED, (f"{spec['name']} gives {told}",), example)


def _check_http(context: Context, spec: Spec) -> Finding:
    asker = context.asker(spec["from"])
    headers, certificate = spec.get("request_headers"), spec.get("certificate")
    seconds = spec.get("seconds", http.SECONDS)

    def missing(answer: http.Answer) -> list[str]:
        found = (
            []
            if answer.status == spec.get("status", 200)
            else [f"status {spec.get('status', 200)}"]
        )
        if spec.get("body_contains", "") not in answer.body:
            found.append(f"a body with {spec['body_contains']!r}")
        for path, want in (spec.get("json") or {}).items():
            wish = values.read(context, want) if isinstance(want, dict) else want
            seen = paths.at(_json(answer.body), path)
            if values.as_text(seen) != values.as_text(wish):
                found.append(f"{path} = {values.as_text(wish)} in the body")
        for name, want in (spec.get("headers") or {}).items():
            if answer.headers.get(name.lower()) != str(want):
                found.append(f"header {name}: {want}")
        if certificate is not None and not answer.error:
            found += certificates.misses(answer.certificate, certificate)
        return found

    def look() -> http.Answer:
        url = values.fill(context, spec["url"])
        return http.get(
            context.cluster, asker, url, headers, certificate=certificate, seconds=seconds
        )

    answer = Polling(
        look=look,
        good=lambda answer: not missing(answer),
        # Bodies differ from one request to the next; what is missing does not.
        same=lambda one, other: (one.told(), missing(one)) == (other.told(), missing(other)),
        quiet=lambda answer: context.quiet(listening=not answer.refused),
        deadline=context.deadline,
    ).run()
    if not (missed := missing(answer)):
        return Finding("http", Status.PASSED)
    source = one_pod(context.cluster, Party.parse(spec["from"], context.namespace))
    url = values.fill(context, spec["url"])
    command = http.command_line(source, url, headers, seconds=seconds)
    seen = answer.told()
    example = Counterexample(f"GET {url}", " and ".join(missed), seen, (), command)
    return Finding("http", Status.FAILED, (f"{url}: {seen}",), example)


def _json(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _comparison_fault(spec: Spec) -> str:
    if not any(name in spec for name in COMPARISONS):
        return f"needs one of {', '.join(COMPARISONS)}"
    if fault := pattern_fault(spec, "matches"):
        return fault
    if "same_as" in spec:
        validate(spec["same_as"], values.FIELDS, "same_as")
        if fault := values.fault(spec["same_as"]):
            return f"same_as: {fault}"
    return values.fault(spec)


def _answer_fault(spec: Spec) -> str:
    validate(spec["value"], values.FIELDS, "value")
    return values.fault(spec["value"])


def _http_fault(spec: Spec) -> str:
    if "certificate" in spec:
        validate(spec["certificate"], certificates.FIELDS, "certificate")
    for path in spec.get("json") or {}:
        try:
            paths.steps(path)
        except UsageError as error:
            return f"json: {error.message}"
    return "" if spec.get("seconds", 1) > 0 else "seconds: an answer takes more than no time"


CHECKS: dict[str, CheckKind] = {
    "admitted": CheckKind(
        admitted.FIELDS,
        admitted.check,
        lambda spec: admitted.fault(spec["manifest"]) or pattern_fault(spec, "refused"),
    ),
    "audit": CheckKind(audited.FIELDS, audited.check, audited.fault),
    "field": CheckKind(values.FIELDS | COMPARISONS | MEANING, _check_field, _comparison_fault),
    "answer": CheckKind(
        {
            "id": text("the name under which the answer is given", required=True),
            "question": text("what is asked", required=True),
            "value": Field((dict,), "where the cluster tells the answer", required=True),
            "at_start": Field(
                (bool,), "true: the value when the exercise begins, which repairing it changes"
            ),
        },
        _check_answer,
        _answer_fault,
    ),
    "dns": CheckKind(
        {
            "from": text("the pod that asks", required=True),
            "name": text(
                "the name that is asked for; `{drawn}` becomes an address that it must lead to, "
                "drawn for each check and written 127-1-2-3",
                required=True,
            ),
            "resolves": Field(
                (bool, str, dict), "true, false, an address, or where the cluster tells it"
            ),
        },
        _check_dns,
        depends_on_pods=True,
    ),
    "http": CheckKind(
        {
            "from": text("the pod that asks; it needs curl", required=True),
            "url": text("what is asked for; {pods/web status.podIP} gives a value", required=True),
            "status": Field((int,), "the status wanted; 200 otherwise"),
            "body_contains": text("text that the body must have"),
            "json": Field((dict,), "values wanted in a JSON body, by path"),
            "headers": Field((dict,), "response headers wanted"),
            "request_headers": Field((dict,), "headers to send"),
            "certificate": Field((dict,), "what the server's certificate must say"),
            "seconds": Field((int,), "how long an answer may take; 3 otherwise"),
        },
        _check_http,
        _http_fault,
        depends_on_pods=True,
    ),
    "distribution": CheckKind(spread.FIELDS, spread.check, spread.fault),
    "queries": CheckKind(queries.FIELDS, queries.check, queries.fault),
    "rollout": CheckKind(rollouts.FIELDS, rollouts.check, depends_on_pods=True),
}
