"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import click

from k8slab.cli.completion import cluster_names
from k8slab.cli.console import require_place

_Place = TypeVar("_Place", str, Path, None)


def _given(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str:
    """Refuse a name that was given and is empty: an unset variable is not the default cluster."""
    if value == "":
        raise click.BadParameter("the name is empty; leave the option out for the default")
    return value or ""


name = click.option(
    "--name",
    metavar="NAME",
    callback=_given,
    shell_complete=cluster_names,
    help="The cluster; by default $K8SLAB_CLUSTER, else 'k8slab'.",
)


def placed(_context: click.Context, _parameter: click.Parameter, value: _Place) -> _Place:
    """Refuse, as the callback of an option, a file that cannot be written, before the work."""
    if value:
        require_place(value)
    return value


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def examples(*commands: str) -> str:
    """Return an epilog of a command's help that shows how it is called."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)
