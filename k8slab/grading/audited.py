"""What an audit says, as something that an exercise can want or ask.

A live estate is the cluster's own: the check ``audit`` wants none of the findings that the
exercise names. A large one is made from a seed and never put on a cluster; what an audit
finds in it is a value like others:

    {estate: {pods: 4000, policies: 2000, namespaces: 50, seed: 7}, finding: dns-denied}
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from k8slab.audit import CHECKS, audit, estates
from k8slab.audit import rulefile as rulefiles
from k8slab.clusters.inventory import inventory
from k8slab.errors import ExerciseError
from k8slab.grading.fields import Field, Fields, text, validate
from k8slab.grading.result import Counterexample, Finding, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.audit import Finding as Found
    from k8slab.audit import Report
    from k8slab.grading.context import Context

FIELDS: Fields = {
    "findings": Field((list,), "the checks of the audit that must find nothing", required=True),
    "rules": text("a rule file that is shipped, for example pci-dss-v4"),
}

ESTATE: Fields = {
    "pods": Field((int,), "about how many pods", required=True),
    "policies": Field((int,), "how many policies", required=True),
    "namespaces": Field((int,), "how many namespaces", required=True),
    "seed": Field((int, str), "the same seed makes the same estate", required=True),
}


def fault(spec: Mapping[str, Any]) -> str:
    """Say what is wrong with a check of this kind; empty when nothing is."""
    known = [*CHECKS]  # a list: what is asked for may be no word at all
    unknown = [name for name in spec["findings"] if name not in known]
    if unknown:
        return f"field 'findings': the audit has no check {unknown[0]!r}"
    if "rules" in spec and spec["rules"] not in (shipped := rulefiles.shipped()):
        return f"field 'rules' is {spec['rules']!r}; allowed are {', '.join(sorted(shipped))}"
    return ""


def estate_fault(spec: Mapping[str, Any]) -> str:
    """Say what is wrong with a value about an estate; empty when nothing is."""
    try:
        validate(spec["estate"], ESTATE, "estate")
    except ExerciseError as error:
        return error.message
    if not re.fullmatch(r"-?[0-9]+|<<.*>>", str(spec["estate"]["seed"])):
        return f"the seed of an estate must be a whole number, not {spec['estate']['seed']!r}"
    if spec.get("finding") not in CHECKS:
        return f"the audit has no check {spec.get('finding')!r}: give one as `finding`"
    return ""


def check(context: Context, spec: Mapping[str, Any]) -> Finding:
    """Audit the cluster and look for the findings in the exercise's namespaces."""
    rules = rulefiles.load(spec["rules"]) if "rules" in spec else None
    report = audit(inventory(context.cluster), rules).within(context.namespaces)
    struck = [found for found in report.findings if found.check.name in spec["findings"]]
    if not struck:
        return Finding("audit", Status.PASSED)
    told = "1 finding is" if len(struck) == 1 else f"{len(struck)} findings are"
    first = struck[0]
    example = Counterexample(
        f"{first.subject} {first.field}".strip(),
        "no finding",
        f"{first.check.title.lower()} [{first.check.name}]",
        (first.message, first.check.why),
        "k8slab policy audit",
    )
    return Finding("audit", Status.FAILED, (f"{told} left",), example)


def value(spec: Mapping[str, Any]) -> int | str:
    """Return how often a check strikes in a seeded estate, or (`names`) where."""
    size = spec["estate"]
    found = of_estate(size["pods"], size["policies"], size["namespaces"], int(size["seed"]))
    struck = [one for one in found.findings if one.check.name == spec["finding"]]
    return ", ".join(sorted(map(_name, struck))) if spec.get("list") else len(struck)


@functools.cache
def of_estate(pods: int, policies: int, namespaces: int, seed: int) -> Report:
    """Make a large estate and audit it: about a second for 4,000 pods and 2,000 policies."""
    return audit(estates.realistic(estates.Size(pods, policies, namespaces), seed))


def _name(found: Found) -> str:
    return found.subject.partition(" ")[2]
