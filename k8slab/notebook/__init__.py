"""The notebook's side: ``from k8slab import lab``."""

from k8slab.notebook.face import Face

lab = Face()

__all__ = ["Face", "lab"]
