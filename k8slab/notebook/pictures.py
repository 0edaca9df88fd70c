"""Pictures of a cluster for any notebook, inside a lab and outside of it.

from k8slab import policies
policies("shop")                          of the running cluster
policies("shop", manifests=["deploy/"])   of files, without any cluster
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab import clusters, policy
from k8slab.clusters.inventory import inventory
from k8slab.graphs import flowgraph
from k8slab.graphs.clickable import Clickable
from k8slab.notebook.views import View, shown
from k8slab.objects.manifests import load_paths

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


def policies_view(objects: Iterable[Any], namespaces: Sequence[str]) -> View:
    """Return the clickable graph of what policies allow from and to some namespaces (or all)."""
    estate = policy.compile(objects)
    place = f" in {', '.join(namespaces)}" if namespaces else ""
    graph = flowgraph.of_connections(
        estate.connections(), title=f"What policies allow{place}", namespaces=namespaces
    )
    picture = Clickable(graph, estate)
    return View(picture.text(), picture.html())
