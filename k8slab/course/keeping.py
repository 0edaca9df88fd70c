"""Begin an exercise anew and keep the own work: saved to a file first, then done again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import yaml

from k8slab.embedded.config import make_private, make_state_home
from k8slab.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from pathlib import Path

    from k8slab.course.difference import Difference


def save(difference: Difference, name: str) -> Path:
    """Write the objects of an answer as a manifest, which kubectl takes too; return the file.

    `name` is ``LAB/EXERCISE``. What was deleted stands in it as comments.
    """
    directory = make_private(make_state_home() / "kept")
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    file = directory / f"{name.replace('/', '-')}-{moment}.yaml"
    lines = [f"# {name}: {difference.told()}"]
    lines += [
        f"# deleted: {obj['kind']} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
        for obj in difference.deleted
    ]
    body = yaml.safe_dump_all(difference.objects(), sort_keys=False, allow_unicode=True)
    try:
        file.write_text("\n".join([*lines, body]), encoding="utf-8")
    except OSError as error:
        raise EnvironmentLacksError(
            f"{file} cannot be written, so nothing was reset: {error.strerror}",
            hint="make room if the disk is full; K8SLAB_HOME names another directory",
        ) from error
    return file
