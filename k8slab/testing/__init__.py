"""Help for tests: the fixtures of `k8slab.testing.plugin`, and a cluster made of plain Python."""
