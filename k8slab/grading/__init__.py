"""Compare what was wanted with what the cluster does, and report it so that it helps."""

from k8slab.grading.context import Context
from k8slab.grading.grade import Wishes, grade
from k8slab.grading.result import (
    Blame,
    Counterexample,
    Finding,
    FlowResult,
    NotSolvedError,
    Result,
    Status,
)  # fmt: skip
from k8slab.grading.wants import WISHES, Want, baseline

__all__ = [
    "WISHES", "Blame", "Context", "Counterexample", "Finding", "FlowResult", "NotSolvedError",
    "Result", "Status", "Want", "Wishes", "baseline", "grade",
]  # fmt: skip
