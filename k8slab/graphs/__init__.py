"""Pictures with alt text, and the tables that say the same."""

from k8slab.graphs.svg import Picture, html_table
from k8slab.graphs.topology import Topology

__all__ = ["Picture", "Topology", "html_table"]
