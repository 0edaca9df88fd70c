"""The version of k8slab, the one place where it stands."""

__version__ = "0.1.0"
