"""Options that several commands share."""

from __future__ import annotations

import click

from k8slab.cli.completion import cluster_names

name = click.option(
    "--name",
    metavar="NAME",
    default="",
    shell_complete=cluster_names,
    help="The cluster; by default $K8SLAB_CLUSTER, else 'k8slab'.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def examples(*commands: str) -> str:
    """Return an epilog of a command's help that shows how it is called."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)
