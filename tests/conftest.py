"""Every test may ask for a real cluster: see `k8slab.testing.plugin`."""

pytest_plugins = ["k8slab.testing.plugin"]
