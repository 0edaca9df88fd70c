"""challenge: something is broken; find it, name it, mend it."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from k8slab.cli import options
from k8slab.cli.console import show, show_json, show_table, steps, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

    from k8slab.challenges import Challenge, Choice

NEXT = (
    "look around with kubectl, k8slab trace and k8slab policy; then k8slab challenge diagnose, "
    "mend it, and k8slab challenge check"
)


def _faults(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the faults that can be injected."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from k8slab.challenges import catalogue  # noqa: PLC0415

    wanted = incomplete.upper()
    found = [one for one in catalogue.injectable() if one.id.startswith(wanted)]
    return [CompletionItem(one.id, help=one.fault) for one in found]


_KINDS = {
    "configmaps": "",
    "deployments": ".apps",
    "endpointslices": ".discovery.k8s.io",
    "networkpolicies": ".networking.k8s.io",
    "services": "",
    "statefulsets": ".apps",
}
"""What a root cause may be in, beside nodes, and its API group."""


def _objects(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer what `kubectl get` shows where the challenge is, and nodes."""
    from k8slab.objects.meta import name_of  # noqa: PLC0415

    def there(found: Challenge) -> list[str]:
        listed = [
            f"{kind}/{name_of(obj)}"
            for space in (*found.case.namespaces, "kube-system")
            for kind, group in _KINDS.items()
            if kind.startswith(incomplete.partition("/")[0])
            for obj in found.cluster.list(f"{kind}{group}", space)
        ]
        return [*listed, *(f"nodes/{name_of(obj)}" for obj in found.cluster.list("nodes"))]

    return _offered(context, incomplete, there)


def _places(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer every place at which a packet may be lost: nodes, pods, and what is between."""
    from k8slab.objects.meta import key_of, name_of  # noqa: PLC0415

    def there(found: Challenge) -> list[str]:
        pods = [
            key_of(p) for space in found.case.namespaces for p in found.cluster.list("pods", space)
        ]
        return ["switch", *pods, *map(name_of, found.cluster.list("nodes"))]

    return _offered(context, incomplete, there)


def _offered(
    context: click.Context, incomplete: str, there: Callable[[Challenge], list[str]]
) -> list[CompletionItem]:
    """Return what there is where the challenge is; nothing without one."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from k8slab import challenges, clusters  # noqa: PLC0415
    from k8slab.errors import K8slabError  # noqa: PLC0415

    try:
        found = challenges.current(clusters.attach(context.params.get("name") or ""))
        names = there(found) if found else []
    except (K8slabError, OSError):
        return []  # a shell that completes has no place for an error
    return [CompletionItem(one) for one in sorted({*names}) if one.startswith(incomplete)]


@click.command(
    epilog=options.examples(
        "k8slab challenge",
        "k8slab challenge --level 2 --timer 20",
        "k8slab challenge --class spring --learner anna",
        "k8slab challenge --seed 4711 --json",
    )
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="The same N, the same challenge.")
@click.option("--fault", metavar="ID", default="", shell_complete=_faults, help="This fault: F01.")
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    help="1: one Service; 2: names, policies, traffic; 3: nodes and the kernel.",
)
@click.option(
    "--class", "course", metavar="NAME", default="", help="Draw the seed from a class ..."
)
@click.option("--learner", metavar="NAME", default="", help="... and from a learner.")
@click.option(
    "--timer",
    "minutes",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="When they are over nothing counts any more.",
)
@options.name
@options.as_json
def start(
    *,
    seed: int | None,
    fault: str,
    level: int | None,
    course: str,
    learner: str,
    minutes: float | None,
    name: str,
    as_json: bool,
) -> None:
    """Break something, and say what users complain about.

    Ends the challenge before. Names, addresses and the fault follow from the seed; without one
    it is your own next one. A class and a learner are a seed, too: always the same one.
    """
    from k8slab.challenges import Choice  # noqa: PLC0415

    choice = Choice(
        seed=seed,
        fault=fault,
        level=level or 0,
        course=course,
        learner=learner,
        minutes=minutes or 0,
    )
    _show(_start(choice, name), as_json=as_json)
    if not as_json:
        tell(NEXT)


def _start(choice: Choice, name: str) -> Challenge:
    from k8slab import challenges, clusters  # noqa: PLC0415

    with steps() as progress:
        return challenges.start(clusters.attach(name), choice, told=progress)


def _current(name: str) -> Challenge:
    """Return the challenge under way; `UsageError` where there is none."""
    from k8slab import challenges, clusters  # noqa: PLC0415
    from k8slab.errors import UsageError  # noqa: PLC0415

    found = challenges.current(clusters.attach(name))
    if found is None:
        raise UsageError("no challenge is under way", hint="begin one: k8slab challenge")
    return found


