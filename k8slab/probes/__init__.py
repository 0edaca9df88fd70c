"""Who reaches whom: outcomes, observations, the matrix."""

from k8slab.policy import Flow, Party
from k8slab.probes.matrix import Matrix, Port, matrix
from k8slab.probes.observe import observe
from k8slab.probes.outcome import Observation, Outcome
from k8slab.probes.targets import expand, one_pod, resolve, run_in_pod

__all__ = [
    "Flow", "Matrix", "Observation", "Outcome", "Party", "Port", "expand", "matrix", "observe",
    "one_pod", "resolve", "run_in_pod",
]  # fmt: skip
