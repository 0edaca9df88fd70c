"""Graders are tested like programs: right answers must pass, and spoilt ones must not.

generate    an answer with one mistake, many times (`policies`, `objects` know the mistakes)
effects     which mistakes are none: the policy engine compares connections
stage       the exercise at its start, again and again, without a reset each time
trials      every answer of an exercise, given to a cluster and checked
parallel    all exercises at once, on clusters of their own; ``make mutants``
"""

from k8slab.course.mutants.generate import Mutant, mutants
from k8slab.course.mutants.trials import Trial, Trials

__all__ = ["Mutant", "Trial", "Trials", "mutants"]
