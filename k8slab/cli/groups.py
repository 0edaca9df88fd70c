"""Groups of commands whose modules are imported when somebody asks for one of them.

``k8slab --help`` names the groups and must answer at once; what is in them it need not know.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class Later(click.Group):
    """A group that finds its commands in the list ``COMMANDS`` of a module."""

    def __init__(self, name: str, module: str, **settings: Any) -> None:
        self._module = module
        super().__init__(name, **settings)

    @property
    def commands(self) -> MutableMapping[str, click.Command]:
        """The commands by name."""
        return {command.name: command for command in import_module(self._module).COMMANDS}

    @commands.setter
    def commands(self, _given: MutableMapping[str, click.Command]) -> None:
        """Pass over what click itself begins with: none."""


class Beginning(Later):
    """A group whose first command is meant where none is named: ``k8slab challenge --seed 7``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the first command's name before options that are not the group's own."""
        named = args and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        completing = ctx.resilient_parsing and not args  # then the commands are to be offered
        if not named and not completing:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


policy = Later(
    "policy",
    "k8slab.cli.policy",
    help="""Predict, explain and check what NetworkPolicies mean.

    Nothing is sent: the objects of a live cluster, or manifests (-f), are read and judged.
    """,
)

graph = Later(
    "graph",
    "k8slab.cli.graph",
    help="""Draw who may reach whom, and what is where.

    From a live cluster or manifests (-f). SVG and DOT are text and go to standard output; the
    form follows the ending of --out.
    """,
)

author = Later(
    "author",
    "k8slab.cli.author",
    help="""Write labs: begin them, judge them, build and open what learners get.

    The sources are in solutions/; book/authoring.md tells how a lab is written.
    """,
)

challenge = Beginning(
    "challenge",
    "k8slab.cli.challenge",
    help="""Find and mend a fault that was put into the cluster.

    Without a command it starts one. 4 points for mending it, 5 for the root cause with its
    evidence, 1 for leaving everything else as it was.
    """,
)
