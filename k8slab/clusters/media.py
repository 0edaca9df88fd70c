"""What requests to an API server carry, apart from `rest`, whose TLS takes 25 ms to import."""

DEADLINE = 30.0
"""Seconds for one request; a server's own limit is 60 (kube-apiserver --request-timeout)."""

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
