"""The format of ``exercises.yaml``: one table of fields for each mapping in it.

The tables are what is allowed, what the messages say, and what ``book/authoring.md`` lists.
"""

from __future__ import annotations

from k8slab.embedded.config import CAPABILITIES, OF_SOME
from k8slab.grading import WISHES, conditions, lookalikes
from k8slab.grading.fields import Field, Fields, text

_IDS = Field((list,), "ids from the course's list of topics or claims")
_SEALED = text("keys, hints and solutions of a released lab, packed so that nobody trips over them")

LAB: Fields = {
    "lab": text("the lab's directory name, for example 01-networking-model", required=True),
    "title": text("the lab's title", required=True),
    "minutes": Field((int,), "how long the core of the lab takes"),
    "needs": Field((list,), "capabilities of the provider that the whole lab needs"),
    "exercises": Field((list,), "the exercises, in order"),
    "predictions": Field((list,), "the predictions, in order"),
}

EXERCISE: Fields = {
    "id": text("a short name of lower-case letters, digits and dashes", required=True),
    "formerly": Field((list,), "ids that it had in earlier versions of the course"),
    "title": text("the title", required=True),
    "task": text("what is to be done, shown when the exercise begins", required=True),
    "points": Field((int, float), "the points for solving it; 1 otherwise"),
    "namespace": text("its own namespace; made of lab number and id otherwise"),
    "setup": Field((list,), "manifest files, relative to the lab's directory"),
    "flows": Field((list,), "wanted flows"),
    "checks": Field((list,), "further checks, each with `check:` and its fields"),
    "may_change": Field((list,), "patterns RESOURCE/NAME; everything else must stay as set up"),
    "credit": Field((dict,), "points of each group of flows and checks; together `points`"),
    "no_collateral": Field((bool,), "true: flows that are not listed must stay as they were"),
    "fresh_pods": Field(
        (bool,), "whether it must hold with new pods too; true where `may_change` is given"
    ),
    "canaries": Field((list,), "pods of the grader's own that look like those of the set-up"),
    "transfer": Field((bool,), "true: no counterexample before the second check"),
    "names": Field((dict,), "choices for each <<word>> in texts and manifests; a seed picks"),
    "hints": Field(
        (list,),
        "up to three steps: a text, or `when`, `text` and `otherwise`; the last is nearly it",
    ),
    "hint_cost": Field((int, float), "points that each hint costs; none otherwise"),
    "solution": text("a file with a reference answer, relative to the lab's directory"),
    "topics": _IDS,
    "claims": _IDS,
    "needs": Field((list,), "capabilities of the provider that it needs"),
    "sealed": _SEALED,
}

FLOW: Fields = {
    "from": text("who: POD, deployment/NAME, NAMESPACE/POD, node:NAME, world:HOST", required=True),
    "to": text("whom: POD, svc:NAME, NAMESPACE/POD, ip:ADDRESS, name:HOST", required=True),
    "port": Field((int, str), "a port number, or the name of a port", required=True),
    "protocol": text("TCP otherwise", allowed=("TCP", "UDP", "SCTP")),
    "want": text("the outcome wanted", required=True, allowed=tuple(WISHES)),
    "because": text("why the task wants it"),
    "group": text("the group of `credit` that it belongs to"),
    "predicted": Field((bool,), "false: something else than policies decides about this flow"),
}

HINT: Fields = {
    "when": Field((dict,), "what must be so in the cluster for `text` to be given", required=True),
    "text": text("the hint", required=True),
    "otherwise": text("the hint when it is not so", required=True),
}

CONDITION: Fields = conditions.FIELDS

CANARY: Fields = lookalikes.FIELDS

PREDICTION: Fields = {
    "id": text("a short name of lower-case letters, digits and dashes", required=True),
    "question": text("what is going to happen?", required=True),
    "choices": Field((dict,), "the choices: a word and its text", required=True),
    "key": text("the word of the choice that is right"),
    "exercise": text("the exercise whose pods it is about, if any"),
    "observe": Field((dict,), "what `observe` looks at; without it the learner says what was seen"),
    "reasons": Field((dict,), "reasons to choose from: a word and its text"),
    "reason": text("the word of the reason that is right"),
    "explanation": text("what is shown after the reason was chosen"),
    "quiz": text("the quiz that it belongs to: a question about what is known, not a prediction"),
    "part": text("of a quiz's question: the heading of the notebook's part that practises it"),
    "topics": _IDS,
    "claims": _IDS,
    "sealed": _SEALED,
}

OBSERVE: Fields = {
    "flows": Field((list,), "flows to try, without `want`"),
    "value": Field((dict, list), "a value that the cluster tells, or several"),
    "http": Field((dict,), "a request: from, url, request_headers"),
    "command": Field((dict,), "a command: pod or node, argv"),
    "resolve": Field((dict,), "look-ups of names in a pod, query by query: from, names"),
    "admitted": Field((dict,), "an object; what the API server says to it (nothing is kept)"),
    "kubectl": Field((list,), "the words of a kubectl command, in the exercise's namespace"),
    "decides": Field((dict,), "for each choice a regular expression of what is then seen"),
}

RESOLVE: Fields = {
    "from": text("the pod that asks; it needs python3", required=True),
    "names": Field((list,), "the names, looked up one after the other", required=True),
    "command": Field((list,), "what looks up instead of the C library, the name put behind it"),
}

COMMAND: Fields = {
    "pod": text("the pod in which it runs"),
    "container": text("the container of the pod; its default one otherwise"),
    "node": text("the node on which it runs"),
    "argv": Field((list,), "the command, word by word", required=True),
}

HTTP: Fields = {
    "from": text("the pod that asks", required=True),
    "url": text("what is asked for", required=True),
    "request_headers": Field((dict,), "headers to send"),
}

SEALED_IN_EXERCISE = ("hints", "solution")
SEALED_IN_PREDICTION = ("key", "reason", "explanation")

NEEDS = tuple(sorted((*CAPABILITIES, *OF_SOME)))
"""What a lab or an exercise can need of a cluster; the embedded one has all that there is."""

OF_TEXTS = frozenset(
    {
        "choices",
        "claims",
        "formerly",
        "may_change",
        "needs",
        "reasons",
        "setup",
        "topics",
        "without",
    }
)
"""Fields whose elements are texts."""

MOST_HINTS = 3
