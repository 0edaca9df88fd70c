"""Where the policy commands get their objects: manifests, or a live cluster.

--manifests PATH…   files, directories (with those below), `-` for standard input;
                    a Manifest knows its file and line
--name NAME         a cluster of k8slab
otherwise           the cluster of $KUBECONFIG; without it k8slab's own, and without
                    that the one of ~/.kube/config
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from k8slab.cli.console import steps
from k8slab.errors import K8slabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from click.shell_completion import CompletionItem

    from k8slab.clusters import Cluster
    from k8slab.objects.manifests import Manifest
    from k8slab.objects.meta import Object
    from k8slab.policy import Estate

ENDINGS = (".yaml", ".yml", ".json", "/")


class Paths(click.Option):
    """An option that takes the paths which a shell made of a pattern: ``--manifests *.yaml``.

    After the first value, words are taken as long as they look like paths (end in .yaml, .yml,
    .json or a slash) and are there; so what follows may still be an argument of its own.
    """

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser give us the words that follow."""
        super().add_to_parser(parser, ctx)
        long = next(name for name in self.opts if name.startswith("--"))
        known = parser._long_opt[long]  # noqa: SLF001  click has no door for this
        process = known.process
        known.process = lambda value, state: _take(process, value, state)


def _take(process: Callable, value: Any, state: Any) -> None:
    process(value, state)
    while state.rargs and _is_path(state.rargs[0]):
        process(state.rargs.pop(0), state)


def _is_path(word: str) -> bool:
    return word.endswith(ENDINGS) and Path(word).exists()


manifests = click.option(
    "--manifests",
    "-f",
    cls=Paths,
    metavar="PATH…",
    multiple=True,
    type=click.Path(allow_dash=True),
    help="Files or directories to read instead of a live cluster; - is standard input.",
)


shared = click.option(
    "--manifests",
    "-f",
    metavar="PATH",
    multiple=True,
    type=click.Path(allow_dash=True),
    help="What both states have besides, such as the workloads of policies; may be given again.",
)
"""For commands whose arguments are paths themselves: it takes one path, whatever follows."""


def read(paths: Sequence[str]) -> list[Manifest]:
    """Read manifests; `ManifestError` names the file and line."""
    from k8slab.objects.manifests import load_paths, load_text  # noqa: PLC0415

    found: list[Manifest] = []
    for path in paths:
        if path == "-":
            found += load_text(sys.stdin.buffer.read(), "standard input")
        else:
            found += load_paths([path], recursive=True)
    gc.freeze()  # they stay until the command ends: the collector need not go through them again
    return found


def gather(paths: Sequence[str], name: str = "") -> list[Manifest] | list[Object]:
    """Return the objects of manifests, or without paths those of a live cluster."""
    with steps() as progress:
        if paths:
            progress("reading manifests")
            return read(paths)
        from k8slab.clusters.inventory import inventory  # noqa: PLC0415

        cluster = attach(name)
        progress(f"listing the objects of {cluster.name}")
        return inventory(cluster)


def compile_estate(paths: Sequence[str], name: str = "") -> Estate:
    """Compile the policies of manifests or of a live cluster; see `gather`."""
    from k8slab import policy  # noqa: PLC0415

    return policy.compile(gather(paths, name))


def attach(name: str = "") -> Cluster:
    """Return the live cluster that is meant; see the module."""
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.clusters import kubeconfig, records  # noqa: PLC0415

    if name or (not os.environ.get("KUBECONFIG") and records.chosen_name("") in clusters.names()):
        return clusters.attach(name)
    file = kubeconfig.learners_file()
    if file.exists():
        return clusters.attach(kubeconfig=file)
    return clusters.attach(name)  # which says that there is none, and how to start one


def compile_both(
    old: str, new: str | None, shared: Sequence[str], name: str
) -> tuple[Estate, Estate]:
    """Compile the estates before and after a change; `shared` is what both have besides.

    Without `new` the live cluster is the new state, and has all that it has. Raises `UsageError`
    when there is nothing that could be connected in either.
    """
    before = compile_estate((*shared, old))
    after = compile_estate((*shared, new)) if new else compile_estate((), name)
    if not before.pods and not after.pods:
        raise UsageError(
            "there is no pod and no workload in either state: no connection can change",
            hint="name the manifests of the workloads too, which both states have: -f PATH",
        )
    return before, after


def objects_of(found: Iterable[Manifest | Object]) -> list[Object]:
    """Return the plain objects of what `gather` returned."""
    return [item if isinstance(item, dict) else item.object for item in found]


def complete_parties(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the workloads, pods, Services and nodes of the manifests or the live cluster.

    Where a flow is asked for they are its first two words; nothing is offered for the port.
    """
    # Of an argument with a fixed number of words click keeps those that are there in `args`.
    words = context.params.get("flow") or context.args
    return [] if len(words) > 1 else _complete(context, incomplete, _parties)


def complete_workloads(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the workloads and pods of the manifests or the live cluster."""
    return _complete(context, incomplete, _workloads)


def complete_namespaces(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the namespaces of the manifests or the live cluster."""
    return _complete(context, incomplete, lambda estate: estate.namespaces)


def complete_rules(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the rule files that are shipped, and files."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from k8slab.audit.rulefile import SHIPPED  # noqa: PLC0415

    names = sorted(file.stem for file in SHIPPED.glob("*.yaml"))
    shipped = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [*shipped, CompletionItem(incomplete, type="file")]


def _workloads(estate: Estate) -> list[str]:
    return [str(party) for party in estate.workloads] + list(estate.pods)


def _parties(estate: Estate) -> list[str]:
    others = [f"svc:{key}" for key in estate.services] + [f"node:{name}" for name in estate.nodes]
    return _workloads(estate) + others


def _complete(
    context: click.Context, incomplete: str, names: Callable[[Estate], Iterable[str]]
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    try:
        given = context.params.get("manifests") or ()
        found = names(compile_estate(given, context.params.get("name") or ""))
    except (K8slabError, OSError):
        return []  # a shell that completes has no place for an error
    return [CompletionItem(name) for name in sorted({*found}) if name.startswith(incomplete)]
