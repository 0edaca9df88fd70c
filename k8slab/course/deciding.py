"""What decides a prediction: outcomes of flows, expressions, or the text alone.

An experiment decides only what it shows without doubt. Flows do where all of them had one
outcome, and that is a choice. Everything else needs an expression for each choice (``decides``),
and exactly one of them must be found. What fits no choice, or two, decides nothing: a query
that was repeated on a busy machine, a step that was left out. Where nothing is measured, the
lab's own key says what its source says, and nobody may call that an experiment.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k8slab.probes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.course.lab import Prediction
    from k8slab.probes import Observation

_OUTCOMES = frozenset(one.value for one in Outcome if one is not Outcome.FAILED)


def by_experiment(prediction: Prediction) -> bool:
    """Say whether what is observed decides, and not the lab's own key."""
    observe = prediction.observe
    outcomes = "flows" in observe and _OUTCOMES.issuperset(prediction.choices)
    return "decides" in observe or outcomes


def fitting(
    prediction: Prediction, said: Iterable[str], observations: Sequence[Observation] = ()
) -> list[str]:
    """Return the choices that fit what was seen: where it is one, that one came true.

    `said` is what the cluster said, line by line. An expression is looked for in all lines
    together, ``^`` and ``$`` at the ends of each; so it can compare one line with another.
    """
    outcomes = {one.outcome.value for one in observations}
    if Outcome.FAILED.value in outcomes:
        return []
    if patterns := prediction.observe.get("decides"):
        text = "\n".join(said)
        return [c for c, pattern in patterns.items() if re.search(str(pattern), text, re.MULTILINE)]
    if "flows" not in prediction.observe:
        return [prediction.key]
    return sorted(outcomes) if outcomes.issubset(prediction.choices) else []
