"""Why it is so: what learners are shown once they have chosen, for whoever only reads.

A chapter's notebook chooses nothing, so it has the questions alone. What is right is taken from
the lab, as `lab.explain` and `lab.quiz_result` show it, with the claim that a prediction puts to
the test.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k8slab.notebook.views import box, paragraphs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k8slab.course import Lab
    from k8slab.course.lab import Prediction

    Claims = Mapping[str, Mapping[str, Any]]
    """Entries of ``claims.yaml`` by their ids."""

_CALL = re.compile(r'lab\.(explain|quiz_result)\("([^"]+)"\)')


def told(source: str, lab: Lab, claims: Claims) -> str:
    """Return as HTML what is right about each prediction and quiz that a cell asks a reason of.

    Empty where it asks none, and where the cell itself gives the reason.
    """
    return "".join(_boxes(source, lab, claims))


def _boxes(source: str, lab: Lab, claims: Claims) -> Iterator[str]:
    for call, name in _CALL.findall(source):
        if call == "explain":
            found = lab.prediction(name)
            yield _box(found, f"The reason: {found.reasons[found.reason]}", claims)
        else:
            for found in lab.predictions.values():
                if found.quiz == name:
                    yield _box(found, f"The answer: {found.choices[found.key]}", claims)


def _box(found: Prediction, right: str, claims: Claims) -> str:
    parts = [right, found.explanation.strip()]
    parts += [_claim(claims[name]) for name in found.claims if name in claims]
    return box(found.heading, [paragraphs(part) for part in parts if part])


def _claim(entry: Mapping[str, Any]) -> str:
    unknown = entry["source"] == "unverified"
    source = "no source was found, the experiment decides" if unknown else entry["source"]
    return f'Claim {entry["id"]}: "{entry["claim"]}". True is: {entry["truth"]}. Source: {source}.'
