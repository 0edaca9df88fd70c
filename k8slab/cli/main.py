"""The command ``k8slab``: its commands, and what its exit codes mean.

    0  done, or the answer is yes
    1  the answer is no; the cluster is not there or not ready
    2  the command was used wrongly
    3  the environment lacks something
    4  k8slab grade, k8slab trace: the answer could not be found out
  130  interrupted (128 + SIGINT)
  141  whoever read the output has gone (128 + SIGPIPE): the answer is not known

The modules of the commands import `click` alone; whatever is heavy is imported inside the
command that needs it, so that ``k8slab --help`` answers at once.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from k8slab.cli import (
    agents,
    exercises,
    groups,
    handing_in,
    labs,
    lifecycle,
    offline,
    progress,
    report,
    trace,
)
from k8slab.cli.completion import completion
from k8slab.cli.console import open_closed_streams, tell
from k8slab.cli.signals import no_interrupt_lost
from k8slab.errors import EnvironmentLacksError, K8slabError
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTED = 130
UNREAD = 141

_FAULTS_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""What no part of ours can expect, and no traceback explains better than its own words."""


class _Commands(click.Group):
    """The commands; where click would make a closed pipe exit code 1, by which ours say no."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the arguments; the help and the version are written while that is done."""
        with _read_by_somebody():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        with _read_by_somebody():
            return super().invoke(ctx)


@contextmanager
def _read_by_somebody() -> Iterator[None]:
    """End the command when the reader of its output has gone (`k8slab list | head -1`)."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to say
        raise click.exceptions.Exit(UNREAD) from None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def k8slab() -> None:
    """Learn Kubernetes networking by experiment.

    `k8slab up` starts a small real cluster on this machine, `k8slab lab` opens the labs.
    """


for _command in (
    lifecycle.up,
    lifecycle.down,
    lifecycle.reset,
    lifecycle.list_,
    report.status,
    report.kubeconfig,
    report.env,
    report.doctor,
    report.images,
    labs.lab,
    exercises.catchup,
    exercises.check,
    exercises.hint,
    exercises.solution,
    progress.progress,
    handing_in.submit,
    handing_in.grade,
    offline.bundle,
    groups.policy,
    groups.graph,
    trace.trace,
    agents.agents,
    groups.challenge,
    groups.author,
    completion,
):
    k8slab.add_command(_command)


def main() -> None:
    """Run the command line and exit."""
    open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("k8slab", _written)
        sys.stdout.reconfigure(errors="k8slab")
    sys.exit(run(sys.argv[1:]))


def _written(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write what an output has no character for: no result may be lost over a letter.

    Names of files may be no text, and go out as they came; anything else goes as an escape.
    """
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def run(argv: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        with no_interrupt_lost():
            code = k8slab.main(argv, prog_name="k8slab", standalone_mode=False)
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        tell(told.getvalue().rstrip())
        return error.exit_code
    except K8slabError as error:
        tell(f"error: {error}")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        tell("interrupted")
        return INTERRUPTED
    except OSError as error:
        if error.errno not in _FAULTS_OF_THE_MACHINE:
            raise
        tell(f"error: {error.filename or 'a file'}: {error.strerror}")
        return EnvironmentLacksError.exit_code
    return code if isinstance(code, int) else 0
