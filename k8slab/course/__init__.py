"""Labs, exercises, hints and progress; and the release of labs from their solutions.

The faces need little of it: `find` a lab, make a `Session` with a cluster, call its methods.
"""

from k8slab.course.journal import Event, Journal
from k8slab.course.lab import Exercise, HintStep, Lab, Prediction, load
from k8slab.course.library import find, lab_names, labs_directory
from k8slab.course.pacing import Pace
from k8slab.course.progress import LabProgress, progress
from k8slab.course.session import Begun, Explained, Hint, QuizAnswer, Seen, Session, Solution

__all__ = [
    "Begun", "Event", "Exercise", "Explained", "Hint", "HintStep", "Journal", "Lab",
    "LabProgress", "Pace", "Prediction", "QuizAnswer", "Seen", "Session", "Solution",
    "find", "lab_names", "labs_directory", "load", "progress",
]  # fmt: skip
