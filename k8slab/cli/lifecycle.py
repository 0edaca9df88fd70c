"""up, down, reset, list: the life of clusters."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from k8slab.cli import options
from k8slab.cli.completion import exercise_names
from k8slab.cli.console import show, show_json, show_table, steps, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_PROVIDERS = ("embedded", "kind", "existing")
_IP_FAMILIES = ("ipv4", "ipv6", "dual")


def _making(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that decide how a cluster is made."""
    for option in (
        click.option(
            "--no-load-balancer",
            is_flag=True,
            help="Leave the addresses of LoadBalancer Services pending, as on bare machines.",
        ),
        click.option("--service-cidr", metavar="CIDR", default="", help="Addresses of Services."),
        click.option("--pod-cidr", metavar="CIDR", default="", help="Addresses of pods."),
        click.option(
            "--ip-family",
            type=click.Choice(_IP_FAMILIES),
            callback=lambda _context, _option, value: value or "",
            help="Addresses of nodes, pods and Services: ipv4 (default), ipv6 or dual.",
        ),
        click.option(
            "--nodes", type=int, metavar="N", help="Nodes, the control plane included (3)."
        ),
        click.option(
            "--provider",
            type=click.Choice(_PROVIDERS),
            help="By default embedded on Linux, else kind.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@options.name
@_making
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    help="For existing: the file to take; by default your own.",
)
@click.option("--context", default="", help="For existing: the context; by default the current.")
@click.option(
    "--set-context", is_flag=True, help="Make it the current context of your own kubeconfig."
)
@options.as_json
def up(  # noqa: PLR0913  one parameter for each option
    *,
    name: str,
    provider: str | None,
    nodes: int | None,
    ip_family: str,
    pod_cidr: str,
    service_cidr: str,
    no_load_balancer: bool,
    kubeconfig: Path | None,
    context: str,
    set_context: bool,
    as_json: bool,
) -> None:
    """Start a cluster, making it where it is not there yet.

    Returns when the nodes are Ready and names resolve. Doing it twice is fine.
    """
    from k8slab.clusters.wanted import Wanted  # noqa: PLC0415

    wanted = Wanted(
        nodes=nodes,
        ip_family=ip_family,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        no_load_balancer=no_load_balancer,
        kubeconfig=kubeconfig,
        context=context,
    )
    _up(name, provider or "", wanted, set_context=set_context, as_json=as_json)


def _up(name: str, provider: str, wanted: Any, *, set_context: bool, as_json: bool) -> None:
    from k8slab import clusters  # noqa: PLC0415

    if set_context:
        from k8slab.clusters import kubeconfig as kubeconfigs  # noqa: PLC0415

        target = kubeconfigs.learners_own()
        kubeconfigs.mergeable(target)
    started = time.monotonic()
    with steps() as progress:
        cluster = clusters.up(name, provider=provider, wanted=wanted, progress=progress)
    took = time.monotonic() - started
    if set_context:
        from shlex import quote  # noqa: PLC0415

        current = kubeconfigs.merge(target, cluster.kubeconfig, make_current=True)
        tell(f"the current context in {target} is now {current}")
        if target != kubeconfigs.learners_file():
            default = target == kubeconfigs.default_file()
            way = "unset KUBECONFIG" if default else f"export KUBECONFIG={quote(str(target))}"
            tell(f"kubectl in this shell uses another one; to change that: {way}")
    if as_json:
        show_json(
            {
                "name": cluster.name,
                "provider": cluster.provider,
                "kubeconfig": str(cluster.kubeconfig),
                "seconds": round(took, 3),
            }
        )
        return
    other = "" if cluster.name == "k8slab" else f" --name {cluster.name}"
    tell(f"the cluster {cluster.name} is ready after {took:.2f} s")
    tell(f'for kubectl in this shell: eval "$(k8slab env{other})"')
    show(f"KUBECONFIG={cluster.kubeconfig}")


@click.command()
@options.name
@click.option("--delete", is_flag=True, help="Forget its objects too.")
@click.option("--all", "every", is_flag=True, help="Every cluster.")
def down(*, name: str, delete: bool, every: bool) -> int:
    """Stop a cluster. Its objects are kept for the next `up`, unless --delete is given."""
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.clusters import homes  # noqa: PLC0415
    from k8slab.errors import K8slabError, UsageError  # noqa: PLC0415

    if every and name:
        raise UsageError("--all and --name together make no sense")
    end = _removed if delete else clusters.down
    code = 0
    for each in clusters.names() if every else [name]:
        try:
            with steps() as progress:
                progress(f"stopping {each}" if each else "stopping the cluster")
                end(each, progress=progress)
        except K8slabError as error:
            if not every:
                raise
            code = error.exit_code
            tell(f"{each}: error: {error}")  # and the others are ended all the same
            continue
        if every:
            tell(f"{each}: {'removed' if delete else 'stopped'}")
    if every:
        homes.sweep()
    return code


def _removed(name: str, *, progress: Callable[[str], None]) -> None:
    """Remove a cluster; the time of a challenge on it ends with it."""
    from contextlib import ExitStack  # noqa: PLC0415

    from k8slab import clusters  # noqa: PLC0415
    from k8slab.course.journal import Journal  # noqa: PLC0415

    journal = Journal()
    with ExitStack() as noted:
        with _not_noted():
            if journal.events("challenge", "begin"):
                # Half a second, and most learners have none.
                from k8slab.challenges.standing import removal  # noqa: PLC0415

                noted.enter_context(removal(name, journal))
        clusters.delete(name, progress=progress)
        with _not_noted():
            noted.close()


@contextmanager
def _not_noted() -> Iterator[None]:
    """Tell of a journal that cannot be used: the cluster can go, and a new one come, all the same.

    What removing the cluster itself raises is no concern of this.
    """
    from k8slab.errors import EnvironmentLacksError  # noqa: PLC0415

    try:
        yield
    except EnvironmentLacksError as error:
        tell(f"the end of a challenge is not noted: {error.message}")


@click.command()
@click.argument("what", required=False, metavar="[LAB/EXERCISE]", shell_complete=exercise_names)
@options.name
@click.option(
    "--keep-mine", is_flag=True, help="Save your own objects first, and apply them again."
)
@_making
@options.as_json
def reset(  # noqa: PLR0913  one parameter for each option
    *,
    what: str | None,
    keep_mine: bool,
    as_json: bool,
    name: str,
    provider: str | None,
    nodes: int | None,
    ip_family: str,
    pod_cidr: str,
    service_cidr: str,
    no_load_balancer: bool,
) -> int:
    """Set an exercise up anew, or replace a whole cluster by a fresh one.

    LAB/EXERCISE: what is in its namespaces is deleted, and the start made again. With
    --keep-mine what you added, changed and deleted is saved to a file, and done again on fresh
    pods. Points that you have stay.

    Without an argument: the cluster. Nothing that was in it is kept.

    \b
    k8slab reset 05/default-deny --keep-mine
    k8slab reset --nodes 5
    """  # noqa: D301
    from k8slab.cli.exercises import reset_exercise  # noqa: PLC0415
    from k8slab.clusters import records  # noqa: PLC0415
    from k8slab.clusters.wanted import Wanted  # noqa: PLC0415
    from k8slab.errors import UsageError  # noqa: PLC0415

    # Checked before anything is thrown away.
    wanted = Wanted(
        nodes=nodes,
        ip_family=ip_family,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        no_load_balancer=no_load_balancer,
    )
    if what is not None:
        if provider or wanted != Wanted():
            raise UsageError("a reset of an exercise leaves the cluster as it is made")
        return reset_exercise(what, name, keep_mine=keep_mine, as_json=as_json)
    if keep_mine:
        raise UsageError("--keep-mine is about an exercise", hint="name it: LAB/EXERCISE")
    made_by = records.provider_of(records.chosen_name(name))
    if made_by:
        with steps() as progress:
            progress("removing the old cluster")
            _removed(name, progress=progress)
    _up(name, provider or made_by, wanted, set_context=False, as_json=as_json)
    return 0


@click.command("list")
@options.as_json
def list_(*, as_json: bool) -> None:
    """Show all clusters and their state."""
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.clusters.providers.base import CLOSED  # noqa: PLC0415
    from k8slab.errors import EnvironmentLacksError  # noqa: PLC0415

    found = []
    for name in clusters.names():
        try:
            found.append(clusters.status(name))
        except EnvironmentLacksError as error:  # its directory is closed to us
            tell(f"{name}: {error}")
            found.append(
                clusters.Status(
                    name=name, provider="", state=CLOSED, kubeconfig="", detail=error.message
                )
            )
    if as_json:
        show_json([status.to_json() for status in found])
    elif found:
        show_table(
            ("name", "provider", "state", "nodes", "kubeconfig"),
            [(s.name, s.provider, s.state, len(s.nodes), s.kubeconfig) for s in found],
        )
    else:
        tell("there is no cluster; make one: k8slab up")
