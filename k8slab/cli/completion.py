"""Shell completion: the script for a shell, and what can stand for an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


_OF_EXERCISES = ("catchup", "check", "grade", "hint", "reset", "solution", "submit")


def cluster_names(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the clusters that there are."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from k8slab.clusters import records  # noqa: PLC0415
    from k8slab.errors import K8slabError  # noqa: PLC0415

    try:
        names = records.names()
    except K8slabError:
        return []  # a shell that completes has no place for an error
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def exercise_names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the labs that there are; where an exercise can be named, a lab's exercises too."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from k8slab.course import library  # noqa: PLC0415
    from k8slab.errors import K8slabError  # noqa: PLC0415

    try:
        names = library.lab_names()
        if "/" in incomplete and context.info_name in _OF_EXERCISES:
            given = incomplete.partition("/")[0]  # as it was typed: its name, or its number
            names = [f"{given}/{exercise}" for exercise in library.find(given).exercises]
    except (K8slabError, OSError):
        return []  # a shell that completes has no place for an error
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: echo 'source <(k8slab completion bash)' >> ~/.bashrc
    zsh:  echo 'source <(k8slab completion zsh)' >> ~/.zshrc
    fish: k8slab completion fish > ~/.config/fish/completions/k8slab.fish
    """  # noqa: D301  (\b is click's mark for text that is not to be wrapped)
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    from k8slab.cli.console import show  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None
    show(kind(context.find_root().command, {}, "k8slab", "_K8SLAB_COMPLETE").source())
