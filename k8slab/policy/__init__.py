"""What a NetworkPolicy means, without any cluster: compile once, ask many times.

estate = policy.compile(objects)
verdict = estate.decide(Flow.of("shop/web", "shop/db", 5432))
for connection in estate.connections(): ...
"""

from k8slab.policy.addresses import AddressSet
from k8slab.policy.diff import Change, any_change, diff
from k8slab.policy.estate import Estate
from k8slab.policy.estate import compile_estate as compile  # noqa: A004  policy.compile reads best
from k8slab.policy.flow import Flow, Party
from k8slab.policy.listing import Block, Connection, Connections, Group
from k8slab.policy.model import Policy, PortMatch, Rule
from k8slab.policy.openings import Opening
from k8slab.policy.ports import PortSet
from k8slab.policy.routes import Exposure
from k8slab.policy.services import Service
from k8slab.policy.suggest import Suggestion, suggest
from k8slab.policy.verdict import Action, Miss, Reason, Verdict

__all__ = [
    "Action", "AddressSet", "Block", "Change", "Connection", "Connections", "Estate", "Exposure",
    "Flow", "Group", "Miss", "Opening", "Party", "Policy", "PortMatch", "PortSet", "Reason",
    "Rule", "Service", "Suggestion", "Verdict", "any_change", "compile", "diff", "suggest",
]  # fmt: skip