def _show(found: Challenge, *, as_json: bool) -> None:
    left = found.ends - time.time() if found.ends else None
    if as_json:
        show_json(
            {
                "seed": found.seed,
                "namespace": found.namespace,
                "level": found.case.level,
                "asked": found.asked,
                "times": found.times,
                "task": found.task,
                "asks_hop": found.asks_hop,
                "seconds_left": None if left is None else max(0, round(left)),
                "ready": found.ready,
            }
        )
        return
    origin = f" ({found.origin})" if found.origin else ""
    show(f"challenge {found.seed}, level {found.case.level}{origin}\n\n{found.task}")
    if left is not None:
        show(f"\n{_left(left)}")
    if not found.ready:
        tell("its start was interrupted: k8slab challenge begins another one")


def _left(seconds: float) -> str:
    """Say how much time there is, rounded up: it is over when it is over."""
    minutes = math.ceil(seconds / 60)
    if minutes <= 0:
        return "the time is over"
    return f"{minutes} minutes are left" if minutes > 1 else "the last minute has begun"


@click.command()
@options.name
@options.as_json
def status(*, name: str, as_json: bool) -> None:
    """Show the challenge under way, and the time that is left."""
    _show(_current(name), as_json=as_json)


@click.command()
@options.name
@options.as_json
def check(*, name: str, as_json: bool) -> int:
    """Count the points: mended, root cause, nothing else broken.

    Exit code 1 while something is missing.
    """
    with steps() as progress:
        progress("looking")
        found = _current(name)
        found.told = progress
        score = found.check()
    if as_json:
        show_json(score.to_dict())
    else:
        show(score.text())
    return 0 if score.solved else 1


@click.command(
    epilog=options.examples(
        'k8slab challenge diagnose service/web spec.selector "app=wbe, the pods have app=web"',
        "kubectl describe svc web | k8slab challenge diagnose service/web spec.selector -",
        'k8slab challenge diagnose node/k8slab-worker routes "10.244.2.0/26 is missing"',
    )
)
@click.argument("object_", metavar="OBJECT", shell_complete=_objects)
@click.argument("field")
@click.argument("evidence")
@options.name
@options.as_json
def diagnose(*, object_: str, field: str, evidence: str, name: str, as_json: bool) -> int:
    """Name the root cause: an object, its field, and the line of output that shows it.

    OBJECT is KIND/NAME as kubectl writes it; FIELD its path in the manifest, or of a node its
    part: routes, rules, kube-proxy, network-agent, mtu, conntrack, cni. EVIDENCE is text,
    - reads it from standard input. The first wrong guess is free. Exit code 1 for a wrong one.
    """
    text = sys.stdin.read() if evidence == "-" else evidence
    return _tell(
        _current(name).diagnose(object=object_, field=field, evidence=text), as_json=as_json
    )


@click.command()
@click.argument("place", nargs=-1, required=True, shell_complete=_places)
@options.name
@options.as_json
def hop(*, place: tuple[str, ...], name: str, as_json: bool) -> int:
    """Say which hop loses the packets, as `k8slab trace` names it: node k8slab-worker.

    Exit code 1 for a wrong one.
    """
    return _tell(_current(name).hop(" ".join(place)), as_json=as_json)


def _tell(found: Any, *, as_json: bool) -> int:
    if as_json:
        show_json(found.to_dict())
    else:
        show(found.text())
    return 0 if found.right else 1


@click.command("give-up")
@options.name
@options.as_json
def give_up(*, name: str, as_json: bool) -> None:
    """Show the answer; the challenge gives no points any more."""
    from dataclasses import asdict  # noqa: PLC0415

    found = _current(name).give_up()
    if as_json:
        show_json(asdict(found))
    else:
        show(found.text())


@click.command()
@options.name
def stop(*, name: str) -> None:
    """Bring everything back as it was, and end the challenge."""
    found = _current(name)
    with steps() as progress:
        found.told = progress
        found.stop()
    tell(f"challenge {found.seed} is over; everything is as it was before")


@click.command("list")
@options.as_json
def list_(*, as_json: bool) -> None:
    """Show the catalogue of faults, and which of them can be injected."""
    from k8slab.challenges import catalogue  # noqa: PLC0415
    from k8slab.challenges.recipe import level_and_needs  # noqa: PLC0415

    known, rows = catalogue.injectable(), []
    for one in catalogue.entries().values():
        level = level_and_needs(one)[0] if one in known else None
        rows.append({"id": one.id, "fault": one.fault, "state": one.state, "level": level})
    if as_json:
        show_json(rows)
        return
    show_table(
        ("id", "level", "fault", "here"),
        [(r["id"], r["level"] or "-", r["fault"], r["state"]) for r in rows],
    )


COMMANDS = (start, status, check, diagnose, hop, give_up, stop, list_)
