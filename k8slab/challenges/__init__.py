"""Challenges: a fault of the course's catalogue, made from a seed, and graded by itself."""

from k8slab.challenges.beginning import start
from k8slab.challenges.challenge import Answer, Challenge, current
from k8slab.challenges.score import Diagnosis, Score
from k8slab.challenges.seeds import Choice

__all__ = ["Answer", "Challenge", "Choice", "Diagnosis", "Score", "current", "start"]
