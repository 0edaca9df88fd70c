"""progress: what was done, in the labs and in challenges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from k8slab.cli import options
from k8slab.cli.completion import exercise_names
from k8slab.cli.console import show, show_json, tell

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("lab", required=False, default="", shell_complete=exercise_names)
@options.name
@options.as_json
@click.option("--repair", is_flag=True, help="Save what can be read of a damaged file first.")
def progress(*, lab: str, name: str, as_json: bool, repair: bool) -> None:
    """Show how far you are, in one lab or in all, and what came of your challenges.

    Of a challenge the fault is named when you made all points, or saw the answer.

    \b
    k8slab progress
    k8slab progress 01 --json
    """  # noqa: D301
    from k8slab.challenges import history  # noqa: PLC0415
    from k8slab.clusters import records  # noqa: PLC0415
    from k8slab.course import library  # noqa: PLC0415
    from k8slab.course.journal import Journal  # noqa: PLC0415
    from k8slab.course.session import Session  # noqa: PLC0415

    records.chosen_name(name)
    if repair:
        _tell_repaired(*Journal().repair())
    labs = [library.find(lab)] if lab else map(library.named, library.lab_names())
    found = [Session(each, None).progress() for each in labs]
    challenges = [] if lab else history.attempts(Journal())
    if as_json:
        values: dict[str, Any] = {"version": 1, "labs": [each.to_dict() for each in found]}
        if not lab:
            values["challenges"] = [each.to_dict() for each in challenges]
        show_json(values)
        return
    for each in found:
        show(each.text())
    if challenges:
        show(history.summary(challenges))
    for one in challenges:
        show(f"  {one.text()}")


def _tell_repaired(saved: int, aside: Path | None) -> None:
    if aside is None:
        tell("your progress can be read: there was nothing to repair")
    else:
        tell(f"{saved} entries were saved; the damaged file is kept as {aside}")


def schema() -> dict[str, Any]:
    """Return the schema of what `--json` prints."""
    from k8slab.challenges import history  # noqa: PLC0415  slow, and only the page needs it
    from k8slab.course.progress import SCHEMA  # noqa: PLC0415

    challenges = {
        "type": "array",
        "items": history.SCHEMA,
        "description": "In the order of their begin; not there when one lab is asked for.",
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "urn:k8slab:progress:1",
        "title": "What k8slab progress --json prints, version 1",
        "type": "object",
        "properties": {
            "version": {"const": 1},
            "labs": {"type": "array", "items": SCHEMA},
            "challenges": challenges,
        },
        "required": ["version", "labs"],
    }
