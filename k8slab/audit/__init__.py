"""Find what is wrong with the policies of an estate, and say where and what to do.

lint(manifests)         each object alone: what the API refuses, and traps
audit(objects, rules)   the estate together: who is not covered, rules that do nothing or
                        too much, DNS, Services, and what a user's own rules ask for
"""

from k8slab.audit.catalogue import CHECKS
from k8slab.audit.engine import Report, audit, lint
from k8slab.audit.finding import Finding, Severity

__all__ = ["CHECKS", "Finding", "Report", "Severity", "audit", "lint"]
