"""What a NetworkPolicy means, without any cluster: compile once, ask many times.

estate = policy.compile(objects)
verdict = estate.decide(Flow.of("shop/web", "shop/db", 5432))
"""

from k8slab.policy.estate import Estate
from k8slab.policy.estate import compile_estate as compile  # noqa: A004  policy.compile reads best
from k8slab.policy.flow import Flow, Party
from k8slab.policy.verdict import Action, Miss, Reason, Verdict

__all__ = ["Action", "Estate", "Flow", "Miss", "Party", "Reason", "Verdict", "compile"]
