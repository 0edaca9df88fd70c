"""Ask by HTTP from inside a pod, with the pod's own curl."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab.errors import ProbeError
from k8slab.grading import certificates
from k8slab.probes import run_in_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.grading.certificates import Certificate
    from k8slab.probes import Party

SECONDS = 3
"""How long one request may take where nothing else is said: curl's exit code 28 says it did."""

# curl's exit codes (its manual page) for what happens to learners.
_EXITS = {
    6: "the name could not be resolved (curl 6)",
    7: "nobody accepted the connection (curl 7)",
    28: "no answer in time (curl 28)",
    35: "the TLS handshake failed (curl 35)",
    52: "the server closed without an answer (curl 52)",
    56: "the connection broke (curl 56)",
    60: "the certificate is not trusted (curl 60)",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; `status` is 0 and `error` says why when there was none."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    body: str = ""
    error: str = ""
    certificate: Certificate | None = None
    """The server's, where it was asked for."""
    refused: bool = False
    """Whether nobody listens (curl 7), or somebody who does not serve yet (52, 56)."""

    def told(self) -> str:
        """Say in a few words what came back."""
        return self.error or f"status {self.status}"


def _curl(url: str, headers: Mapping[str, str] | None, seconds: int) -> list[str]:
    words = ["curl", "-sS", "-i", "-m", str(seconds), url]
    for name, value in (headers or {}).items():
        words += ["-H", f"{name}: {value}"]
    return words


def command_line(
    source: Party, url: str, headers: Mapping[str, str] | None = None, *, seconds: int = SECONDS
) -> str:
    """Return the command with which a learner can ask the same."""
    inside = shlex.join(_curl(url, headers, seconds))
    return f"kubectl -n {source.namespace} exec {source.name} -- {inside}"


_CHAIN = "\nk8slab-certificates\n"


def get(
    cluster: Any,
    source: Party,
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    certificate: Mapping[str, Any] | None = None,
    seconds: int = SECONDS,
) -> Answer:
    """Ask from a pod and wait so long; raises `ProbeError` when curl itself cannot be run.

    With `certificate` (what is wanted of it) the answer has the server's.
    """
    words = _curl(url, headers, seconds)
    if certificate is not None:
        words += ["-w", _CHAIN.replace("\n", "\\n") + "%{certs}"]
        words += [] if certificate.get("trusted", True) else ["-k"]
    done = run_in_pod(cluster, source, words, deadline=seconds + 10)
    if done.code in (126, 127):
        raise ProbeError(f"curl cannot be run in {source}: {done.stderr.strip()}")
    if done.code:
        error = _EXITS.get(done.code, f"curl ended with {done.code}")
        return Answer(error=error, refused=done.code in (7, 52, 56))
    if certificate is None:
        return parse(done.stdout)
    text, _, chain = done.stdout.rpartition(_CHAIN)
    return replace(parse(text), certificate=certificates.parse(chain))


def parse(text: str) -> Answer:
    """Read what ``curl -i`` printed; interim answers (100 Continue) are passed over."""
    text = text.replace("\r\n", "\n")
    while True:
        head, _, body = text.partition("\n\n")
        first, *lines = head.splitlines() or [""]
        words = first.split()
        if len(words) < 2 or not words[1].isdigit():
            raise ProbeError(f"this is no HTTP answer: {first!r}")
        status = int(words[1])
        if status >= 200:
            break
        text = body
    pairs = (line.partition(":") for line in lines)
    return Answer(status, {name.strip().lower(): value.strip() for name, _, value in pairs}, body)
