"""Pictures of a cluster for any notebook, inside a lab and outside of it.

from k8slab import policies
policies("shop")                          of the running cluster
policies("shop", manifests=["deploy/"])   of files, without any cluster
service("shop/web")                       a Service, its endpoints, and a node's rules for it
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab import clusters, policy
from k8slab.clusters.inventory import inventory
from k8slab.graphs import flowgraph
from k8slab.graphs import service as service_graph
from k8slab.graphs.clickable import Clickable
from k8slab.graphs.dot import FORMATS
from k8slab.graphs.journey import JourneyGraph
from k8slab.graphs.topology import node_order
from k8slab.notebook.views import View, shown, wrapped
from k8slab.objects import meta
from k8slab.objects.manifests import load_paths
from k8slab.policy import Flow, Party
from k8slab.probes.journey import Journey, Packet
from k8slab.probes.journey import journey as follow
from k8slab.probes.services import look

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def policies(*namespaces: str, manifests: Sequence[str] = (), cluster: str = "") -> View:
    """Draw what policies allow, of all namespaces or some; click an edge to see why.

    The objects are those of `manifests` (files and directories) where some are given, else
    those of the running cluster with this name.
    """
    found: Iterable[Any]
    if manifests:
        found = load_paths(manifests, recursive=True)
    else:
        found = inventory(clusters.attach(cluster))
    return shown(policies_view(found, namespaces))


class JourneyView(View):
    """A packet's journey: picture and table; `journey` has the values."""

    def __init__(self, found: Journey) -> None:
        graph = JourneyGraph(found)
        lines = [f"{found.outcome.sign} {found.headline()}", found.prediction(), found.note]
        told = wrapped(line for line in lines if line)
        shown_steps = ""
        if found.steps:
            table = f"<details><summary>Every step as a table</summary>{graph.table()}</details>"
            shown_steps = graph.picture().html() + table
        super().__init__(found.text(), told + shown_steps)
        self.journey = found

    def save(self, path: str) -> None:
        """Write a file: the picture where it ends in .svg, .png, .pdf or .dot, else the packets.

        Packets are for Wireshark, as pcapng.
        """
        form = Path(path).suffix.lstrip(".")
        drawn = form in FORMATS
        found = JourneyGraph(self.journey).file(form) if drawn else self.journey.pcapng()
        Path(path).write_bytes(found)


def journey(
    source: str, destination: str, port: int | str, protocol: str = "TCP", *,
    from_port: int = 0, size: int = 0, cluster: str = "", debug_image: str = "",
) -> JourneyView:  # fmt: skip
    """Follow one real packet to its destination and back; see ``k8slab trace --help``."""
    flow, packet = Flow.of(source, destination, port, protocol), Packet(from_port, size)
    return shown(journey_view(clusters.attach(cluster), flow, packet, debug_image))


def journey_view(cluster: Any, flow: Flow, packet: Packet, debug_image: str = "") -> JourneyView:
    """Send a packet and return its journey."""
    return JourneyView(follow(cluster, flow, packet=packet, debug_image=debug_image))


def service(name: str, *, node: str = "", cluster: str = "") -> View:
    """Draw a Service (``NAMESPACE/NAME``), its endpoints, and the rules of a node for it."""
    return shown(service_view(clusters.attach(cluster), Party.parse(f"svc:{name}"), node))


def service_view(cluster: Any, party: Party, node: str = "") -> View:
    """Return the picture of a Service; without a node with the rules of the first worker."""
    front = look(cluster, party, node or _a_worker(cluster))
    details = "<details><summary>Endpoints and rules as a table</summary>{}</details>"
    html = service_graph.picture(front).html() + details.format(service_graph.table(front))
    return View(service_graph.text(front), html)


def _a_worker(cluster: Any) -> str:
    """Return the first node that is no control plane; that one where it is alone."""
    nodes = sorted(cluster.list("nodes"), key=node_order)
    return meta.name_of(nodes[min(1, len(nodes) - 1)]) if nodes else ""


def policies_view(objects: Iterable[Any], namespaces: Sequence[str]) -> View:
    """Return the clickable graph of what policies allow from and to some namespaces (or all)."""
    estate = policy.compile(objects)
    place = f" in {', '.join(namespaces)}" if namespaces else ""
    graph = flowgraph.of_connections(
        estate.connections(), title=f"What policies allow{place}", namespaces=namespaces
    )
    picture = Clickable(graph, estate)
    return View(picture.text(), picture.html())
