"""Compare what was wanted with what the cluster does, and report it so that it helps."""

from k8slab.grading.context import Context
from k8slab.grading.flows import WISHES, Want, baseline
from k8slab.grading.grade import Wishes, grade
from k8slab.grading.result import Counterexample, Finding, NotSolvedError, Result, Status

__all__ = [
    "WISHES", "Context", "Counterexample", "Finding", "NotSolvedError", "Result", "Status",
    "Want", "Wishes", "baseline", "grade",
]  # fmt: skip
