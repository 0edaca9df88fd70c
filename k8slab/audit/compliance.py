"""Annotations on policies: what is written, and what the user's rule file misses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.audit.catalogue import CHECKS
from k8slab.audit.finding import Finding
from k8slab.audit.rulefile import read_date
from k8slab.objects import meta

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from k8slab.audit.rulefile import Annotation, RuleFile
    from k8slab.audit.source import Source
    from k8slab.audit.world import World


@dataclass(frozen=True, slots=True)
class Entry:
    """One annotation that a rule asks of one policy, and what is written there."""

    subject: str
    key: str
    requirement: str
    value: str
    """Empty when the annotation is missing."""


def asked(world: World, rules: RuleFile) -> Iterator[tuple[Source, Annotation, str]]:
    """Yield for each policy and each annotation asked of it what is written there."""
    for policy in world.estate.policies:
        source = world.source(policy)
        labels = world.estate.namespaces.get(policy.namespace, {})
        written = meta.annotations_of(source.object)
        for annotation in rules.annotations:
            if annotation.namespaces.matches(labels):
                yield source, annotation, str(written.get(annotation.key) or "")


def entries(world: World, rules: RuleFile) -> list[Entry]:
    """List what policies say about themselves, for the report."""
    return [
        Entry(source.subject, annotation.key, annotation.requirement, value)
        for source, annotation, value in asked(world, rules)
    ]


def findings(world: World, rules: RuleFile, today: dt.date) -> Iterator[Finding]:
    """Find annotations that are missing, wrong or too old."""
    for source, annotation, value in asked(world, rules):
        check, told = _judge(annotation, value, today)
        if not check:
            continue
        about = " ".join(filter(None, (annotation.requirement, annotation.text)))
        message = f"{told} ({about})" if about else told
        path = "metadata.annotations" + (f'["{annotation.key}"]' if value else "")
        yield Finding(
            CHECKS[check],
            source.subject,
            message,
            path,
            manifest=source.manifest,
            rated=annotation.severity,
        )


def _judge(annotation: Annotation, value: str, today: dt.date) -> tuple[str, str]:
    key = annotation.key
    if not value:
        return "annotation-missing", f"there is no annotation {key}"
    if annotation.matches and not re.fullmatch(annotation.matches, value):
        return "annotation-wrong", f"{key}: {value!r:.80} is not like {annotation.matches}"
    if annotation.max_age_days:
        date = read_date(value)
        if date is None:
            return "annotation-wrong", f"{key}: {value!r:.80} is not a date"
        if date > today:
            return "annotation-wrong", f"{key}: {value} lies in the future"
        if (today - date).days > annotation.max_age_days:
            days = f"{(today - date).days} days ago, at most {annotation.max_age_days} are allowed"
            return "annotation-old", f"{key}: {value} is {days}"
    return "", ""
