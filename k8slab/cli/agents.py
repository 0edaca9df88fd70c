"""agents: which agents of the nodes run; stop, start and restart them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from k8slab.cli import options
from k8slab.cli.console import show_json, show_table, tell

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

NAMES = ("kubelet", "kube-proxy", "network-agent", "cni")
ACTIONS = ("restart", "stop", "start")


def _nodes(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the nodes of the default cluster."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from k8slab import clusters  # noqa: PLC0415
    from k8slab.errors import K8slabError  # noqa: PLC0415

    try:
        names = [node["metadata"]["name"] for node in clusters.attach().list("nodes")]
    except K8slabError:
        return []  # a shell that completes has no place for an error
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command(
    epilog=options.examples(
        "k8slab agents",
        "k8slab agents restart k8slab-worker kube-proxy",
    )
)
@click.argument("action", type=click.Choice(ACTIONS), required=False)
@click.argument("node", required=False, shell_complete=_nodes)
@click.argument("agent", type=click.Choice(NAMES), required=False)
@options.name
@options.as_json
def agents(
    *, action: str | None, node: str | None, agent: str | None, name: str, as_json: bool
) -> None:
    """Show which agents of the nodes run, or restart one, as `systemctl` would on a real node.

    kubelet; kube-proxy, which writes the rules of Services; network-agent, which writes those of
    policies and the pods' routes; cni, the configuration of the network plugin. An agent that
    starts writes all it keeps in the kernel anew.
    """
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.clusters.agents import agents as running  # noqa: PLC0415
    from k8slab.clusters.agents import run_agent  # noqa: PLC0415
    from k8slab.clusters.shape import node_named  # noqa: PLC0415
    from k8slab.errors import UsageError  # noqa: PLC0415

    cluster = clusters.attach(name)
    names = [one["metadata"]["name"] for one in cluster.list("nodes")]
    if action:
        if not (node and agent):
            raise UsageError(
                "name the node and the agent", hint=f"k8slab agents {action} NODE AGENT"
            )
        node = node_named(node, names)
        run_agent(cluster, node, agent, running=action != "stop")
        tell(f"{agent} of {node}: {'stopped' if action == 'stop' else 'runs'}")
        return
    found = {one: running(cluster, one) for one in names}
    if as_json:
        show_json(found)
        return
    rows = [
        (one, *("running" if states[agent] else "stopped" for agent in NAMES))
        for one, states in sorted(found.items())
    ]
    show_table(("node", *NAMES), rows)
